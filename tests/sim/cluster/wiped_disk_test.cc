// A disk that is wiped and formatted anew under its old id, at the worst moments.
#include <doctest/doctest.h>

#include <string>

#include "disk/superblock.h"
#include "sim/cluster.h"

namespace sp::sim {
namespace {

using namespace std::chrono_literals;
using Death = io::SimHost::Death;

ClusterSetup setup_of(uint8_t min_copies) {
  ClusterSetup setup;
  setup.volumes = 1;
  setup.min_copies = min_copies;
  setup.work.think_mean = 20ms;
  return setup;
}

void run(Cluster& cluster, io::Duration time) {
  for (const auto until = cluster.world.now() + time; cluster.world.now() < until;) {
    cluster.world.run_for(1ms);
    REQUIRE_EQ(cluster.check_now(), "");
  }
}

// What sp-disk-init does to a disk that lies on the table; the server must be down.
void wipe(Cluster& cluster, const std::string& path, DiskId id) {
  cluster.world.disks().wipe(path);
  io::SimHost& rack = cluster.world.add_host("rack", "10.0.9.8");
  auto disk = rack.host().disks.open(path, {});
  REQUIRE(disk.ok());
  disk::FormatOptions format;
  format.cluster = 0xc1d2;
  format.disk = id;
  format.write_in_full = false;
  bool done = false;
  disk::format(rack.host(), **disk, format, [&done](Result<disk::Superblock> superblock) {
    REQUIRE(superblock.ok());
    done = true;
  });
  REQUIRE(cluster.world.run_until([&] { return done; }, 60s));
}

size_t served(Cluster& cluster) {
  size_t count = 0;
  for (auto& node : cluster.nodes) {
    if (node.server && node.server->server)
      node.server->server->each_served([&](SetId) { ++count; });
  }
  return count;
}

bool settles(Cluster& cluster) {
  for (const auto until = cluster.world.now() + 30s; cluster.world.now() < until;) {
    cluster.tend();
    run(cluster, 10ms);
    if (cluster.unsettled().empty()) return true;
  }
  return false;
}

TEST_CASE("a disk that was wiped while its peers were down is neither served nor believed") {
  for (uint64_t seed = 1; seed <= 3; ++seed) {
    CAPTURE(seed);
    Cluster cluster(seed, setup_of(2));
    REQUIRE_EQ(cluster.start(), "");
    run(cluster, 2s);
    for (auto& node : cluster.nodes) {
      if (node.server) cluster.end_server(node, Death::power);
    }
    run(cluster, 1s);
    wipe(cluster, "/disk1", 1);
    cluster.start_server(cluster.nodes[0]);
    for (int i = 0; i < 30; ++i) {
      run(cluster, 100ms);
      CHECK_EQ(served(cluster), 0);
    }
    for (const auto& [id, set] : cluster.newest_map()->sets)
      CHECK(std::find(set.base.begin(), set.base.end(), 1) == set.base.end());
    cluster.start_server(cluster.nodes[1]);
    cluster.start_server(cluster.nodes[2]);
    CHECK_MESSAGE(settles(cluster), cluster.unsettled());
    run(cluster, 2s);
    CHECK_EQ(cluster.history.check().value_or(""), "");
    for (uint32_t i = 0; i < cluster.clients.size(); ++i)
      cluster.end_client(cluster.clients[i], Death::process);
    run(cluster, 2s);  // what they had on its way comes to rest
    CHECK_EQ(cluster.compare_copies(), "");
  }
}

TEST_CASE(
    "a wiped disk that held the only complete copies is named as lost, and nothing is served") {
  Cluster cluster(11, setup_of(1));
  REQUIRE_EQ(cluster.start(), "");
  run(cluster, 1s);
  cluster.end_server(cluster.nodes[1], Death::power);
  cluster.end_server(cluster.nodes[2], Death::power);
  const uint64_t before = cluster.operations();
  run(cluster, 3s);
  REQUIRE_GT(cluster.operations(), before);  // on one copy
  cluster.end_server(cluster.nodes[0], Death::power);
  run(cluster, 1s);
  wipe(cluster, "/disk1", 1);
  for (auto& node : cluster.nodes) cluster.start_server(node);
  run(cluster, 5s);
  const map::Disk& lost = cluster.newest_map()->disks.at(1);
  CHECK_FALSE(lost.up);
  CHECK_MESSAGE(lost.failure.find("lost: it held the only complete copy") == 0, lost.failure);
  CHECK_EQ(served(cluster), 0);
  CHECK_EQ(cluster.history.check().value_or(""), "");
}

}  // namespace
}  // namespace sp::sim
