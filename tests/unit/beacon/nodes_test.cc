// Nodes that join and leave a cluster of beacons, and versions beside each other.
#include "cluster.h"

using namespace sp;
using namespace sp::test;

namespace {

constexpr Versions older{1, 1, 1, 0};

struct Nodes : Cluster {
  explicit Nodes(uint32_t count) : Cluster(count) {
    form();
    mgmt = &add_service(ServiceKind::mgmt, 1);
  }
  std::string refusal(const map::Command& what) {
    const auto result = command(*mgmt, what);
    return result.ok() ? "" : result.error().message();
  }
  uint32_t voters() { return leader() == 0 ? 0 : view(leader()).voters; }
  Service* mgmt = nullptr;
};

}  // namespace

TEST_CASE("a node that is added joins without a change on the others, and votes") {
  Nodes cluster(3);
  const auto rows = cluster.rows;
  const map::Node fourth{4, "node4", "", true, false, "10.0.0.4:4100"};
  cluster.rows.push_back(fourth);
  cluster.add_node(4);
  cluster.start(4);
  cluster.world.run_for(3s);
  CHECK_EQ(cluster.map(1).nodes.size(), 3);
  CHECK_EQ(cluster.refusal(map::AddNode{fourth}), "");
  CHECK(cluster.run_until([&] { return cluster.voters() == 4 && cluster.view(4).voter; }, 10s));
}

TEST_CASE("a leader that is removed hands over, leaves the voters, finds out, and stays out") {
  Nodes cluster(3);
  REQUIRE_EQ(cluster.map(1).cluster.feature_level, 3);
  // Management is on node 1.
  if (cluster.leader() == 1) {
    CHECK_EQ(cluster.refusal(map::SetNodeVoting{1, false}), "");
    REQUIRE(cluster.run_until([&] { return cluster.leader() > 1 && cluster.voters() == 2; }, 10s));
    CHECK_EQ(cluster.refusal(map::SetNodeVoting{1, true}), "");
    REQUIRE(cluster.run_until([&] { return cluster.voters() == 3; }, 10s));
  }
  const NodeId leaves = cluster.leader();
  CHECK_EQ(cluster.refusal(map::RemoveNode{leaves}), "");
  auto& node = *cluster.nodes.at(leaves);
  CHECK(cluster.run_until([&] { return !node.failure.empty(); }, 10s));
  CHECK(node.failure.find("was removed from the cluster") != std::string::npos);
  CHECK(
      cluster.run_until([&] { return cluster.leader() != leaves && cluster.voters() == 2; }, 10s));
  // It comes again, and the leader's sp.toml still lists it.
  cluster.kill(leaves);
  node.failure.clear();
  cluster.restart(leaves);
  CHECK(cluster.run_until([&] { return !node.failure.empty(); }, 20s));
  CHECK_EQ(cluster.map(cluster.leader()).nodes.size(), 2);
  // With its old log it is taken in again.
  map::Node row = cluster.rows[leaves - 1u];
  CHECK_EQ(cluster.refusal(map::AddNode{row}), "");
  cluster.kill(leaves);
  cluster.restart(leaves);
  CHECK(cluster.run_until([&] { return cluster.voters() == 3; }, 20s));
}

TEST_CASE("a voter does not leave when too few of the others answer") {
  Nodes cluster(4);
  const NodeId leader = cluster.leader();
  NodeId dead = 0, leaves = 0;
  for (NodeId id = 2; id <= 4; ++id) {
    if (id == leader) continue;
    (dead == 0 ? dead : leaves) = id;
  }
  cluster.kill(dead);
  REQUIRE(cluster.run_until([&] { return !cluster.map(1).nodes.at(dead).up; }, 10s));
  // Of the three others two answer: enough.
  CHECK_EQ(cluster.refusal(map::SetNodeVoting{leaves, false}), "");
  REQUIRE(cluster.run_until([&] { return cluster.voters() == 3; }, 10s));
  // Of the two others only one.
  const std::string why = cluster.refusal(map::SetNodeVoting{cluster.leader(), false});
  CHECK_MESSAGE(why.find("no quorum: of the 2 others that vote only 1 answer") != std::string::npos,
                why);
  // The dead one may go.
  CHECK_EQ(cluster.refusal(map::RemoveNode{dead}), "");
  CHECK(cluster.run_until([&] { return cluster.voters() == 2; }, 10s));
}

