// What goes wrong with the disks of a simulated cluster.
#include <algorithm>

#include "base/checksum.h"
#include "sim/cluster_faults.h"
#include "store/check.h"

namespace sp::sim {

using std::chrono::milliseconds;

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
    case 2:
      return disks.stall("/log" + std::to_string(any_node(draws).id),
                         milliseconds(1 + draws->below(1500)));
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
  cluster_.world.disks().fail_next(
      path, draws->below(2) == 0 ? io::SimDisks::Kind::write : io::SimDisks::Kind::flush);
}

// Which copy of a block may be damaged is a function of the block, so that no second one is.
void ClusterFaults::spoil_block(const Draws& draws) {
  const VolumeId volume = cluster_.volumes[draws->below(cluster_.volumes.size())];
  const uint64_t block = draws->below(cluster_.setup.work.blocks) * cluster_.setup.work.stride;
  const ObjectId object{volume, static_cast<uint32_t>(block / limits::blocks_per_object)};
  const auto within = static_cast<uint16_t>(block % limits::blocks_per_object);
  NodeId node = spoiled_node_;
  DiskId disk = spoiled_disk_;
  if (spoils_all_) {
    if (!spoiled_blocks_.emplace(object, within).second) return;
    const Cluster::Node& other = any_storage_node(draws);
    node = other.id;
    disk = other.server->disks[draws->below(other.server->disks.size())];
  }
  auto& process = *cluster_.node(node).server;
  store::Store* const store = process.server ? process.server->store(disk) : nullptr;
  if (store == nullptr) return;
  const auto place =
      std::find(process.disks.begin(), process.disks.end(), disk) - process.disks.begin();
  const std::string& path = process.paths[static_cast<size_t>(place)];
  const auto location = store::locate(*store, object, within);
  // Not in the blink before the block's round is proven: damage there, then a crash, cannot be told
  // from a torn write that was never acknowledged (sp-disk-format(5)).
  if (!location || !location->proven) return;
  cluster_.world.disks().corrupt(path, location->device_offset + 512 * draws->below(8), 512);
  if (std::find(spoiled_.begin(), spoiled_.end(), path) == spoiled_.end()) spoiled_.push_back(path);
}

// The media change places, in one server or between two; each disk keeps its identity.
void ClusterFaults::swap_disks(const Draws& draws) {
  Cluster::Node& a = any_storage_node(draws);
  Cluster::Node& b = any_storage_node(draws);
  const size_t at_a = draws->below(a.server->disks.size());
  const size_t at_b = draws->below(b.server->disks.size());
  if (&a == &b && at_a == at_b) return;
  cluster_.end_server(a, Death::power);
  cluster_.end_server(b, Death::power);
  const Status swapped = cluster_.world.disks().swap(a.server->paths[at_a], b.server->paths[at_b]);
  SP_ASSERT(swapped.ok());
  std::swap(a.server->disks[at_a], b.server->disks[at_b]);
  for (auto* path : {&a.server->paths[at_a], &b.server->paths[at_b]}) {
    const std::string& other =
        path == &a.server->paths[at_a] ? b.server->paths[at_b] : a.server->paths[at_a];
    if (std::find(spoiled_.begin(), spoiled_.end(), *path) != spoiled_.end())
      spoiled_.push_back(other);
  }
  if (spoiled_disk_ == b.server->disks[at_b])
    spoiled_node_ = b.id;
  else if (spoiled_disk_ == a.server->disks[at_a])
    spoiled_node_ = a.id;
  after(draws, 2000, [this, &a] { cluster_.start_node(a); });
  after(draws, 2000, [this, &b] { cluster_.start_node(b); });
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
