// ClusterFaults: carries out the faults of a plan on a Cluster: processes and nodes that end, power
// that fails everywhere, links that break in all ways, pauses, slow, broken and full disks,
// decaying blocks, disks swapped and replaced, volumes attached elsewhere by force, disks taken out
// of placement.
//
// What is spoiled for good stays within promise 2: of each block one copy at the most is damaged.
#pragma once
#include <functional>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "sim/cluster.h"
#include "sim/fault_plan.h"

namespace sp::sim {

class ClusterFaults {
 public:
  ClusterFaults(Cluster& cluster, const Knobs& knobs, std::vector<Fault> plan);
  void start();
  // No new faults, and everything is well again: links, disks, processes.
  void heal();
  const std::vector<std::string>& spoiled() const { return spoiled_; }

 private:
  using Death = io::SimHost::Death;
  // What one fault draws, whatever the others do.
  using Draws = std::shared_ptr<io::SeededRandom>;

  void one(const Fault& fault);
  void end_service(const Draws& draws);
  void end_node(const Draws& draws);
  void end_everything(const Draws& draws);
  void cut_links(const Draws& draws);
  void cut_both(const Cluster::Node& a, const Cluster::Node& b, bool up);
  void heal_swizzled(const Draws& draws, int64_t ms);
  void pause(const Draws& draws);
  void lose_segments(const Draws& draws);
  void reset_connections(const Draws& draws);
  void clog(const Draws& draws);
  void move_volume(const Draws& draws);
  void change_placement(const Draws& draws);
  // Disks, in cluster_faults_disks.cc.
  void trouble_disk(const Draws& draws);
  void trouble_log(const Draws& draws);
  void spoil_block(const Draws& draws);
  void swap_disks(const Draws& draws);
  void fill_disk(const Draws& draws);

  void after(const Draws& draws, int64_t ms_max, std::function<void()> work);
  Death any_death(const Draws& draws);
  Cluster::Node& any_node(const Draws& draws) {
    return cluster_.nodes[draws->below(cluster_.nodes.size())];
  }
  Cluster::Node& any_storage_node(const Draws& draws) {
    return cluster_.nodes[draws->below(cluster_.setup.storage_nodes)];
  }
  std::string any_disk(const Draws& draws) {
    const auto& paths = any_storage_node(draws).server->paths;
    return paths[draws->below(paths.size())];
  }

  Cluster& cluster_;
  std::vector<Fault> plan_;
  bool running_ = false;
  bool spoils_all_ = false;  // any disk may be spoiled, each block once
  std::vector<std::string> spoiled_;
  std::set<std::pair<ObjectId, uint16_t>> spoiled_blocks_;
  DiskId spoiled_disk_ = 0;
  NodeId spoiled_node_ = 0;
  DiskId outside_ = 0;  // of placement
  std::shared_ptr<char> alive_ = std::make_shared<char>();
};

}  // namespace sp::sim
