#include "sim/cluster_faults.h"

#include <algorithm>

#include "store/check.h"

namespace sp::sim {

using std::chrono::milliseconds;

ClusterFaults::ClusterFaults(Cluster& cluster) : cluster_(cluster) {}

// Each run has a temper of its own: how often something happens, and which kinds prevail.
void ClusterFaults::start() {
  running_ = true;
  Cluster::Node& node = any_storage_node();
  spoiled_node_ = node.id;
  spoiled_disk_ = node.server->disks[below(node.server->disks.size())];
  interval_ms_ = static_cast<int64_t>(200 + below(2500));
  constexpr std::array<uint32_t, 12> usual = {6, 4, 1, 6, 3, 3, 1, 3, 3, 2, 2, 1};
  for (size_t i = 0; i < usual.size(); ++i)
    weights_[i] = below(4) == 0 ? 0 : usual[i] * static_cast<uint32_t>(1 + below(3));
  weights_[0] += 1;
  schedule();
}

void ClusterFaults::after(int64_t ms_max, std::function<void()> work) {
  auto box = std::make_shared<std::function<void()>>(std::move(work));
  cluster_.world.at(std::chrono::microseconds(1000 + below(static_cast<uint64_t>(ms_max) * 1000)),
                    [weak = std::weak_ptr<char>(alive_), box] {
                      if (weak.lock()) (*box)();
                    });
}

void ClusterFaults::schedule() {
  after(interval_ms_, [this] {
    if (!running_) return;
    one();
    schedule();
  });
}

void ClusterFaults::one() {
  uint32_t total = 0;
  for (const uint32_t weight : weights_) total += weight;
  uint64_t draw = below(total);
  size_t kind = 0;
  while (draw >= weights_[kind]) draw -= weights_[kind++];
  switch (kind) {
    case 0: return end_service();
    case 1: return end_node();
    case 2: return end_everything();
    case 3: return cut_links();
    case 4: return pause();
    case 5: return trouble_disk();
    case 6: return trouble_log();
    case 7: return spoil_block();
    case 8: return move_volume();
    case 9: return change_placement();
    case 10: return lose_segments();
    default: return reset_connections();
  }
}

ClusterFaults::Death ClusterFaults::any_death() {
  const Death deaths[] = {Death::process, Death::power, Death::silent};
  return deaths[below(3)];
}

void ClusterFaults::end_service() {
  const Death death = below(3) == 0 ? any_death() : Death::process;
  const int64_t back_ms = below(4) == 0 ? 6000 : 600;
  if (below(4) == 0) {
    Cluster::ClientProcess& client = cluster_.clients[below(cluster_.clients.size())];
    if (!client.up || cluster_.holder_of(client.volume) != &client) return;
    cluster_.end_client(client, death);
  } else {
    Cluster::Node& node = any_node();
    if (node.server && below(2) == 0)
      cluster_.end_server(node, death);
    else
      cluster_.end_beacon(node, death);
  }
  after(back_ms, [this] {
    for (auto& node : cluster_.nodes) cluster_.start_node(node);
  });
}

void ClusterFaults::end_node() {
  Cluster::Node* const leader = cluster_.leader();
  Cluster::Node& node = leader != nullptr && below(3) == 0 ? *leader : any_node();
  cluster_.end_node(node, below(2) == 0 ? Death::silent : Death::power);
  after(below(4) == 0 ? 8000 : 1500,
        [this, id = node.id] { cluster_.start_node(cluster_.node(id)); });
}

void ClusterFaults::end_everything() {
  const bool together = below(2) == 0;
  for (auto& node : cluster_.nodes) cluster_.end_node(node, Death::power);
  for (auto& node : cluster_.nodes)
    after(together ? 50 : 3000, [this, id = node.id] { cluster_.start_node(cluster_.node(id)); });
}

void ClusterFaults::cut_both(const Cluster::Node& a, const Cluster::Node& b, bool up) {
  cluster_.world.net().set_link(a.ip, b.ip, up);
  cluster_.world.net().set_link(b.ip, a.ip, up);
}

void ClusterFaults::cut_links() {
  auto& net = cluster_.world.net();
  Cluster::Node& a = any_node();
  Cluster::Node& b = any_node();
  const int64_t ms = below(3) == 0 ? 8000 : 2000;
  switch (below(5)) {
    case 0:  // these two only
      cut_both(a, b, false);
      return after(ms, [this, &a, &b] { cut_both(a, b, true); });
    case 1:  // one way
      net.set_link(a.ip, b.ip, false);
      return after(ms, [this, &a, &b] { cluster_.world.net().set_link(a.ip, b.ip, true); });
    case 2: {  // one node hears everybody and reaches nobody, or the other way round
      const bool deaf = below(2) == 0;
      for (auto& other : cluster_.nodes) {
        if (&other != &a) net.set_link(deaf ? other.ip : a.ip, deaf ? a.ip : other.ip, false);
      }
      break;
    }
    case 3: net.partition({a.ip}); break;
    default: {
      std::vector<std::string> group;
      for (const auto& node : cluster_.nodes) {
        if (below(2) == 0) group.push_back(node.ip);
      }
      net.partition(group);
    }
  }
  after(ms, [this] { cluster_.world.net().heal(); });
}

void ClusterFaults::pause() {
  Cluster::Node& node = any_node();
  const milliseconds time(1 + below(below(3) == 0 ? 4000 : 900));
  const bool all = below(3) == 0;
  const bool beacon = !node.server || below(2) == 0;
  if (all || beacon) node.beacon.host->pause(time);
  if (node.server && (all || !beacon)) node.server->host->pause(time);
}

void ClusterFaults::trouble_disk() {
  auto& disks = cluster_.world.disks();
  const std::string path = any_disk();
  switch (below(4)) {
    case 0:
      disks.fail_next(path, below(2) == 0 ? io::SimDisks::Kind::write : io::SimDisks::Kind::flush);
      return after(4000, [this] {
        cluster_.replaces_disks = true;
        after(500, [this] { cluster_.replaces_disks = false; });
      });
    case 1: return disks.stall(path, milliseconds(1 + below(3000)));
    case 2:
      return disks.stall("/log" + std::to_string(any_node().id), milliseconds(1 + below(1500)));
    default: {
      io::SimDiskOptions slow = cluster_.setup.world.disk;
      slow.latency_mean = milliseconds(1 + below(30));
      disks.set_options(path, slow);
      slow_.push_back(path);
      return after(4000, [this, path] {
        cluster_.world.disks().set_options(path, cluster_.setup.world.disk);
      });
    }
  }
}

// The beacon stops by itself and is started again.
void ClusterFaults::trouble_log() {
  const std::string path = "/log" + std::to_string(any_node().id);
  cluster_.world.disks().fail_next(
      path, below(2) == 0 ? io::SimDisks::Kind::write : io::SimDisks::Kind::flush);
}

void ClusterFaults::spoil_block() {
  auto& process = *cluster_.node(spoiled_node_).server;
  store::Store* const store = process.server ? process.server->store(spoiled_disk_) : nullptr;
  if (store == nullptr) return;
  const auto place =
      std::find(process.disks.begin(), process.disks.end(), spoiled_disk_) - process.disks.begin();
  const std::string& path = process.paths[static_cast<size_t>(place)];
  const VolumeId volume = cluster_.volumes[below(cluster_.volumes.size())];
  const uint64_t block = below(cluster_.setup.work.blocks) * cluster_.setup.work.stride;
  const ObjectId object{volume, static_cast<uint32_t>(block / limits::blocks_per_object)};
  const auto location =
      store::locate(*store, object, static_cast<uint16_t>(block % limits::blocks_per_object));
  if (!location) return;
  cluster_.world.disks().corrupt(path, location->device_offset + 512 * below(8), 512);
  if (spoiled_.empty()) spoiled_.push_back(path);
}

void ClusterFaults::move_volume() {
  const VolumeId volume = cluster_.volumes[below(cluster_.volumes.size())];
  Cluster::ClientProcess* const from = cluster_.holder_of(volume);
  std::vector<Cluster::ClientProcess*> free;
  for (auto& process : cluster_.clients) {
    if (!process.up && process.volume == 0) free.push_back(&process);
  }
  if (free.empty() || from == nullptr) return;
  Cluster::Node& from_node = cluster_.node(from->node);
  Cluster::Node* const leader = cluster_.leader();
  // Often the old client does not hear of it: its beacon is cut off, or it stands still.
  switch (below(4)) {
    case 0:
      if (leader == nullptr || leader == &from_node) break;
      cut_both(from_node, *leader, false);
      after(5000, [this, &from_node, leader] { cut_both(from_node, *leader, true); });
      break;
    case 1: from_node.beacon.host->pause(milliseconds(1 + below(5000))); break;
    case 2: from->host->pause(milliseconds(1 + below(3000))); break;
    default: break;
  }
  cluster_.move_volume(volume, *free[below(free.size())]);
}

void ClusterFaults::change_placement() {
  map::UpdatePlacementGroup change;
  change.name = "all";
  if (outside_ != 0) {
    change.add.push_back(std::exchange(outside_, DiskId{0}));
  } else {
    if (cluster_.setup.storage_nodes <= cluster_.setup.copies) return;
    const auto& disks = any_storage_node().server->disks;
    outside_ = disks[below(disks.size())];
    change.remove.push_back(outside_);
  }
  cluster_.command(change);
}

void ClusterFaults::lose_segments() {
  io::SimNetOptions bad = cluster_.setup.world.net;
  bad.loss = 0.001 * static_cast<double>(1 + below(20));
  bad.reset = below(2) == 0 ? 0.001 : 0;
  bad.clog = below(2) == 0 ? 0.002 : 0;
  cluster_.world.net().set_options(bad);
  after(3000, [this] { cluster_.world.net().set_options(cluster_.setup.world.net); });
}

// Not within a node: there a connection breaks only with one of its processes, and beacons rely on
// that.
void ClusterFaults::reset_connections() {
  const Cluster::Node& a = any_node();
  const Cluster::Node& b = any_node();
  if (&a != &b) cluster_.world.net().reset_connections(a.ip, b.ip);
}

void ClusterFaults::heal() {
  running_ = false;
  alive_ = std::make_shared<char>();
  cluster_.world.net().heal();
  cluster_.world.net().set_options(cluster_.setup.world.net);
  for (const std::string& path : slow_)
    cluster_.world.disks().set_options(path, cluster_.setup.world.disk);
  for (auto& node : cluster_.nodes) cluster_.start_node(node);
  cluster_.replaces_disks = true;
}

}  // namespace sp::sim
