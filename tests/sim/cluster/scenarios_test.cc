// Named scenarios of whole clusters, with the gaps that clients see, in virtual time.
#include <doctest/doctest.h>

#include <string>

#include "prober.h"
#include "sim/cluster.h"

namespace sp::sim {
namespace {

using namespace std::chrono_literals;
using Death = io::SimHost::Death;

constexpr uint32_t places = 8;

// Three storage nodes, one volume, and instead of stamped work a prober that looks at every set all
// the time.
struct Rig {
  explicit Rig(uint64_t seed, uint32_t volumes = 1) : cluster(seed, setup(volumes)) {
    REQUIRE_EQ(cluster.start(), "");
    process = cluster.holder_of(cluster.volumes[0]);
    prober = std::make_unique<Prober>(cluster.world, *process->host, process->attached->volume(),
                                      places);
    watch(500ms);
    REQUIRE_GT(prober->least_count(), 10u);
    prober->reset_gap();
  }
  static ClusterSetup setup(uint32_t volumes) {
    ClusterSetup setup;
    setup.volumes = volumes;
    setup.volume_bytes = places * limits::object_bytes;
    setup.work.think_mean = 50ms;
    return setup;
  }
  // Runs the world and looks at everything that must always hold.
  void watch(io::Duration time) {
    for (const auto until = cluster.world.now() + time; cluster.world.now() < until;) {
      cluster.world.run_for(1ms);
      REQUIRE_EQ(cluster.check_now(), "");
    }
  }
  bool watch_until(const std::function<bool()>& reached, io::Duration limit) {
    for (const auto until = cluster.world.now() + limit; cluster.world.now() < until;) {
      if (reached()) return true;
      watch(1ms);
    }
    return reached();
  }
  // Until every place was asked twice again.
  void recovers_within(io::Duration limit) {
    prober->reset_count();
    CHECK(watch_until([&] { return prober->least_count() >= 3; }, limit + 1s));
    CHECK_LT(prober->gap().count(), limit.count());
    CHECK_FALSE(prober->failed());
  }
  bool settled() { return cluster.unsettled().empty(); }
  Cluster::Node& other_than_leader() {
    for (auto& node : cluster.nodes) {
      if (node.server && &node != cluster.leader()) return node;
    }
    return cluster.nodes[0];
  }

  Cluster cluster;
  Cluster::ClientProcess* process = nullptr;
  std::unique_ptr<Prober> prober;
};

TEST_CASE("a server process is killed: nobody waits for half a second, and all copies come back") {
  for (uint64_t seed = 1; seed <= 3; ++seed) {
    CAPTURE(seed);
    Rig rig(seed);
    auto& node = rig.cluster.nodes[seed - 1];
    rig.cluster.end_server(node, Death::process);
    rig.recovers_within(500ms);
    rig.cluster.start_server(node);
    CHECK_MESSAGE(rig.watch_until([&] { return rig.settled(); }, 10s), rig.cluster.unsettled());
    CHECK_LT(rig.prober->gap().count(), io::Duration(500ms).count());
  }
}

TEST_CASE("a node falls silent: nobody waits for two seconds") {
  for (uint64_t seed = 11; seed <= 13; ++seed) {
    CAPTURE(seed);
    Rig rig(seed);
    rig.cluster.end_node(rig.other_than_leader(), Death::silent);
    rig.recovers_within(2s);
  }
}

TEST_CASE("the node that leads falls silent: nobody waits for two seconds") {
  for (uint64_t seed = 21; seed <= 24; ++seed) {
    CAPTURE(seed);
    Rig rig(seed);
    REQUIRE(rig.cluster.leader() != nullptr);
    rig.cluster.end_node(*rig.cluster.leader(), Death::silent);
    rig.recovers_within(2s);
  }
}

TEST_CASE(
    "the leading beacon alone is killed: servers go on under the next one, and nobody waits for "
    "two seconds") {
  Rig rig(31);
  rig.cluster.end_beacon(*rig.cluster.leader(), Death::process);
  rig.recovers_within(2s);
}

TEST_CASE(
    "power is lost everywhere: what was acknowledged is there, and the cluster comes back by "
    "itself") {
  for (uint64_t seed = 41; seed <= 44; ++seed) {
    CAPTURE(seed);
    Rig rig(seed, 2);
    rig.watch(1s);
    rig.prober.reset();
    for (auto& node : rig.cluster.nodes) rig.cluster.end_node(node, Death::power);
    rig.cluster.world.run_for(2s);
    for (auto& node : rig.cluster.nodes) rig.cluster.start_node(node);
    const bool settled = rig.watch_until(
        [&] {
          rig.cluster.tend();
          return rig.settled();
        },
        20s);
    CHECK_MESSAGE(settled, rig.cluster.unsettled());
    rig.watch(1s);
    CHECK_EQ(rig.cluster.history.check().value_or(""), "");
  }
}

TEST_CASE("a minority that is cut off stops serving, and the others go on") {
  for (uint64_t seed = 51; seed <= 53; ++seed) {
    CAPTURE(seed);
    Rig rig(seed);
    auto& node = seed == 51 ? *rig.cluster.leader() : rig.other_than_leader();
    rig.cluster.world.net().partition({node.ip});
    rig.recovers_within(2s);
    size_t served = 0;
    node.server->server->each_served([&](SetId) { ++served; });
    CHECK_EQ(served, 0);
    rig.cluster.world.net().heal();
    CHECK_MESSAGE(rig.watch_until([&] { return rig.settled(); }, 20s), rig.cluster.unsettled());
  }
}

TEST_CASE("without quorum nothing is read and nothing written, and with it everything goes on") {
  Rig rig(61);
  rig.cluster.end_beacon(rig.cluster.nodes[0], Death::power);
  rig.cluster.end_beacon(rig.cluster.nodes[1], Death::power);
  rig.watch(3s);
  rig.prober->reset_count();
  rig.watch(2s);
  CHECK_EQ(rig.prober->least_count(), 0);
  CHECK_FALSE(rig.prober->failed());
  rig.cluster.start_beacon(rig.cluster.nodes[0]);
  CHECK(rig.watch_until([&] { return rig.prober->least_count() >= 3; }, 10s));
}

TEST_CASE(
    "a volume is attached elsewhere by force while its client is cut off from the cluster's "
    "decisions: it is fenced") {
  for (uint64_t seed = 71; seed <= 74; ++seed) {
    CAPTURE(seed);
    Rig rig(seed);
    // The client's own beacon stands still, so the client hears nothing; its connections to the
    // servers are well.
    rig.cluster.node(rig.process->node).beacon.host->pause(20s);
    Cluster::ClientProcess& to = rig.cluster.clients[2];
    REQUIRE_NE(to.node, rig.process->node);
    rig.cluster.move_volume(rig.cluster.volumes[0], to);
    REQUIRE(rig.watch_until([&] { return to.work != nullptr; }, 5s));
    // Not a single operation of the old client succeeds from here on.
    const uint64_t before = rig.process->work->completed();
    rig.watch(3s);
    CHECK_EQ(rig.process->work->completed(), before);
    CHECK_GT(to.work->completed(), 0u);
    CHECK_EQ(rig.cluster.history.check().value_or(""), "");
    CHECK(rig.watch_until([&] { return rig.process->fenced; }, 30s));
  }
}

}  // namespace
}  // namespace sp::sim
