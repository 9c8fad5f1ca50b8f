// A beacon whose database, the view of its state for people, is not there or says something else.
#include "cluster.h"

#include <filesystem>

#include "state/state.h"

using namespace sp;
using namespace sp::test;
using Death = io::SimHost::Death;

namespace {

void comes_back(Cluster& cluster, NodeId id) {
  cluster.restart(id);
  REQUIRE(cluster.run_until([&] { return cluster.formed() && cluster.level(); }, 30s));
  CHECK(cluster.nodes.at(id)->failure.empty());
  cluster.check_hashes();
}

}  // namespace

TEST_CASE("a beacon whose database cannot be made says so and works without") {
  int warnings = 0;
  io::SimOptions options;
  options.log_least = LogLevel::warning;
  options.log_sink = [&warnings](LogLevel, std::string_view line) {
    warnings += line.find("cannot be made") != line.npos;
  };
  Cluster cluster(3, 5, options);
  cluster.databases[1] = "/nonexistent/folder/state.db";
  cluster.databases[2] = ".";  // a folder
  cluster.form();
  CHECK(warnings == 2);
  auto& mgmt = cluster.add_service(ServiceKind::mgmt, 1);
  REQUIRE(cluster.run_until([&] { return mgmt.member->map().index != 0; }, 5s));
  for (int i = 0; i < 20; ++i)
    REQUIRE(cluster.command(mgmt, map::CreateBucket{"b" + std::to_string(i)}).ok());
  cluster.kill(1, Death::power);
  comes_back(cluster, 1);
  CHECK(cluster.run_until([&] { return cluster.map(1).buckets.size() == 20; }, 5s));
  CHECK(warnings == 3);
}

TEST_CASE("a beacon that lost its log comes back though a foreign database knows no other voter") {
  const std::string path = "view_test_state.db";
  Cluster cluster(3, 8);
  cluster.form();
  cluster.kill(3, Death::power);
  {
    auto state = std::move(state::State::create_empty(path)).value();
    state->apply(900, map::InitCluster{Cluster::cluster_id + 1, "another"});
  }
  cluster.databases[3] = path;
  cluster.world.disks().wipe("log3");
  comes_back(cluster, 3);
  for (const char* suffix : {"", "-wal", "-shm"}) std::filesystem::remove(path + suffix);
}

TEST_CASE(
    "a lone beacon that lost its log is not begun anew while its database knows the cluster") {
  const std::string path = "view_test_lone.db";
  Cluster cluster(1, 8);
  cluster.databases[1] = path;
  cluster.form();
  cluster.kill(1, Death::power);
  cluster.world.disks().wipe("log1");
  cluster.restart(1);
  REQUIRE(cluster.run_until([&] { return !cluster.nodes.at(1)->failure.empty(); }, 5s));
  CHECK(cluster.nodes.at(1)->failure.find("remove " + path) != std::string::npos);
  for (const char* suffix : {"", "-wal", "-shm"}) std::filesystem::remove(path + suffix);
}
