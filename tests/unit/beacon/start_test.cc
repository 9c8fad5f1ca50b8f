// What a beacon starts from: options that cannot be, databases that are not to be believed,
// snapshots that are older than the log.
#include "cluster.h"

#include <cstdio>

#include "state/state.h"

using namespace sp;
using namespace sp::test;
using Death = io::SimHost::Death;

namespace {

void make_buckets(Cluster& cluster, Cluster::Service& mgmt, const std::string& name, int count) {
  for (int i = 0; i < count; ++i)
    REQUIRE(cluster.command(mgmt, map::CreateBucket{name + std::to_string(i)}).ok());
}

Cluster::Service& add_mgmt(Cluster& cluster, NodeId node) {
  auto& mgmt = cluster.add_service(ServiceKind::mgmt, node);
  REQUIRE(cluster.run_until([&] { return mgmt.member->map().index != 0; }, 5s));
  return mgmt;
}

}  // namespace

TEST_CASE("a beacon whose log is too small or not in pages is refused with the reason") {
  Cluster cluster(1);
  const auto refused = [&](auto change, const std::string& part) {
    auto options = cluster.options_of(1, true);
    change(options);
    auto made = beacon::Beacon::start(cluster.nodes.at(1)->host->host(), std::move(options),
                                      [](const Error&) {});
    REQUIRE_FALSE(made.ok());
    CHECK(made.error().code() == Code::invalid);
    CHECK_MESSAGE(made.error().message().find(part) != std::string::npos, made.error().message());
  };
  refused([](beacon::Options& o) { o.log_frames_bytes = (8u << 20) - 4096; }, "at least 8388608");
  refused([](beacon::Options& o) { o.log_frames_bytes = (8u << 20) + 1; }, "pages of 4096");
  refused([](beacon::Options& o) { o.snapshot_bytes = 0; }, "snapshots of the state");
  refused([](beacon::Options& o) { o.snapshot_bytes = 5000; }, "snapshots of the state");
  refused([](beacon::Options& o) { o.log_entries_kept = 0; }, "at least one");
}

TEST_CASE("a sound database that says what was never agreed is not believed") {
  const std::string path = "start_test_state.db";
  // As of an index that the log has, with other content.
  {
    auto state = std::move(state::State::create_empty(path)).value();
    state->apply(1, map::InitCluster{Cluster::cluster_id, "test"});
    for (uint64_t i = 2; i <= 12; ++i)
      state->apply(i, map::CreateBucket{"never agreed " + std::to_string(i)});
  }
  Cluster cluster(3, 7);
  cluster.form();
  auto& mgmt = add_mgmt(cluster, 1);
  make_buckets(cluster, mgmt, "b", 40);
  REQUIRE(cluster.run_until([&] { return cluster.level(); }, 5s));
  cluster.kill(3, Death::power);
  cluster.databases[3] = path;
  cluster.restart(3);
  REQUIRE(cluster.run_until(
      [&] { return cluster.nodes.at(3)->beacon->map() && cluster.view(3).applied_index > 0; }, 5s));
  REQUIRE(cluster.run_until([&] { return cluster.level(); }, 10s));
  cluster.check_hashes();
  CHECK(cluster.map(3).buckets.size() == 40);
  // And what people read is what was agreed.
  cluster.kill(3, Death::process);
  const auto shown = state::State::open(path);
  REQUIRE(shown.ok());
  CHECK((*shown)->map().buckets.size() == 40);
  for (const char* suffix : {"", "-wal", "-shm"}) std::remove((path + suffix).c_str());
}

TEST_CASE("after taking over a snapshot a beacon does not start from its own older one") {
  for (uint64_t seed = 200; seed < 204; ++seed) {
    CAPTURE(seed);
    Cluster cluster(3, seed);
    cluster.entries_kept = 10;
    cluster.form();
    auto& mgmt = add_mgmt(cluster, 1);
    make_buckets(cluster, mgmt, "early", 40);
    REQUIRE(cluster.run_until([&] { return cluster.level(); }, 5s));
    cluster.world.run_for(1s);  // each has a snapshot of its own
    cluster.kill(3, Death::power);
    REQUIRE(cluster.run_until([&] { return cluster.leader() != 0; }, 10s));
    make_buckets(cluster, mgmt, "late", 60);
    cluster.world.run_for(1s);
    cluster.restart(3);
    REQUIRE(cluster.run_until([&] { return cluster.nodes.at(3)->beacon->map() && cluster.level(); },
                              10s));
    cluster.kill(3, Death::power);
    cluster.restart(3);
    REQUIRE(cluster.run_until([&] { return cluster.nodes.at(3)->beacon->map() && cluster.level(); },
                              10s));
    cluster.check_hashes();
    CHECK(cluster.map(3).buckets.size() == 100);
  }
}
