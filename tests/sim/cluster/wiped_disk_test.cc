// A disk that is wiped and formatted anew under its old id, or another one that carries its id, at
// the worst moments.
#include <doctest/doctest.h>

#include <string>

#include "disk/superblock.h"
#include "stage.h"

namespace sp::sim {
namespace {

using namespace std::chrono_literals;
using Death = io::SimHost::Death;

ClusterSetup setup_of(uint8_t min_copies) {
  ClusterSetup setup = one_volume();
  setup.min_copies = min_copies;
  return setup;
}

// What sp-disk-init does to a disk that lies on the table.
void format(Cluster& cluster, const std::string& path, DiskId id) {
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

void wipe(Cluster& cluster, const std::string& path, DiskId id) {  // the server must be down
  cluster.world.disks().wipe(path);
  format(cluster, path, id);
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

// Everything is well again, and nobody has lost or forgotten anything.
void check_at_rest(Cluster& cluster) {
  CHECK_MESSAGE(settles(cluster), cluster.unsettled());
  run(cluster, 2s);
  CHECK_EQ(cluster.history.check().value_or(""), "");
  for (auto& client : cluster.clients) cluster.end_client(client, Death::process);
  run(cluster, 2s);  // what they had on its way comes to rest
  CHECK_EQ(cluster.compare_copies(), "");
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
    check_at_rest(cluster);
  }
}

// The map says for a while that the right one is there, as the beacon beside it is down: an empty
// one was filled in its place, and the right one, when it came back, was taken for complete.
TEST_CASE("an empty disk that stands in for one which the map knows is not filled in its place") {
  for (uint64_t seed = 1; seed <= 3; ++seed) {
    CAPTURE(seed);
    Cluster cluster(seed, setup_of(2));
    REQUIRE_EQ(cluster.start(), "");
    run(cluster, 1s);
    REQUIRE(cluster.world.disks().add("/table", cluster.setup.disk_bytes).ok());
    format(cluster, "/table", 3);
    auto& node = cluster.nodes[2];
    const auto exchange = [&] {
      cluster.end_server(node, Death::power);
      REQUIRE(cluster.world.disks().swap("/disk3", "/table").ok());
    };
    cluster.end_beacon(node, Death::power);
    exchange();
    cluster.start_server(node);
    run(cluster, 600ms);  // the node is not declared down yet
    for (auto& other : cluster.nodes) cluster.end_server(other, Death::power);
    exchange();
    for (auto& other : cluster.nodes) cluster.start_node(other);
    check_at_rest(cluster);
  }
}

TEST_CASE("of two disks with one id in two servers only the one that the map means is a copy") {
  for (uint64_t seed = 1; seed <= 3; ++seed) {
    CAPTURE(seed);
    Cluster cluster(seed, setup_of(2));
    REQUIRE_EQ(cluster.start(), "");
    run(cluster, 1s);
    REQUIRE(cluster.world.disks().add("/double", cluster.setup.disk_bytes).ok());
    format(cluster, "/double", 3);
    auto& node = cluster.nodes[0];
    cluster.end_server(node, Death::power);
    node.server->paths.push_back("/double");
    cluster.start_server(node);
    const uint64_t before = cluster.operations();
    run(cluster, 3s);
    CHECK_GT(cluster.operations(), before);
    cluster.end_server(node, Death::power);
    node.server->paths.pop_back();
    cluster.start_server(node);
    check_at_rest(cluster);
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