TEST_CASE("the feature level waits for the last older node, which then knows it") {
  Cluster cluster(3);
  for (NodeId id = 1; id <= 3; ++id) cluster.versions[id] = older;
  cluster.start_all();
  REQUIRE(cluster.run_until([&] { return cluster.formed() && cluster.leader() != 0; }, 30s));
  auto& mgmt = cluster.add_service(ServiceKind::mgmt, 1);
  const auto level = [&] { return cluster.map(1).cluster.feature_level; };
  CHECK_EQ(level(), 1);
  for (NodeId id = 1; id <= 3; ++id) {
    std::string why;
    for (int i = 0; i < 20 && why.find("levels up to 1 only") == std::string::npos; ++i) {
      const auto raised = cluster.command(mgmt, map::RaiseFeatureLevel{2});
      REQUIRE_FALSE(raised.ok());
      why = raised.error().message();
      cluster.world.run_for(200ms);
    }
    CHECK_MESSAGE(why.find("levels up to 1 only") != std::string::npos, why);
    const auto early = cluster.command(mgmt, map::SetNodeVoting{1, false});
    CHECK_FALSE(early.ok());
    cluster.versions[id] = {};
    cluster.kill(id);
    cluster.restart(id);
    REQUIRE(cluster.run_until(
        [&] { return cluster.formed() && cluster.leader() != 0 && mgmt.leased(); }, 30s));
  }
  REQUIRE(cluster.run_until([&] { return cluster.command(mgmt, map::RaiseFeatureLevel{2}).ok(); },
                            20s));
  CHECK(cluster.run_until([&] { return level() == 2; }, 5s));
  // Back to the older version: it says why not.
  cluster.versions[3] = older;
  cluster.kill(3);
  cluster.restart(3);
  CHECK(cluster.run_until([&] { return !cluster.nodes.at(3)->failure.empty(); }, 20s));
  CHECK(cluster.nodes.at(3)->failure.find("upgrade this node") != std::string::npos);
}

TEST_CASE("a service that does not know the cluster's feature level is not taken") {
  Nodes cluster(1);
  cluster.service_versions = older;
  auto& server = cluster.add_service(ServiceKind::server, 1);
  CHECK_FALSE(cluster.run_until([&] { return server.leased(); }, 5s));
  CHECK_FALSE(cluster.up_at(1, server.id));
  cluster.service_versions = {};
  cluster.kill_service(server);
  server.host->restart();
  cluster.start_service(server);
  CHECK(cluster.run_until([&] { return server.leased(); }, 5s));
}

TEST_CASE("a node that knows the leader by the agreed map alone finds it again after a restart") {
  Nodes cluster(3);
  const map::Node fourth{4, "node4", "", true, false, "10.0.0.4:4100"};
  cluster.rows.push_back(fourth);
  cluster.add_node(4);
  cluster.start(4);
  cluster.rows.pop_back();
  CHECK_EQ(cluster.refusal(map::AddNode{fourth}), "");
  REQUIRE(cluster.run_until([&] { return cluster.view(4).voter; }, 10s));
  while (cluster.leader() != 4) {
    const NodeId leads = cluster.leader();
    if (leads != 0) cluster.kill(leads);
    REQUIRE(cluster.run_until([&] { return cluster.leader() != 0; }, 10s));
    if (leads != 0) cluster.restart(leads);
    cluster.world.run_for(2s);
  }
  cluster.kill(2);
  cluster.restart(2);
  CHECK(cluster.run_until([&] { return cluster.view(2).leader == 4; }, 10s));
}
