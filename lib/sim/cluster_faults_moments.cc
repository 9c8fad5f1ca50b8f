// Faults that hit a moment: power that fails in the middle of an I/O, and a change of leaders at
// which everybody who could know of the old leader's leases crashes or hears late.
#include <algorithm>

#include "sim/cluster_faults.h"

namespace sp::sim {

using std::chrono::milliseconds;

namespace {
constexpr auto watch_interval = milliseconds(1);
constexpr uint32_t watches = 3000;  // then it is left alone: nothing was written
constexpr uint64_t never = UINT64_MAX / 2;
}  // namespace

// The power of one process fails at the n-th operation of its disk from now on, which is then in
// flight. Mostly it is back at once.
void ClusterFaults::fail_at_io(const Draws& draws) {
  Cluster::Node& node = any_node(draws);
  const bool beacon = !node.server || draws->below(3) == 0;
  const auto path_of = [&] {
    const auto& paths = node.server->paths;
    return paths[draws->below(paths.size())];
  };
  const std::string path = beacon ? "/log" + std::to_string(node.id) : path_of();
  const uint64_t count = 1 + draws->below(draws->below(2) == 0 ? 6 : 60);
  const bool soon = draws->below(3) != 0;
  arm(node, path, beacon, count, [this, draws, id = node.id, soon] {
    after(draws, soon ? 20 : 1500, [this, id] { cluster_.start_node(cluster_.node(id)); });
  });
}

void ClusterFaults::arm(Cluster::Node& node, const std::string& path, bool beacon, uint64_t count,
                        std::function<void()> fallen) {
  auto& disks = cluster_.world.disks();
  const bool armed = std::any_of(armed_.begin(), armed_.end(),
                                 [&](const Armed& other) { return other.path == path; });
  if (armed || !disks.exists(path) || disks.crash_point_reached(path)) return;
  if (!beacon && node.server->held > 0) return;  // an administrator is at work there, not a server
  disks.fail_after(path, count);
  armed_.push_back({node.id, path, beacon, watches, std::move(fallen)});
  if (armed_.size() == 1) watch_armed();
}

void ClusterFaults::watch_armed() {
  auto& disks = cluster_.world.disks();
  auto watched = std::exchange(armed_, {});
  for (Armed& armed : watched) {
    const bool there = disks.exists(armed.path);
    if (there && disks.crash_point_reached(armed.path)) {
      disarm(armed);
      armed.fallen();
    } else if (there && --armed.watches > 0) {
      armed_.push_back(std::move(armed));
    } else {
      disarm(armed);
    }
  }
  if (armed_.empty()) return;
  cluster_.world.at(watch_interval, [weak = std::weak_ptr<char>(alive_), this] {
    if (weak.lock()) watch_armed();
  });
}

// Afterwards the disk works as ever.
void ClusterFaults::disarm(const Armed& armed) {
  auto& disks = cluster_.world.disks();
  if (!disks.exists(armed.path)) return;
  if (!disks.crash_point_reached(armed.path)) return disks.fail_after(armed.path, never);
  Cluster::Node& node = cluster_.node(armed.node);
  if (armed.beacon)
    cluster_.end_beacon(node, Death::power);
  else
    cluster_.end_server(node, Death::power);
  if (disks.crash_point_reached(armed.path)) disks.crash(armed.path);
}

void ClusterFaults::disarm_all() {
  for (const Armed& armed : std::exchange(armed_, {})) disarm(armed);
}

// A minority of voters is cut off for a while. When it comes back, the leader is cut off from then
// on, its last answers come late, and the others crash or not: whoever leads next may know of
// nothing, and still has to wait for what the old leader has handed out.
void ClusterFaults::swap_majorities(const Draws& draws) {
  Cluster::Node* const leader = cluster_.leader();
  const map::Map* const map = cluster_.newest_map();
  std::vector<Cluster::Node*> others;
  for (auto& node : cluster_.nodes) {
    const bool votes = map != nullptr && map->nodes.count(node.id) != 0 &&
                       map->nodes.at(node.id).voting && node.belongs;
    if (votes && &node != leader) others.push_back(&node);
  }
  if (leader == nullptr || others.size() < 2) return;
  for (size_t i = 0; i + 1 < others.size(); ++i)
    std::swap(others[i], others[i + draws->below(others.size() - i)]);
  const size_t outside = 1 + draws->below(others.size() / 2);
  std::vector<std::string> group;
  for (size_t i = 0; i < outside; ++i) group.push_back(others[i]->ip);
  cluster_.world.net().partition(group);
  const milliseconds away(700 + draws->below(800));
  // The answers to the last rounds that it sends before it is cut off come late.
  const milliseconds late(draws->below(3) == 0 ? 0 : 150 + draws->below(800));
  const milliseconds lasting(late.count() == 0 ? 0 : 20 + draws->below(130));
  at(away, [this, leader, late] {
    for (auto& node : cluster_.nodes)
      if (&node != leader && late.count() > 0) cluster_.world.net().clog(node.ip, leader->ip, late);
  });
  at(away + lasting,
     [this, draws, leader, others, outside] { swap_now(draws, *leader, others, outside); });
}

void ClusterFaults::at(io::Duration delay, std::function<void()> work) {
  auto box = std::make_shared<std::function<void()>>(std::move(work));
  cluster_.world.at(delay, [weak = std::weak_ptr<char>(alive_), box] {
    if (weak.lock()) (*box)();
  });
}

void ClusterFaults::swap_now(const Draws& draws, Cluster::Node& leader,
                             const std::vector<Cluster::Node*>& others, size_t outside) {
  auto& net = cluster_.world.net();
  for (size_t i = 0; i < outside; ++i) {
    for (auto& node : cluster_.nodes)
      if (&node != others[i]) cut_both(*others[i], node, &node != &leader);
  }
  for (auto& node : cluster_.nodes) {
    if (&node == &leader) continue;
    net.set_link(leader.ip, node.ip, false);
    if (net.flows(node.ip, leader.ip)) net.set_link(node.ip, leader.ip, false);
  }
  for (size_t i = outside; i < others.size(); ++i) {
    Cluster::Node& node = *others[i];
    const auto back = [this, draws, id = node.id] {
      after(draws, 10, [this, id] { cluster_.start_beacon(cluster_.node(id)); });
    };
    switch (draws->below(4)) {
      case 0: break;
      case 1:  // when it writes next, such as its vote
        arm(node, "/log" + std::to_string(node.id), true, 1 + draws->below(3), back);
        break;
      default:
        cluster_.end_beacon(node, draws->below(2) == 0 ? Death::power : Death::process);
        back();
    }
  }
  after(draws, draws->below(2) == 0 ? 1500 : 4000, [this] { cluster_.world.net().heal(); });
}

// Some links are slow, each in its own way.
void ClusterFaults::slow_links(const Draws& draws) {
  const bool one = draws->below(2) == 0;
  const Cluster::Node& only = any_node(draws);
  const uint64_t worst_us = draws->below(2) == 0 ? 3000 : 80000;
  for (const auto& a : cluster_.nodes) {
    for (const auto& b : cluster_.nodes) {
      if (&a == &b || draws->below(2) == 0 || (one && &a != &only && &b != &only)) continue;
      const std::chrono::microseconds base(draws->below(worst_us));
      const std::chrono::microseconds mean(draws->below(worst_us));
      cluster_.world.net().set_extra_delay(a.ip, b.ip, base, mean);
    }
  }
  after(draws, 6000, [this] {
    for (const auto& a : cluster_.nodes) {
      for (const auto& b : cluster_.nodes)
        if (&a != &b) cluster_.world.net().set_extra_delay(a.ip, b.ip, {}, {});
    }
  });
}

void ClusterFaults::end_late(const Draws& draws, io::SimHost& host, std::function<void()> end) {
  if (!host.alive() || draws->below(3) != 0) return end();
  host.hold_sends(milliseconds(100 + draws->below(2000)));
  at(milliseconds(1 + draws->below(600)), std::move(end));
}

void ClusterFaults::end_server(const Draws& draws, Cluster::Node& node, Death death) {
  if (draws->below(3) == 0) {
    Cluster::ClientProcess& client = cluster_.clients[draws->below(cluster_.clients.size())];
    if (client.up && cluster_.holder_of(client.volume) == &client) {
      cluster_.end_client(client, Death::process);
      after(draws, 2000, [this, id = client.node] { cluster_.start_node(cluster_.node(id)); });
    }
  }
  cluster_.end_server(node, death);
}

// Its kernel gives connections up, and what it had sent over them still arrives: behind what it
// sends again over new ones.
void ClusterFaults::delay_sends(const Draws& draws) {
  Cluster::Node& node = any_storage_node(draws);
  const VolumeId volume = cluster_.volumes[draws->below(cluster_.volumes.size())];
  Cluster::ClientProcess* const client = cluster_.holder_of(volume);
  const bool server = draws->below(3) == 0;
  if (!server && client == nullptr) return;
  io::SimHost& host = server ? *node.server->host : *client->host;
  if (!host.alive()) return;
  const uint64_t late_ms = 50 + draws->below(draws->below(2) == 0 ? 600 : 4000);
  host.hold_sends(milliseconds(late_ms));
  if (draws->below(4) != 0)
    at(milliseconds(1 + draws->below(late_ms / 2)), [&host] { host.give_connections_up(); });
}

}  // namespace sp::sim
