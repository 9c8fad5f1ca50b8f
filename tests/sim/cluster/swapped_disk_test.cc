// A disk that goes from one server to another.
#include <doctest/doctest.h>

#include <string>
#include <utility>

#include "sim/cluster.h"

namespace sp::sim {
namespace {

using namespace std::chrono_literals;
using Death = io::SimHost::Death;

TEST_CASE("a registration that comes late, of a process that is gone, takes no disk for good") {
  ClusterSetup setup;
  setup.volumes = 1;
  for (uint64_t seed = 1; seed <= 4; ++seed) {
    CAPTURE(seed);
    Cluster cluster(seed, setup);
    REQUIRE_EQ(cluster.start(), "");
    auto* const leader = cluster.leader();
    REQUIRE_NE(leader, nullptr);
    // Two others swap a disk. What the first of them says of it comes when all is over.
    auto& a = cluster.nodes[leader->id == 1 ? 1 : 0];
    auto& b = cluster.nodes[leader->id == 3 ? 1 : 2];
    cluster.end_server(a, Death::process);
    cluster.world.run_for(200ms);
    cluster.start_server(a);
    const ServiceId id{ServiceKind::server, a.id, 1};
    REQUIRE(
        cluster.world.run_until([&] { return a.beacon.beacon->map()->services.at(id).up; }, 1s));
    REQUIRE(a.server->server->disks().empty());
    cluster.world.net().partition({a.ip});
    cluster.world.run_for(100ms);
    cluster.end_server(a, Death::power);
    cluster.end_server(b, Death::power);
    REQUIRE(cluster.world.disks().swap(a.server->paths[0], b.server->paths[0]).ok());
    std::swap(a.server->disks[0], b.server->disks[0]);
    cluster.start_server(a);
    cluster.start_server(b);
    cluster.world.run_for(300ms);
    cluster.world.net().heal();
    const auto settled = [&] {
      cluster.tend();
      return cluster.unsettled().empty();
    };
    CHECK(cluster.world.run_until(settled, 20s));
    CHECK_EQ(cluster.unsettled(), "");
  }
}

}  // namespace
}  // namespace sp::sim
