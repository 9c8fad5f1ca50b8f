// Cluster: a whole simulated cluster with real beacons: nodes with a beacon each, storage nodes
// with a server and its disks, client hosts with processes that attach volumes, and management
// services on the first nodes, through which everything is set up and changed. Every process is a
// SimHost of its own and is started and ended like a process under systemd; the disks stay.
//
// Nodes: the storage nodes (beacons that vote), then the witness if there is one (votes, no disks),
// then the client nodes (a beacon that learns, and clients; or the clients are on the first storage
// nodes), then storage nodes that do not belong to the cluster yet. Who belongs to it and votes
// changes (sim/membership.h). Each volume is at one client; moving
// it attaches it elsewhere by force, whatever the old client does. All work on it is in `history`.
// The world is single-threaded; nothing of a Cluster may be used after it.
#pragma once
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "io/sim_world.h"
#include "sim/agreement_check.h"
#include "sim/cluster_processes.h"
#include "sim/cluster_setup.h"
#include "sim/disk_content.h"
#include "sim/ledger.h"
#include "sim/linearizability.h"
#include "sim/management.h"
#include "sim/recoverable.h"
#include "sim/timeline.h"

namespace sp::sim {

class Cluster : public ClusterProcesses {
 public:
  using Death = io::SimHost::Death;

  Cluster(uint64_t seed, ClusterSetup setup);
  ~Cluster();

  // Forms the cluster, makes disks, template and volumes, attaches them and starts the work. What
  // went wrong, or nothing.
  std::string start();

  // Processes. Ending one that is down, or starting one that is up, does nothing.
  void start_beacon(Node& node, bool bootstrap = false);
  void end_beacon(Node& node, Death death);
  void start_server(Node& node);
  void end_server(Node& node, Death death);
  void start_client(ClientProcess& process, VolumeId volume, bool force);
  void end_client(ClientProcess& process, Death death);
  void start_node(Node& node);  // clients with their volume; not one outside of the cluster
  void end_node(Node& node, Death death);
  bool work_is_over() const { return work_over_; }
  void stop_work();  // for good: who attaches from now on does nothing
  // By force; `to` must be free. With `detach`, an administrator takes it away from everybody too.
  void move_volume(VolumeId volume, ClientProcess& to, bool detach = false);
  // The n-th guest takes a volume of an administrator by force, and works on it until the volume is
  // taken from it. Nothing when it has one.
  void lend(size_t guest, VolumeId volume);
  void end_guests();
  // An administrator who asked at that time of `history` was told now that the volume was taken
  // from everybody: by force, and not from those who attached meanwhile.
  void detached(VolumeId volume, uint64_t asked);
  // What systemd and an administrator do now and then: ended processes are started again, failed
  // attempts repeated, fenced clients freed.
  void tend();
  // What sp-disk-init does to a disk that nobody has open, again until it succeeds;
  // `done` gets the uuid.
  void format_disk(const std::string& path, DiskId id, std::function<void(uint64_t uuid)> done);
  // Without waiting; refusals are nobody's loss.
  void administrate(Management::Call call, Management::Done done = {});
  map::Node row_of(const Node& node) const;  // that an administrator adds it with
  // For a client on this node, of its version.
  client::StandaloneOptions standalone_options(NodeId node) const;

  // A line of the simulation's own in the log. Fields of it may stand in it: " node=3".
  void note(const std::string& text);

  Node* leader();  // whose beacon is in charge, or nullptr
  Node& node(NodeId id) { return nodes.at(id - 1u); }
  LoadChoice load_of(VolumeId volume) const;
  // The n-th of the blocks that matter most to what works there.
  uint64_t block_in_use(VolumeId volume, uint64_t n) const;
  std::string volume_name(VolumeId volume) const;
  DiskId disk_last() const { return disk_last_; }
  ClientProcess* holder_of(VolumeId volume);  // the newest process that took it
  const map::Map* newest_map() const;
  uint64_t newest_index() const { return newest_index_; }  // that any beacon ever had
  uint64_t operations() const;
  // The servers that may serve a set now, and the map by which each of them does.
  void each_serving(const std::function<void(const std::string& name, const map::Map& map)>& look);

