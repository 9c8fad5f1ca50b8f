// DataCluster: servers with disks and clients with volumes in one simulated world, under
// FakeControl. What a run is made of; the faults are faults.h.
#pragma once
#include <memory>
#include <string>
#include <vector>

#include "client/volume.h"
#include "io/sim_world.h"
#include "serve/server.h"
#include "sim/fake_control.h"
#include "sim/linearizability.h"
#include "sim/workload.h"

namespace sp::sim {

struct ClusterOptions {
  uint32_t servers = 4;
  uint32_t disks_per_server = 1;
  uint32_t sets = 4;
  uint8_t copies = 3, min_copies = 2;
  uint64_t disk_bytes = 40u << 20;
  uint64_t log_bytes = 0;  // of each; 0: what is planned
  DiskId small_disk = 0;  // one that has
  uint64_t small_disk_bytes = 0;
  uint64_t volume_bytes = 16u << 20;
  uint32_t clients = 2;
  uint32_t sharers = 0;  // further clients, that write the first one's volume at the same time
  uint32_t readers = 0;  // further clients, that read it
  WorkloadOptions work;
  serve::Tuning serve;
  store::Options store;
  client::Tuning client;
  io::SimOptions world;
  FakeControlOptions control;
};

struct ServerProcess {
  io::SimHost* host = nullptr;
  ServiceId id;
  std::string ip;
  uint64_t start_id = 0;
  std::vector<std::string> paths;
  std::vector<DiskId> disks;
  bool up = false;
  std::unique_ptr<member::Member> member;
  std::unique_ptr<serve::Server> server;
};

struct ClientProcess {
  io::SimHost* host = nullptr;
  ClientId id = 0;
  uint64_t start_id = 0;
  VolumeId volume_id = 0;
  bool reader = false;
  bool shares = false;  // the volume with others who write it
  bool up = false;
  uint64_t session = 0;                    // of the process that is up; 0 for readers
  std::vector<uint64_t> earlier_sessions;  // not known to be fenced yet
  std::unique_ptr<member::Member> member;
  std::shared_ptr<client::Servers> servers;
  std::unique_ptr<client::Volume> volume;
  std::unique_ptr<Workload> work;
  uint64_t completed_before = 0;
};

class DataCluster {
 public:
  DataCluster(uint64_t seed, ClusterOptions options);
  ~DataCluster();

  void start_server(ServerProcess& process);
  void end_server(ServerProcess& process, io::SimHost::Death death);
  void format_disk(ServerProcess& process, size_t index);  // as new, under the same id
  void start_client(ClientProcess& process);               // takes the volume with a new
                                              // generation; works when that is confirmed
  void end_client(ClientProcess& process, io::SimHost::Death death);

  bool settled() const;  // every set has all of its copies, active
  std::string unsettled() const;
  // The same hash on all copies of every set; empty, or what differs.
  std::string compare_copies();
  // Every disk read by store::check, with nothing running. Empty, or what is wrong with a disk not
  // in `spoiled`.
  std::string check_disks(const std::vector<std::string>& spoiled);
  std::string work_failure() const;
  uint64_t operations() const;

  ClusterOptions options;
  std::vector<std::string> log;  // the newest lines
  io::SimWorld world;
  FakeControl control;
  Linearizability history;
  uint64_t last_stamp = 0;
  std::vector<ServerProcess> servers;
  std::vector<ClientProcess> clients;
  GroupId group = 0;

 private:
  void format_disks();
  void confirm_client(ClientProcess& process, uint64_t index);
  io::SimHost* tools_ = nullptr;
  uint64_t last_start_id_ = 0, last_session_ = 0;
  std::vector<std::unique_ptr<member::Member>> ended_;
};

}  // namespace sp::sim
