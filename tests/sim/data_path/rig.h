// Rig: a quiet cluster for scenarios in which single failures are placed exactly.
#pragma once
#include <doctest/doctest.h>

#include <algorithm>

#include "cluster.h"
#include "disk/superblock.h"
#include "serve/context.h"
#include "store/check.h"

namespace sp::sim {

using std::chrono::milliseconds;
using std::chrono::seconds;
using Death = io::SimHost::Death;

inline ClusterOptions quiet(uint32_t servers = 3) {
  ClusterOptions options;
  options.servers = servers;
  options.sets = 1;
  options.clients = 1;
  options.work.depth = 0;
  options.control.unknown_outcome = 0;
  return options;
}

struct Rig : DataCluster {
  explicit Rig(ClusterOptions options) : DataCluster(7, std::move(options)) {
    REQUIRE(world.run_until([&] { return settled(); }, seconds(10)));
    REQUIRE(world.run_until([&] { return clients[0].volume->size_bytes() > 0; }, seconds(10)));
    REQUIRE(world.run_until([&] { return all_hold_leases(); }, seconds(10)));
  }
  bool all_hold_leases() const {
    return std::all_of(servers.begin(), servers.end(), [](const ServerProcess& process) {
      return process.member->lease_until() > process.host->host().clock.now();
    });
  }
  Status end_of(Status& status, bool& done) {
    REQUIRE(world.run_until([&] { return done; }, seconds(30)));
    return std::move(status);
  }
  Status write(uint64_t block, uint64_t stamp, size_t client = 0) {
    Buffer data = Buffer::allocate(limits::block_bytes);
    encode_stamp(data.mutable_bytes(), {clients[client].volume_id, block}, stamp);
    Status outcome;
    bool done = false;
    clients[client].volume->write(block * limits::block_bytes, data.bytes(),
                                  [&](Status status) { outcome = std::move(status), done = true; });
    return end_of(outcome, done);
  }
  Status read_into(Buffer& data, uint64_t block, size_t client) {
    data = Buffer::allocate(limits::block_bytes);
    Status outcome;
    bool done = false;
    clients[client].volume->read(block * limits::block_bytes, data.mutable_bytes(),
                                 [&](Status status) { outcome = std::move(status), done = true; });
    return end_of(outcome, done);
  }
  Result<uint64_t> read(uint64_t block, size_t client = 0) {
    Buffer data;
    const Status status = read_into(data, block, client);
    if (!status.ok()) return Error(status.error());
    const auto stamp = decode_stamp(data.bytes(), {clients[client].volume_id, block});
    if (!stamp) return Error(Code::damaged, "not what anybody wrote");
    return *stamp;
  }
  // What is there: 0 when nothing was written.
  uint64_t content(uint64_t block) {
    const auto stamp = read(block);
    REQUIRE_EQ(stamp.ok() ? "" : stamp.error().message(), "");
    return *stamp;
  }
  void heal() {
    for (auto& process : servers) start_server(process);
    REQUIRE(world.run_until([&] { return settled(); }, seconds(30)));
  }
  void same_copies() {
    world.run_for(milliseconds(100));
    CHECK_EQ(compare_copies(), "");
  }
  uint64_t sum(uint64_t serve::Counters::*counter) {
    uint64_t total = 0;
    for (auto& process : servers) total += process.server ? process.server->counters().*counter : 0;
    return total;
  }
  uint64_t device_offset(size_t server, uint64_t block) {
    store::Store* const store = servers[server].server->store(servers[server].disks[0]);
    const auto place =
        store::locate(*store, {clients[0].volume_id, 0}, static_cast<uint16_t>(block));
    REQUIRE(place.has_value());
    return place->device_offset;
  }
  void corrupt(size_t server, uint64_t block) {
    world.disks().corrupt(servers[server].paths[0], device_offset(server, block), 512);
  }
  void make_unreadable(size_t server, uint64_t block) {  // one sector of it
    const uint64_t at = device_offset(server, block) + 1024;
    world.disks().make_unreadable(servers[server].paths[0], at, 512);
  }
};

}  // namespace sp::sim