  // Checks. Each returns what is wrong, or nothing.
  std::string check_now();  // what must hold at every moment
  std::string unsettled()
      const;  // every set has all of its copies, active; all beacons and clients at work
  // At rest: all copies of a set hold the same versions and content, and every disk has given its
  // slots to what it has to hold and nothing else. What it saw is kept for check_disks.
  std::string compare_copies();
  const std::map<DiskId, DiskContent>& contents() const { return contents_; }  // as seen then
  // Ends all processes, runs the world. Every disk is read in full, and has to be what
  // compare_copies saw last; damage is found only where a disk was harmed.
  std::string check_disks();
  // A block that came to a disk without its content, and is still so; or nothing.
  std::string unmended() const;
  std::string waiting() const;  // what the servers say that requests wait for
  std::string leaks();          // what is open though nothing is asked for any more
  // What liveness is judged by (cluster_situation.cc): the facts, and how long the oldest open
  // request of a volume, or its attaching, has been waiting and for what.
  Situation situation();
  io::Duration wait_of(VolumeId volume);
  std::string wait_text(VolumeId volume);

  ClusterSetup setup;
  std::vector<std::string> log;      // the newest lines
  std::optional<Timeline> timeline;  // of setup.watch
  io::SimWorld world;
  Management management;
  Linearizability history;
  uint64_t last_stamp = 0, last_session = 0;
  std::vector<Node> nodes;  // [id - 1]
  std::vector<ClientProcess> clients;
  std::vector<VolumeId> volumes;
  std::function<bool(Node& node)> may_start;  // a server; asked before each start
  bool replaces_disks = false;  // tend() starts servers again that have given up a disk

 private:
  void add_nodes();
  void upgrade_if_needed(Versions& versions) const;
  Versions versions_at(const std::string& path) const;  // of the server that has a disk there
  void add_server(Node& node);
  void add_clients(Node& node, uint32_t count, bool guests);
  void format_disks();
  std::string form();
  member::Options management_options(NodeId node);
  std::string call_now(Management::Call call, api::Value* data = nullptr);
  std::string configure();
  void attach(ClientProcess& process);
  void attached(ClientProcess& process, Result<std::unique_ptr<client::Standalone>> result);
  std::unique_ptr<Work> make_work(ClientProcess& process, uint32_t generation);
  io::SimOptions world_options();
  bool listens() const { return setup.keep_log || setup.line_sink || timeline; }
  void note_end(const char* what, io::SimHost& host, NodeId node, Death death);
  void note_index(const Node& node);
  std::string check_leases();
  bool serves(NodeId id, uint32_t set) const;
  std::string check_states();
  std::string check_disk(DiskId disk, const std::string& path);

  static constexpr ClusterId cluster_id = 0xc1d2;
  static constexpr uint16_t beacon_port = 4100;

  wire::ClusterKey key_;
  std::vector<map::Node> rows_;  // of the sp.toml that all nodes have which were there at first
  DiskId disk_last_ = 0;
  io::SimHost* tools_ = nullptr;
  AgreementCheck agreement_;
  struct Session {
    uint64_t number = 0;
    uint32_t generation = 0;
    uint64_t attached = 0;  // time in `history`
  };
  std::map<VolumeId, std::vector<Session>> sessions_;
  std::map<VolumeId, Ledger> ledgers_;
  uint64_t attached_count_ = 0;
  bool work_over_ = false;
  uint64_t newest_index_ = 0;
  // What check_leases and check_states saw last, of each node: it is looked at again once the
  // process has done something.
  struct Seen {
    uint64_t server_events = UINT64_MAX, beacon_events = UINT64_MAX;
    std::vector<uint32_t> served;  // indexes of sets
  };
  std::vector<Seen> seen_;
  std::vector<NodeId> serving_;             // by set index; 0: none
  std::map<DiskId, DiskContent> contents_;  // at rest, for check_disks
};

}  // namespace sp::sim
