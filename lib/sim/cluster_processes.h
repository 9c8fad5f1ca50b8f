// The processes of a simulated cluster, and the nodes that they are on: what Cluster holds of each.
// Plain values.
#pragma once
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "beacon/beacon.h"
#include "client/standalone.h"
#include "io/sim_world.h"
#include "serve/server.h"
#include "sim/work.h"

namespace sp::sim {

struct ClusterProcesses {
  struct BeaconProcess {
    io::SimHost* host = nullptr;
    std::unique_ptr<beacon::Beacon> beacon;
    std::string failure;  // why it stopped by itself
    Versions versions;
    bool up = false;
  };
  struct ServerProcess {
    io::SimHost* host = nullptr;
    std::vector<std::string> paths;
    std::vector<DiskId> disks;
    std::unique_ptr<member::Member> member;
    std::unique_ptr<serve::Server> server;
    uint32_t held = 0;     // not to be started: somebody works on its disks
    bool retired = false;  // not to be started: its node is leaving
    Versions versions;
    bool up = false;
  };
  struct Node {
    NodeId id = 0;
    std::string ip;
    bool voting = false;  // at first
    bool belongs = true;  // its processes are to run
    BeaconProcess beacon;
    std::optional<ServerProcess> server;
    std::vector<uint32_t> clients;  // positions in `clients`
  };
  struct ClientProcess {
    io::SimHost* host = nullptr;
    NodeId node = 0;
    uint8_t instance = 2;
    bool up = false;
    bool fenced = false;  // noticed that the volume was taken away
    bool retry = false;   // the attempt has failed and is to be made again
    bool force = false;
    bool guest = false;   // works on volumes of administrators, for a while
    VolumeId volume = 0;  // 0: has none
    uint64_t session = 0;
    uint64_t completed_before = 0;
    std::unique_ptr<client::Standalone::Attempt> attempt;
    std::unique_ptr<client::Standalone> attached;
    std::unique_ptr<Work> work;
  };
};

}  // namespace sp::sim
