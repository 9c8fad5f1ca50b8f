// ClusterFaults: draws what goes wrong in a Cluster, when, and for how long, from the world's seed:
// processes and nodes that end, power that fails everywhere, links that break in all ways, pauses,
// slow and broken disks, decaying blocks, volumes attached elsewhere by force, disks taken out of
// placement. What is spoiled for good is limited to one disk of a run, so that each block keeps a
// copy that is whole.
#pragma once
#include <array>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "sim/cluster.h"

namespace sp::sim {

class ClusterFaults {
 public:
  explicit ClusterFaults(Cluster& cluster);
  void start();
  // No new faults, and everything is well again: links, disks, processes.
  void heal();
  const std::vector<std::string>& spoiled() const { return spoiled_; }

 private:
  using Death = io::SimHost::Death;
  void schedule();
  void one();
  void end_service();
  void end_node();
  void end_everything();
  void cut_links();
  void cut_both(const Cluster::Node& a, const Cluster::Node& b, bool up);
  void pause();
  void trouble_disk();
  void trouble_log();
  void spoil_block();
  void move_volume();
  void change_placement();
  void lose_segments();
  void reset_connections();

  void after(int64_t ms_max, std::function<void()> work);
  uint64_t below(uint64_t bound) { return cluster_.world.random().below(bound); }
  Death any_death();
  Cluster::Node& any_node() { return cluster_.nodes[below(cluster_.nodes.size())]; }
  Cluster::Node& any_storage_node() { return cluster_.nodes[below(cluster_.setup.storage_nodes)]; }
  std::string any_disk() {
    const auto& paths = any_storage_node().server->paths;
    return paths[below(paths.size())];
  }

  Cluster& cluster_;
  bool running_ = false;
  int64_t interval_ms_ = 0;
  std::array<uint32_t, 12> weights_{};
  std::vector<std::string> spoiled_;
  DiskId spoiled_disk_ = 0;
  NodeId spoiled_node_ = 0;
  std::vector<std::string> slow_;
  DiskId outside_ = 0;  // of placement
  std::shared_ptr<char> alive_ = std::make_shared<char>();
};

}  // namespace sp::sim
