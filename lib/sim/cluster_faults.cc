#include "sim/cluster_faults.h"

#include <algorithm>
#include <utility>

#include "base/checksum.h"

namespace sp::sim {

using std::chrono::milliseconds;

ClusterFaults::ClusterFaults(Cluster& cluster, std::vector<Fault> plan)
    : cluster_(cluster), plan_(std::move(plan)) {
  disk_last_ = cluster.disk_last();
}

void ClusterFaults::start(io::Duration from, io::Duration until) {
  running_ = true;
  cluster_.may_start = [this](Cluster::Node& node) { return may_start(node); };
  for (const Fault& fault : plan_) {
    if (fault.at < from || fault.at >= until) continue;
    cluster_.world.at(fault.at - from, [weak = std::weak_ptr<char>(alive_), this, &fault] {
      if (weak.lock() && running_) one(fault);
    });
  }
}

void ClusterFaults::hold(bool on) {
  holding_ = on;
  if (on) return;
  for (auto& work : std::exchange(held_, {})) work();
}

void ClusterFaults::after(const Draws& draws, int64_t ms_max, std::function<void()> work) {
  auto box = std::make_shared<std::function<void()>>(std::move(work));
  cluster_.world.at(
      std::chrono::microseconds(1000 + draws->below(static_cast<uint64_t>(ms_max) * 1000)),
      [weak = std::weak_ptr<char>(alive_), this, box] {
        if (!weak.lock()) return;
        if (holding_) return held_.push_back(std::move(*box));
        (*box)();
      });
}

void ClusterFaults::one(const Fault& fault) {
  const Draws draws = std::make_shared<io::SeededRandom>(fault.seed);
  cluster_.note("fault " + std::to_string(fault.index) + ": " +
                std::string(fault_name(fault.kind)));
  switch (fault.kind) {
    case FaultKind::service: return end_service(draws);
    case FaultKind::node: return end_node(draws);
    case FaultKind::all: return end_everything(draws);
    case FaultKind::cut: return cut_links(draws);
    case FaultKind::pause: return pause(draws);
    case FaultKind::disk: return trouble_disk(draws);
    case FaultKind::log: return trouble_log(draws);
    case FaultKind::spoil: return spoil_block(draws);
    case FaultKind::move: return move_volume(draws);
    case FaultKind::place: return change_placement(draws);
    case FaultKind::loss: return lose_segments(draws);
    case FaultKind::reset: return reset_connections(draws);
    case FaultKind::clog: return clog(draws);
    case FaultKind::slow: return slow_links(draws);
    case FaultKind::elect: return swap_majorities(draws);
    case FaultKind::io: return fail_at_io(draws);
    case FaultKind::late: return delay_sends(draws);
    case FaultKind::swap: return swap_disks(draws);
    case FaultKind::add: return add_disk(draws);
    case FaultKind::full: return fill_disk(draws);
    case FaultKind::wipe: return wipe_disk(draws);
    case FaultKind::die: return kill_disk(draws);
    case FaultKind::wrong: return mistake_disk(draws);
    case FaultKind::lie: return make_disk_lie(draws);
    case FaultKind::super: return damage_superblock(draws);
    case FaultKind::rot: return rot_disk(draws);
    case FaultKind::forget: return damage_beacon(draws);
    case FaultKind::mgmt: return trouble_management(draws);
    case FaultKind::join: return join(draws);
    case FaultKind::leave: return leave(draws);
    case FaultKind::voting: return change_voting(draws);
    case FaultKind::upgrade: return upgrade(draws);
    case FaultKind::count: return;
  }
}

ClusterFaults::Death ClusterFaults::any_death(const Draws& draws) {
  const Death deaths[] = {Death::process, Death::power, Death::silent};
  return deaths[draws->below(3)];
}

void ClusterFaults::end_service(const Draws& draws) {
  const Death death = draws->below(3) == 0 ? any_death(draws) : Death::process;
  const int64_t back_ms = draws->below(4) == 0 ? 6000 : 600;
  const auto back = [this, draws, back_ms] {
    after(draws, back_ms, [this] {
      for (auto& node : cluster_.nodes) cluster_.start_node(node);
    });
  };
  if (draws->below(4) == 0) {
    Cluster::ClientProcess& client = cluster_.clients[draws->below(cluster_.clients.size())];
    if (!client.up || cluster_.holder_of(client.volume) != &client) return;
    return end_late(draws, *client.host, [this, &client, death, back] {
      cluster_.end_client(client, death);
      back();
    });
  }
  Cluster::Node& node = any_node(draws);
  const bool server = node.server && draws->below(2) == 0;
  end_late(draws, server ? *node.server->host : *node.beacon.host,
           [this, draws, &node, server, death, back] {
             if (server)
               end_server(draws, node, death);
             else
               cluster_.end_beacon(node, death);
             back();
           });
}

void ClusterFaults::end_node(const Draws& draws) {
  Cluster::Node* const leader = cluster_.leader();
  Cluster::Node& node = leader != nullptr && draws->below(3) == 0 ? *leader : any_node(draws);
  const Death death = draws->below(2) == 0 ? Death::silent : Death::power;
  const int64_t back_ms = draws->below(4) == 0 ? 8000 : 1500;
  end_late(draws, node.server ? *node.server->host : *node.beacon.host,
           [this, draws, death, back_ms, id = node.id] {
             end_server(draws, cluster_.node(id), death);
             cluster_.end_node(cluster_.node(id), death);
             after(draws, back_ms, [this, id] { cluster_.start_node(cluster_.node(id)); });
           });
}

void ClusterFaults::end_everything(const Draws& draws) {
  const bool together = draws->below(2) == 0;
  for (auto& node : cluster_.nodes) cluster_.end_node(node, Death::power);
  for (auto& node : cluster_.nodes)
    after(draws, together ? 50 : 3000,
          [this, id = node.id] { cluster_.start_node(cluster_.node(id)); });
}

void ClusterFaults::cut_both(const Cluster::Node& a, const Cluster::Node& b, bool up) {
  cluster_.world.net().set_link(a.ip, b.ip, up);
  cluster_.world.net().set_link(b.ip, a.ip, up);
}

void ClusterFaults::cut_links(const Draws& draws) {
  auto& net = cluster_.world.net();
  Cluster::Node& a = any_node(draws);
  Cluster::Node& b = any_node(draws);
  const int64_t ms = draws->below(3) == 0 ? 8000 : 2000;
  switch (draws->below(6)) {
    case 0:  // these two only
      cut_both(a, b, false);
      return after(draws, ms, [this, &a, &b] { cut_both(a, b, true); });
    case 1:  // one way
      net.set_link(a.ip, b.ip, false);
      return after(draws, ms, [this, &a, &b] { cluster_.world.net().set_link(a.ip, b.ip, true); });
    case 2: {  // one node hears everybody and reaches nobody, or the other way round
      const bool deaf = draws->below(2) == 0;
      for (auto& other : cluster_.nodes) {
        if (&other != &a) net.set_link(deaf ? other.ip : a.ip, deaf ? a.ip : other.ip, false);
      }
      break;
    }
    case 3: net.partition({a.ip}); break;
    case 4: {  // one node reaches nobody, and hears for a while what was said before
      const milliseconds late(1 + draws->below(1500));
      for (auto& other : cluster_.nodes) {
        if (&other == &a) continue;
        net.set_link(a.ip, other.ip, false);
        net.clog(other.ip, a.ip, late);
      }
      break;
    }
    default: {
      std::vector<std::string> group;
      for (const auto& node : cluster_.nodes) {
        if (draws->below(2) == 0) group.push_back(node.ip);
      }
      net.partition(group);
    }
  }
  if (draws->below(3) == 0) return heal_swizzled(draws, ms);
  after(draws, ms, [this] { cluster_.world.net().heal(); });
}

// Link by link, in any order.
void ClusterFaults::heal_swizzled(const Draws& draws, int64_t ms) {
  for (auto& a : cluster_.nodes) {
    for (auto& b : cluster_.nodes) {
      if (a.id == b.id) continue;
      after(draws, ms, [this, &a, &b] { cluster_.world.net().set_link(a.ip, b.ip, true); });
    }
  }
}

void ClusterFaults::pause(const Draws& draws) {
  Cluster::Node& node = any_node(draws);
  const milliseconds time(1 + draws->below(draws->below(3) == 0 ? 4000 : 900));
  const bool all = draws->below(3) == 0;
  const bool beacon = !node.server || draws->below(2) == 0;
  if (all || beacon) node.beacon.host->pause(time);
  if (node.server && (all || !beacon)) node.server->host->pause(time);
  auto* const management = cluster_.management.of_node(node.id);
  if (all && management != nullptr) management->host->pause(time);
}

// All of them at times: reads and writes go on without.
void ClusterFaults::trouble_management(const Draws& draws) {
  auto& processes = cluster_.management.processes();
  const bool all = draws->below(3) == 0;
  const uint64_t one = draws->below(processes.size());
  const bool stand_still = draws->below(3) == 0;
  const Death death = draws->below(3) == 0 ? any_death(draws) : Death::process;
  const int64_t back_ms = draws->below(3) == 0 ? 8000 : 600;
  for (size_t i = 0; i < processes.size(); ++i) {
    auto& process = processes[i];
    if (!all && i != one) continue;
    if (stand_still) {
      process.host->pause(milliseconds(1 + draws->below(4000)));
      continue;
    }
    cluster_.management.end(process, death);
    after(draws, back_ms, [this, &process] {
      // Else it comes with its node.
      if (cluster_.node(process.node).beacon.up) cluster_.management.start(process);
    });
  }
}

void ClusterFaults::move_volume(const Draws& draws) {
  const VolumeId volume = cluster_.volumes[draws->below(cluster_.volumes.size())];
  Cluster::ClientProcess* const from = cluster_.holder_of(volume);
  std::vector<Cluster::ClientProcess*> free;
  for (auto& process : cluster_.clients) {
    if (!process.up && !process.guest && process.volume == 0) free.push_back(&process);
  }
  if (free.empty() || from == nullptr) return;
  Cluster::Node& from_node = cluster_.node(from->node);
  Cluster::Node* const leader = cluster_.leader();
  // Often the old client does not hear of it: its beacon is cut off, or it stands still.
  switch (draws->below(6)) {
    case 0:
      if (leader == nullptr || leader == &from_node) break;
      cut_both(from_node, *leader, false);
      after(draws, 5000, [this, &from_node, leader] { cut_both(from_node, *leader, true); });
      break;
    case 1: from_node.beacon.host->pause(milliseconds(1 + draws->below(5000))); break;
    case 2: from->host->pause(milliseconds(1 + draws->below(3000))); break;
    case 3: {  // some server does not hear of it while its lease lasts
      Cluster::Node& node = any_storage_node(draws);
      node.beacon.host->pause(milliseconds(1 + draws->below(1500)));
      break;
    }
    case 4: {
      Cluster::Node& node = any_storage_node(draws);
      if (leader == nullptr || leader == &node) break;
      cut_both(node, *leader, false);
      after(draws, 2000, [this, &node, leader] { cut_both(node, *leader, true); });
      break;
    }
    default: break;
  }
  Cluster::ClientProcess& to = *free[draws->below(free.size())];
  const bool detach = draws->below(2) == 0;
  cluster_.move_volume(volume, to, detach);
}

void ClusterFaults::change_placement(const Draws& draws) {
  DiskId disk = std::exchange(outside_, DiskId{0});
  const bool join = disk != 0;
  if (!join) {
    if (storage().size() <= cluster_.setup.copies) return;
    const auto& disks = any_storage_node(draws).server->disks;
    disk = outside_ = disks[draws->below(disks.size())];
  }
  cluster_.administrate(Management::post(
      "PlacementGroupUpdate/all",
      std::string(join ? R"({"addDisks":[)" : R"({"rmDisks":[)") + std::to_string(disk) + "]}"));
}

void ClusterFaults::lose_segments(const Draws& draws) {
  io::SimNetOptions bad = cluster_.setup.world.net;
  bad.loss = 0.001 * static_cast<double>(1 + draws->below(20));
  bad.reset = draws->below(2) == 0 ? 0.001 : 0;
  bad.clog = draws->below(2) == 0 ? 0.002 : 0;
  cluster_.world.net().set_options(bad);
  after(draws, 3000, [this] { cluster_.world.net().set_options(cluster_.setup.world.net); });
}

// Not within a node: there a connection breaks only with one of its processes, and beacons rely on
// that.
void ClusterFaults::reset_connections(const Draws& draws) {
  const Cluster::Node& a = any_node(draws);
  const Cluster::Node& b = any_node(draws);
  if (&a != &b) cluster_.world.net().reset_connections(a.ip, b.ip);
}

void ClusterFaults::clog(const Draws& draws) {
  const Cluster::Node& a = any_node(draws);
  // Only the connections that are there, as when TCP waits longer and longer after each loss: what
  // is sent again over a new one overtakes.
  const bool connections = draws->below(2) == 0;
  for (const auto& b : cluster_.nodes) {
    if (&a == &b || draws->below(2) == 0) continue;
    const milliseconds time(1 + draws->below(connections ? 5000 : 1500));
    for (const auto& [from, to] : {std::pair(&a, &b), std::pair(&b, &a)}) {
      if (from == &b && draws->below(2) == 0) continue;
      if (connections)
        cluster_.world.net().hold_connections(from->ip, to->ip, time);
      else
        cluster_.world.net().clog(from->ip, to->ip, time);
    }
  }
}

void ClusterFaults::heal() {
  running_ = false;
  holding_ = false;
  held_.clear();
  alive_ = std::make_shared<char>();
  disarm_all();
  cluster_.world.net().heal();
  cluster_.world.net().set_options(cluster_.setup.world.net);
  // All of them: a medium takes its options along when it is swapped.
  for (auto& node : cluster_.nodes) {
    if (!node.server) continue;
    for (const std::string& path : node.server->paths)
      cluster_.world.disks().set_options(path, cluster_.setup.world.disk);
  }
  for (auto& node : cluster_.nodes) cluster_.start_node(node);
  cluster_.replaces_disks = true;
  membership_.settle();
}

}  // namespace sp::sim
