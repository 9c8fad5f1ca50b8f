// What goes wrong with the disks of a simulated cluster.
#include <algorithm>

#include "sim/cluster_faults.h"

namespace sp::sim {

using std::chrono::milliseconds;

namespace {
constexpr size_t disks_per_server_max = 3;
constexpr auto ask_again_after = milliseconds(500);
}  // namespace

void ClusterFaults::trouble_disk(const Draws& draws) {
  auto& disks = cluster_.world.disks();
  const std::string path = any_disk(draws);
  switch (draws->below(4)) {
    case 0:
      disks.fail_next(path,
                      draws->below(2) == 0 ? io::SimDisks::Kind::write : io::SimDisks::Kind::flush);
      return after(draws, 4000, [this, draws] {
        cluster_.replaces_disks = true;
        after(draws, 500, [this] { cluster_.replaces_disks = false; });
      });
    case 1: return disks.stall(path, milliseconds(1 + draws->below(3000)));
    case 2: {
      const std::string log = "/log" + std::to_string(any_node(draws).id);
      const milliseconds time(1 + draws->below(1500));
      if (disks.exists(log)) disks.stall(log, time);
      return;
    }
    default: {
      io::SimDiskOptions slow = cluster_.setup.world.disk;
      slow.latency_mean = milliseconds(1 + draws->below(30));
      disks.set_options(path, slow);
      return after(draws, 4000, [this, path] {
        cluster_.world.disks().set_options(path, cluster_.setup.world.disk);
      });
    }
  }
}

// The beacon stops by itself and is started again.
void ClusterFaults::trouble_log(const Draws& draws) {
  const std::string path = "/log" + std::to_string(any_node(draws).id);
  const auto kind = draws->below(2) == 0 ? io::SimDisks::Kind::write : io::SimDisks::Kind::flush;
  if (cluster_.world.disks().exists(path)) cluster_.world.disks().fail_next(path, kind);
}

// The media change places, in one server or between two; each disk keeps its identity.
void ClusterFaults::swap_disks(const Draws& draws) {
  Cluster::Node& a = any_storage_node(draws);
  Cluster::Node& b = any_storage_node(draws);
  const size_t at_a = draws->below(a.server->disks.size());
  const size_t at_b = draws->below(b.server->disks.size());
  if (&a == &b && at_a == at_b) return;
  // Not one that is being replaced: its id would be there twice.
  if (!is_untouched({&a, at_a}) || !is_untouched({&b, at_b})) return;
  cluster_.end_server(a, Death::power);
  cluster_.end_server(b, Death::power);
  const Status swapped = cluster_.world.disks().swap(a.server->paths[at_a], b.server->paths[at_b]);
  SP_ASSERT(swapped.ok());
  std::swap(a.server->disks[at_a], b.server->disks[at_b]);
  after(draws, 2000, [this, &a] { cluster_.start_node(a); });
  after(draws, 2000, [this, &b] { cluster_.start_node(b); });
}

// The server is started anew with it; then it joins the placement.
void ClusterFaults::add_disk(const Draws& draws) {
  Cluster::Node& node = any_storage_node(draws);
  if (node.server->held > 0 || node.server->disks.size() >= disks_per_server_max) return;
  const DiskId id = ++disk_last_;
  const std::string path = "/disk" + std::to_string(id);
  const Status added = cluster_.world.disks().add(path, cluster_.setup.disk_bytes);
  SP_ASSERT(added.ok());
  cluster_.note("disk is added disk=" + std::to_string(id) + " node=" + std::to_string(node.id));
  cluster_.end_server(node, draws->below(2) == 0 ? Death::process : Death::power);
  ++node.server->held;
  cluster_.format_disk(path, id, [this, &node, id, path](uint64_t) {
    node.server->paths.push_back(path);
    node.server->disks.push_back(id);
    new_.insert(id);
    release(node);
  });
}

void ClusterFaults::place_new_disks() {
  if (new_.empty()) return;
  const map::Map* const map = map_to_act_on(placed_at_, ask_again_after);
  if (map == nullptr) return;
  std::string wanted;
  std::erase_if(new_, [&](DiskId disk) {
    const auto group = map->placement_groups.find("all");
    const bool there = map->disks.count(disk) != 0;
    if (there && group != map->placement_groups.end() && group->second.disks.count(disk) == 0)
      wanted += (wanted.empty() ? "" : ",") + std::to_string(disk);
    else if (there)
      return true;
    // With a node that left it joins again by itself; one that died has another in its stead.
    return !is_inside(disk);
  });
  if (!wanted.empty())
    cluster_.administrate(
        Management::post("PlacementGroupUpdate/all", R"({"addDisks":[)" + wanted + "]}"));
}

// As when what a thin disk stands on is full: writes are refused until somebody makes room.
void ClusterFaults::fill_disk(const Draws& draws) {
  const std::string path = any_disk(draws);
  io::SimDiskOptions full = cluster_.setup.world.disk;
  full.space_bytes = 0;
  cluster_.world.disks().set_options(path, full);
  after(draws, 3000, [this, draws, path] {
    cluster_.world.disks().set_options(path, cluster_.setup.world.disk);
    cluster_.replaces_disks = true;
    after(draws, 500, [this] { cluster_.replaces_disks = false; });
  });
}

}  // namespace sp::sim
