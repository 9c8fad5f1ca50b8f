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

void Faults::after(int64_t ms_max, std::function<void()> work) {
  auto box = std::make_shared<std::function<void()>>(std::move(work));
  cluster_.world.at(std::chrono::microseconds(1000 + below(static_cast<uint64_t>(ms_max) * 1000)),
                    [weak = std::weak_ptr<char>(alive_), box] {
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
  after(below(4) == 0 ? 6000 : 600, [this, &process] { cluster_.start_server(process); });
}

void Faults::end_all() {
  for (auto& process : cluster_.servers) {
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

void Faults::one() {
  auto& world = cluster_.world;
  switch (below(12)) {
    case 0:
    case 1:
    case 2: return end_one_server();
    case 3: return below(2) == 0 ? end_all() : end_one_server();
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
