#include "faults.h"

#include <algorithm>

#include "base/client_id.h"
#include "store/check.h"

namespace sp::sim {

using Death = io::SimHost::Death;

Faults::Faults(DataCluster& cluster) : cluster_(cluster) {}
Faults::~Faults() = default;

void Faults::start() {
  running_ = true;
  const auto& disks = any_server().disks;
  spoiled_disk_ = disks[below(disks.size())];
  schedule();
}

void Faults::stop() { running_ = false; }

void Faults::after(int64_t ms_max, std::function<void()> work, int64_t ms_min) {
  auto box = std::make_shared<std::function<void()>>(std::move(work));
  const auto span_us = static_cast<uint64_t>(ms_max - ms_min) * 1000;
  const auto us = static_cast<uint64_t>(ms_min) * 1000 + below(span_us + 1);
  cluster_.world.at(std::chrono::microseconds(us), [weak = std::weak_ptr<char>(alive_), box] {
    if (weak.lock()) (*box)();
  });
}

void Faults::schedule() {
  after(900, [this] {
    if (!running_) return;
    one();
    schedule();
  });
}

void Faults::end_one_server() {
  ServerProcess& process = any_server();
  const Death deaths[] = {Death::process, Death::power, Death::silent};
  cluster_.end_server(process, deaths[below(3)]);
  const bool disturbed = below(3) == 0;
  after(below(4) == 0 ? 6000 : 600, [this, &process, disturbed] {
    cluster_.start_server(process);
    if (disturbed) after(100, [this, &process] { disturb_return(process); });
  });
}

// The primaries cannot reach the beacons while a copy comes back. When they ask for its promotion
// they lose their connections to it, or it starts once more.
void Faults::disturb_return(ServerProcess& returning) {
  for (const auto& other : cluster_.servers) {
    if (&other != &returning) cluster_.control.set_reachable(other.id, false);
  }
  const bool restarts = below(2) == 0;
  after(350, [this, &returning, restarts] {
    if (restarts) {
      cluster_.end_server(returning, Death::process);
      return cluster_.start_server(returning);
    }
    for (const auto& other : cluster_.servers) {
      if (&other != &returning) cluster_.world.net().reset_connections(other.ip, returning.ip);
    }
  });
  after(
      550,
      [this] {
        for (const auto& other : cluster_.servers) cluster_.control.set_reachable(other.id, true);
      },
      400);
}

// Or all but one, which is then below min_copies.
void Faults::end_all() {
  const ServerProcess* const spared = below(2) == 0 ? &any_server() : nullptr;
  for (auto& process : cluster_.servers) {
    if (&process == spared) continue;
    cluster_.end_server(process, Death::power);
    after(below(2) == 0 ? 50 : 2500, [this, &process] { cluster_.start_server(process); });
  }
}

void Faults::cut_off() {
  ServerProcess& process = any_server();
  switch (below(3)) {
    case 0: {
      cluster_.control.set_reachable(process.id, false);
      return after(3000, [this, &process] { cluster_.control.set_reachable(process.id, true); });
    }
    case 1: {
      const std::string from = process.ip, to = any_server().ip;
      if (from == to) return;
      cluster_.world.net().set_link(from, to, false);
      return after(3000, [this, from, to] { cluster_.world.net().set_link(from, to, true); });
    }
    default: {
      // From the other servers and the beacons, not from the clients: they go on talking to it.
      for (const auto& other : cluster_.servers) {
        if (other.ip == process.ip) continue;
        cluster_.world.net().set_link(process.ip, other.ip, false);
        cluster_.world.net().set_link(other.ip, process.ip, false);
      }
      cluster_.control.set_reachable(process.id, false);
      // At times a client with an old map stays on its side.
      const ServiceId believer =
          service_of_client(cluster_.clients[below(cluster_.clients.size())].id);
      if (below(2) == 0) cluster_.control.set_reachable(believer, false);
      // Or it dies, and nobody repeats what reached only this server.
      if (below(3) == 0) {
        after(600, [this] {
          for (auto& client : cluster_.clients) {
            cluster_.end_client(client, Death::silent);
            after(1500, [this, &client] { cluster_.start_client(client); });
          }
        });
      }
      return after(4000, [this, &process, believer] {
        cluster_.world.net().heal();
        cluster_.control.set_reachable(process.id, true);
        cluster_.control.set_reachable(believer, true);
      });
    }
  }
}

void Faults::spoil_block() {
  for (auto& process : cluster_.servers) {
    store::Store* const store = process.server ? process.server->store(spoiled_disk_) : nullptr;
    if (store == nullptr) continue;
    const auto place = std::find(process.disks.begin(), process.disks.end(), spoiled_disk_) -
                       process.disks.begin();
    const std::string& path = process.paths[static_cast<size_t>(place)];
    const ClientProcess& client = cluster_.clients[below(cluster_.clients.size())];
    const uint64_t block = below(cluster_.options.work.blocks) * cluster_.options.work.stride;
    const ObjectId object{client.volume_id,
                          static_cast<uint32_t>(block / limits::blocks_per_object)};
    const auto location =
        store::locate(*store, object, static_cast<uint16_t>(block % limits::blocks_per_object));
    if (!location) return;
    // Not in the blink before the block's round is proven: damage there, then a crash, cannot be
    // told from a torn write that was never acknowledged (sp-disk-format(5)).
    if (!location->proven) return;
    cluster_.world.disks().corrupt(path, location->device_offset + 512 * below(8), 512);
    if (spoiled_.empty()) spoiled_.push_back(path);
    return;
  }
}

void Faults::move_set() {
  const auto& sets = cluster_.control.map().sets;
  auto row = std::next(sets.begin(), static_cast<long>(below(sets.size())))->second;
  std::vector<DiskId> target = row.target;
  std::vector<DiskId> candidates;
  for (const auto& process : cluster_.servers) {
    const bool used = std::any_of(process.disks.begin(), process.disks.end(), [&](DiskId d) {
      return std::find(target.begin(), target.end(), d) != target.end();
    });
    if (!used) candidates.push_back(process.disks[below(process.disks.size())]);
  }
  if (!candidates.empty() && below(3) != 0)
    target[below(target.size())] = candidates[below(candidates.size())];
  else
    std::rotate(target.begin(), target.begin() + 1, target.end());
  cluster_.control.retarget(row.id, target);
}

// A primary is moved down in its set, and neither it nor a client hears of that for a while.
void Faults::hide_demotion() {
  const auto& sets = cluster_.control.map().sets;
  const auto row = std::next(sets.begin(), static_cast<long>(below(sets.size())))->second;
  const ServiceId primary = cluster_.control.map().disks.at(row.acting.front()).server;
  const ClientProcess& client =
      below(2) == 0 ? cluster_.clients.back() : cluster_.clients[below(cluster_.clients.size())];
  const ServiceId believer = service_of_client(client.id);
  cluster_.control.set_reachable(primary, false);
  cluster_.control.set_reachable(believer, false);
  std::vector<DiskId> target = row.target;
  std::rotate(target.begin(), target.begin() + 1, target.end());
  cluster_.control.retarget(row.id, target);
  after(900, [this, primary, believer] {
    cluster_.control.set_reachable(primary, true);
    cluster_.control.set_reachable(believer, true);
  });
}

// What a server has sent is held on the way while it stands still, and comes when others lead. At
// times the clients are gone by then, and nobody repeats what was under way.
void Faults::freeze_with_prepares() {
  ServerProcess& process = any_server();
  const std::string from = process.ip;
  for (const auto& other : cluster_.servers) {
    if (other.ip == from) continue;
    cluster_.world.net().set_link(from, other.ip, false);
    after(
        2000, [this, from, to = other.ip] { cluster_.world.net().set_link(from, to, true); }, 1100);
  }
  const bool alone = below(2) == 0;
  after(100, [this, &process, alone] {
    process.host->pause(std::chrono::milliseconds(1200 + below(1300)));
    for (auto& client : cluster_.clients) {
      if (!alone || !client.up) continue;
      cluster_.end_client(client, Death::process);
      after(2500, [this, &client] { cluster_.start_client(client); });
    }
  });
}

// A client's volume is attached anew while its writes wait for a slow copy.
void Faults::take_over_in_flight() {
  ClientProcess& process = cluster_.clients[below(cluster_.clients.size())];
  const ServerProcess& server = any_server();
  if (!process.up) return;
  cluster_.world.disks().stall(server.paths[below(server.paths.size())],
                               std::chrono::milliseconds(300 + below(700)));
  after(150, [this, &process] {
    cluster_.end_client(process, Death::process);
    after(100, [this, &process] { cluster_.start_client(process); });
  });
}

// The volume is attached elsewhere by force, and its client does not hear of it.
void Faults::steal_volume() {
  ClientProcess& process = cluster_.clients[below(cluster_.clients.size())];
  if (!process.up || process.reader) return;
  const ServiceId believer = service_of_client(process.id);
  cluster_.control.set_reachable(believer, false);
  constexpr ClientId elsewhere = 60;
  cluster_.control.attach(process.volume_id, elsewhere, map::Rights::read_write);
  watch_fence(process.session, cluster_.control.map().index);
  after(
      2000,
      [this, &process, believer] {
        cluster_.control.set_reachable(believer, true);
        for (auto& other : cluster_.clients) {
          if (other.volume_id != process.volume_id || other.reader) continue;
          cluster_.end_client(other, Death::process);
          cluster_.start_client(other);
        }
      },
      200);
}

void Faults::watch_fence(uint64_t session, uint64_t index) {
  if (cluster_.control.in_force(index))
    return cluster_.history.session_fenced(session, cluster_.history.next());
  after(10, [this, session, index] { watch_fence(session, index); });
}

void Faults::one() {
  auto& world = cluster_.world;
  switch (below(18)) {
    case 0:
    case 1:
    case 2: return end_one_server();
    case 3: return end_all();
    case 4:
    case 5: return cut_off();
    case 6: return any_server().host->pause(std::chrono::milliseconds(1 + below(2500)));
    case 7: return world.net().reset_connections(any_server().ip, any_server().ip);
    case 8: {
      ServerProcess& process = any_server();
      const std::string& path = process.paths[below(process.paths.size())];
      if (below(3) == 0)
        return world.disks().fail_next(
            path, below(2) == 0 ? io::SimDisks::Kind::write : io::SimDisks::Kind::flush);
      return world.disks().stall(path, std::chrono::milliseconds(1 + below(2500)));
    }
    case 9: return spoil_block();
    case 11: return hide_demotion();
    case 12: return freeze_with_prepares();
    case 13: return take_over_in_flight();
    case 14: return cut_off();
    case 15: return steal_volume();
    case 10: {
      if (below(3) == 0) return move_set();
      cluster_.control.set_quorum(false);
      return after(2500, [this] { cluster_.control.set_quorum(true); });
    }
    default: {
      ClientProcess& process = cluster_.clients[below(cluster_.clients.size())];
      if (!process.up) return;
      // The host dies, and the same volume is attached anew somewhere: here again, under another
      // generation.
      cluster_.end_client(process, below(2) == 0 ? Death::process : Death::silent);
      return after(1500, [this, &process] { cluster_.start_client(process); });
    }
  }
}

void Faults::heal() {
  running_ = false;
  alive_ = std::make_shared<char>();
  cluster_.world.net().heal();
  cluster_.control.set_quorum(true);
  for (auto& process : cluster_.servers) {
    cluster_.control.set_reachable(process.id, true);
    // A server that has given up a disk is started anew, as an administrator would after exchanging
    // a cable.
    if (process.server && process.server->disks().size() != process.disks.size())
      cluster_.end_server(process, Death::process);
    cluster_.start_server(process);
  }
  for (auto& process : cluster_.clients) {
    cluster_.control.set_reachable(service_of_client(process.id), true);
    cluster_.start_client(process);
  }
}

}  // namespace sp::sim
