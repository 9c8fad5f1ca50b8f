#include "cluster.h"

using namespace sp;
using namespace sp::test;
using Death = io::SimHost::Death;

namespace {

constexpr auto serving = [](const Cluster::Service& s) { return s.leased(); };

// Servers on these nodes, all registered, with a lease.
void add_servers(Cluster& cluster, std::vector<NodeId> nodes) {
  for (const NodeId node : nodes) cluster.add_service(ServiceKind::server, node);
  REQUIRE(cluster.run_until(
      [&] {
        for (const auto& [id, s] : cluster.services) {
          if (!serving(*s) || !cluster.up_at(cluster.leader() == 0 ? 1 : cluster.leader(), id))
            return false;
        }
        return true;
      },
      10s));
}

NodeId other_than(const Cluster& cluster, NodeId not_this) {
  for (const auto& [id, node] : cluster.nodes) {
    if (id != not_this && node->beacon) return id;
  }
  return 0;
}

}  // namespace

TEST_CASE(
    "one explicit bootstrap makes a cluster of one, three or five voters with equal content") {
  for (const uint32_t nodes : {1u, 3u, 5u}) {
    CAPTURE(nodes);
    Cluster cluster(nodes, nodes);
    cluster.form();
    REQUIRE(cluster.run_until([&] { return cluster.level(); }, 5s));
    cluster.check_hashes();
    CHECK(cluster.map(1).cluster.id == Cluster::cluster_id);
    CHECK(cluster.map(1).cluster.name == "test");
  }
}

TEST_CASE("without a bootstrap nobody leads, and a second bootstrap is refused") {
  Cluster cluster(3);
  for (auto& [id, node] : cluster.nodes) cluster.start(id);
  CHECK_FALSE(cluster.run_until([&] { return cluster.leader() != 0; }, 5s));
  for (auto& [id, node] : cluster.nodes) node->beacon.reset();
  cluster.start(1, true);
  REQUIRE(cluster.run_until([&] { return !cluster.nodes.at(1)->failure.empty(); }, 5s));
  CHECK(cluster.nodes.at(1)->failure.find("Start without --bootstrap") != std::string::npos);
}

TEST_CASE("sixty-three nodes become one cluster") {
  Cluster cluster(63, 5);
  cluster.start_all();
  REQUIRE(cluster.run_until(
      [&] { return cluster.leader() != 0 && cluster.view(cluster.leader()).voters == 63; }, 60s));
  REQUIRE(cluster.run_until([&] { return cluster.level(); }, 10s));
}

TEST_CASE("a service gets map and lease, and its death is noticed at once") {
  Cluster cluster(3, 7);
  cluster.form();
  add_servers(cluster, {1, 2, 3});
  auto& victim = *cluster.services.at({ServiceKind::server, 2, 1});
  CHECK(victim.member->map().nodes.size() == 3);
  const auto start = cluster.world.now();
  cluster.kill_service(victim);
  for (auto& [id, node] : cluster.nodes) {
    const NodeId where = id;
    REQUIRE(cluster.run_until([&] { return !cluster.up_at(where, victim.id); }, 1s));
  }
  CHECK(cluster.world.now() - start < 200ms);
  CHECK(cluster.services.at({ServiceKind::server, 1, 1})->leased());
}

TEST_CASE("a service that starts again is taken up with its new start id") {
  Cluster cluster(3, 8);
  cluster.form();
  add_servers(cluster, {1, 2, 3});
  auto& s = *cluster.services.at({ServiceKind::server, 2, 1});
  for (int round = 0; round < 3; ++round) {
    cluster.kill_service(s);
    s.host->restart();
    cluster.start_service(s);
    REQUIRE(cluster.run_until(
        [&] {
          return cluster.up_at(1, s.id) &&
                 cluster.map(1).services.at(s.id).start_id == s.start_id && s.leased();
        },
        3s));
  }
}

TEST_CASE("a disk that opened while the server's beacon was away is taken up (sp-sim seed 5291)") {
  Cluster cluster(3, 8);
  cluster.form();
  add_servers(cluster, {1, 2, 3});
  auto& s = *cluster.services.at({ServiceKind::server, 2, 1});
  cluster.kill(2);
  map::Disk opened = s.disks.front();
  opened.id += 500;
  opened.uuid += 500;
  s.disks.push_back(opened);
  s.member->update_disks(s.disks);
  cluster.restart(2);
  CHECK(cluster.run_until(
      [&] {
        const auto disk = cluster.map(1).disks.find(opened.id);
        return disk != cluster.map(1).disks.end() && disk->second.up;
      },
      20s));
}

TEST_CASE("a disk whose registration was refused for once is registered (sp-sim seed 90072)") {
  Cluster cluster(3, 8);
  cluster.commands_max = 1;
  cluster.form();
  add_servers(cluster, {1, 2, 3});
  const NodeId at = other_than(cluster, cluster.leader());
  auto& asking = cluster.add_service(ServiceKind::mgmt, at);
  REQUIRE(cluster.run_until([&] { return cluster.up_at(at, asking.id); }, 5s));
  // While the server's beacon waits for an answer, it has no room for another command.
  cluster.world.net().partition({ip_of(at)});
  asking.member->command(map::DeleteTemplate{"none"}, [](const Result<uint64_t>&) {});
  cluster.world.run_for(20ms);
  auto& s = *cluster.services.at({ServiceKind::server, at, 1});
  map::Disk opened = s.disks.front();
  opened.id += 500;
  opened.uuid += 500;
  s.disks.push_back(opened);
  s.member->update_disks(s.disks);
  cluster.world.run_for(20ms);
  cluster.world.net().heal();
  CHECK(cluster.run_until(
      [&] {
        const auto disk = cluster.map(at).disks.find(opened.id);
        return disk != cluster.map(at).disks.end() && disk->second.up;
      },
      5s));
}

TEST_CASE("a disk refused for its id is taken in when the other is gone (sp-sim seed 31014)") {
  Cluster c(3);
  c.start_all();
  REQUIRE(c.run_until([&] { return c.formed(); }, 10s));
  auto& first = c.add_service(ServiceKind::server, 1);
  const DiskId id = first.disks[0].id;
  const auto is_up = [&](uint64_t uuid) {
    const auto row = c.map(2).disks.find(id);
    return row != c.map(2).disks.end() && row->second.up && row->second.uuid == uuid;
  };
  REQUIRE(c.run_until([&] { return is_up(first.disks[0].uuid); }, 5s));
  auto& second = c.add_service(ServiceKind::server, 2);
  c.kill_service(second);
  second.disks[0].id = id;
  second.host->restart();
  c.start_service(second);
  REQUIRE(c.run_until([&] { return c.up_at(2, second.id); }, 5s));
  c.world.run_for(2s);
  CHECK(is_up(first.disks[0].uuid));
  c.kill_service(first);
  CHECK(c.run_until([&] { return is_up(second.disks[0].uuid); }, 5s));
}

TEST_CASE("a disk that a late registration took away comes back (sp-sim seed 200073)") {
  Cluster c(3);
  c.start_all();
  REQUIRE(c.run_until([&] { return c.formed(); }, 10s));
  auto& first = c.add_service(ServiceKind::server, 1);
  const map::Disk disk = first.disks[0];
  const auto is_at = [&](ServiceId server) {
    const auto row = c.map(3).disks.find(disk.id);
    return row != c.map(3).disks.end() && row->second.up && row->second.server == server;
  };
  REQUIRE(c.run_until([&] { return is_at(first.id); }, 5s));
  auto& second = c.add_service(ServiceKind::server, 2);
  c.kill_service(second);
  second.disks = {disk};
  second.host->restart();
  c.start_service(second);
  REQUIRE(c.run_until([&] { return is_at(second.id); }, 5s));
  c.kill(1);
  c.restart(1);
  REQUIRE(c.run_until([&] { return is_at(first.id); }, 10s));
  c.kill_service(first);
  CHECK(c.run_until([&] { return is_at(second.id); }, 5s));
}

TEST_CASE("a silent node is declared down within 1.5 s, and comes back when it talks") {
  Cluster cluster(3, 9);
  cluster.form();
  add_servers(cluster, {1, 2, 3});
  const NodeId leader = cluster.leader();
  const NodeId silent = other_than(cluster, leader);
  auto& s = *cluster.services.at({ServiceKind::server, silent, 1});
  const auto start = cluster.world.now();
  cluster.kill_service(s, Death::silent);
  cluster.kill(silent, Death::silent);
  REQUIRE(cluster.run_until([&] { return !cluster.map(leader).nodes.at(silent).up; }, 3s));
  CHECK(cluster.world.now() - start < 1500ms);
  CHECK_FALSE(cluster.up_at(leader, s.id));
  cluster.restart(silent);
  s.host->restart();
  cluster.start_service(s);
  REQUIRE(cluster.run_until([&] { return cluster.up_at(leader, s.id) && s.leased(); }, 10s));
}

TEST_CASE(
    "the leader dies: another one leads, and the other nodes' services never lose their lease for "
    "long") {
  for (uint64_t seed = 20; seed < 26; ++seed) {
    CAPTURE(seed);
    Cluster cluster(3, seed);
    cluster.form();
    add_servers(cluster, {1, 2, 3});
    const NodeId old = cluster.leader();
    auto& lost = *cluster.services.at({ServiceKind::server, old, 1});
    const auto start = cluster.world.now();
    cluster.kill_service(lost, Death::silent);
    cluster.kill(old, Death::silent);
    const NodeId witness = other_than(cluster, old);
    REQUIRE(cluster.run_until(
        [&] { return cluster.leader() != 0 && !cluster.map(witness).nodes.at(old).up; }, 10s));
    CHECK(cluster.world.now() - start < 4s);
    CHECK_FALSE(cluster.up_at(witness, lost.id));
    REQUIRE(cluster.run_until(
        [&] {
          for (auto& [id, s] : cluster.services) {
            if (s.get() != &lost && !s->leased()) return false;
          }
          return true;
        },
        1s));
  }
}

TEST_CASE("a minority's leases end before the majority declares it down, in true time") {
  for (uint64_t seed = 40; seed < 60; ++seed) {
    CAPTURE(seed);
    io::SimOptions options;
    options.clock_drift_max = limits::clock_drift_max / 2;
    Cluster cluster(3, seed, options);
    cluster.form();
    add_servers(cluster, {1, 2, 3});
    const NodeId cut = static_cast<NodeId>(1 + seed % 3);
    auto& s = *cluster.services.at({ServiceKind::server, cut, 1});
    cluster.world.run_for(std::chrono::milliseconds(cluster.world.random().below(400)));
    cluster.world.net().partition({ip_of(cut)});
    const NodeId witness = other_than(cluster, cut);
    bool overlap = false;
    REQUIRE(cluster.run_until(
        [&] {
          const bool down = !cluster.up_at(witness, s.id);
          overlap = overlap || (down && s.leased());
          return down;
        },
        10s));
    cluster.run_until(
        [&] {
          overlap = overlap || s.leased();
          return false;
        },
        2s);
    CHECK_FALSE(overlap);
    cluster.world.net().heal();
    REQUIRE(cluster.run_until([&] { return cluster.up_at(witness, s.id) && s.leased(); }, 15s));
    REQUIRE(cluster.run_until([&] { return cluster.level(); }, 10s));
    cluster.check_hashes();
  }
}

TEST_CASE("commands are applied once, whoever leads when they are answered") {
  for (uint64_t seed = 60; seed < 66; ++seed) {
    CAPTURE(seed);
    Cluster cluster(5, seed);
    cluster.form();
    auto& mgmt = cluster.add_service(ServiceKind::mgmt, 1);
    REQUIRE(cluster.run_until([&] { return mgmt.member->map().index != 0; }, 5s));
    REQUIRE(cluster.command(mgmt, map::CreateBucket{"b"}).ok());
    const uint64_t version_before = mgmt.member->map().buckets.at("b").version;
    uint64_t good = 0, unknown = 0, asked = 0;
    std::vector<uint64_t> indices;
    auto ask = [&] {
      map::SetBucket set;
      set.name = "b";
      set.set["k" + std::to_string(++asked)] = "v";
      std::string key = "k" + std::to_string(asked);
      mgmt.member->command(set, [&, key = std::move(key)](Result<uint64_t> r) {
        if (r.ok()) {
          ++good;
          indices.push_back(*r);
          CHECK(mgmt.member->map().buckets.at("b").pairs.count(key) == 1);  // our map has it first
        } else if (r.error().code() == Code::transient || r.error().code() == Code::unreachable) {
          ++unknown;
        } else {
          FAIL(r.error().message());
        }
      });
    };
    for (int round = 0; round < 3; ++round) {
      for (int i = 0; i < 20; ++i) {
        ask();
        cluster.world.run_for(5ms);
        cluster.check_hashes();
        if (i != 10) continue;
        const NodeId leader = cluster.leader();
        if (leader <= 1) continue;  // the one that mgmt is with lives on
        cluster.kill(leader, round == 1 ? Death::power : Death::process);
        REQUIRE(cluster.run_until([&] { return cluster.leader() != 0; }, 10s));
        cluster.restart(leader);
      }
      if (cluster.leader() == 1) {  // make somebody else lead
        cluster.world.net().partition({ip_of(1)});
        cluster.world.run_for(3s);
        cluster.world.net().heal();
      }
      REQUIRE(cluster.run_until([&] { return cluster.leader() != 0; }, 10s));
    }
    REQUIRE(cluster.run_until([&] { return good + unknown == asked; }, 20s));
    REQUIRE(cluster.run_until([&] { return cluster.level(); }, 10s));
    const auto& bucket = cluster.map(1).buckets.at("b");
    const uint64_t applied = bucket.version - version_before;
    CHECK(good >= 40);
    CHECK(applied == bucket.pairs.size());  // none twice
    CHECK(applied >= good);                 // none lost
    CHECK(applied <= good + unknown);
    CHECK(std::set<uint64_t>(indices.begin(), indices.end()).size() == indices.size());
  }
}

TEST_CASE("all beacons restart after a power failure with the state they had") {
  for (uint64_t seed = 70; seed < 76; ++seed) {
    CAPTURE(seed);
    Cluster cluster(3, seed);
    cluster.entries_kept = 20;
    cluster.form();
    auto& mgmt = cluster.add_service(ServiceKind::mgmt, 1);
    REQUIRE(cluster.run_until([&] { return mgmt.member->map().index != 0; }, 5s));
    uint64_t last = 0;
    for (int i = 0; i < 100; ++i) {
      const auto done = cluster.command(mgmt, map::CreateBucket{"b" + std::to_string(i)});
      REQUIRE(done.ok());
      last = *done;
    }
    for (NodeId id = 1; id <= 3; ++id) cluster.kill(id, Death::power);
    for (NodeId id = 1; id <= 3; ++id) cluster.restart(id);
    REQUIRE(cluster.run_until(
        [&] { return cluster.leader() != 0 && cluster.level() && cluster.map(2).index >= last; },
        20s));
    for (NodeId id = 1; id <= 3; ++id) CHECK(cluster.map(id).buckets.size() == 100);
    cluster.check_hashes();
    REQUIRE(cluster.command(mgmt, map::CreateBucket{"after"}, 20s).ok());
  }
}

TEST_CASE("a voter with a wiped log comes back as a learner and then votes again") {
  Cluster cluster(3, 80);
  cluster.entries_kept = 10;
  cluster.form();
  auto& mgmt = cluster.add_service(ServiceKind::mgmt, 1);
  REQUIRE(cluster.run_until([&] { return mgmt.member->map().index != 0; }, 5s));
  for (int i = 0; i < 60; ++i)
    REQUIRE(cluster.command(mgmt, map::CreateBucket{"b" + std::to_string(i)}).ok());
  const uint64_t log_id = cluster.view(3).log_id;
  cluster.kill(3, Death::power);
  REQUIRE(cluster.run_until([&] { return cluster.leader() != 0 && !cluster.map(1).nodes.at(3).up; },
                            10s));
  cluster.world.disks().wipe("log3");
  cluster.world.disks().wipe("snapshot3");
  cluster.restart(3);
  bool learned = false;
  REQUIRE(cluster.run_until(
      [&] {
        if (!cluster.nodes.at(3)->beacon->map()) return false;
        const auto v = cluster.view(3);
        learned = learned || (v.members == 3 && v.voters == 2);
        return v.voter && cluster.formed() && cluster.level();
      },
      20s));
  CHECK(learned);
  CHECK(cluster.view(3).log_id != log_id);
  CHECK(cluster.map(3).buckets.size() == 60);
}

TEST_CASE("a node that is added to sp.toml later joins and votes") {
  Cluster cluster(3, 90);
  cluster.form();
  cluster.rows.push_back({4, "node4", "rack2", true, false, ip_of(4) + ":4100"});
  cluster.add_node(4);
  cluster.start(4);
  for (NodeId id = 1; id <= 3; ++id) {  // the others read the new file one after the other
    cluster.kill(id);
    cluster.restart(id);
    REQUIRE(cluster.run_until([&] { return cluster.leader() != 0; }, 10s));
  }
  REQUIRE(cluster.run_until([&] { return cluster.formed() && cluster.level(); }, 30s));
  CHECK(cluster.map(2).nodes.at(4).fault_set == "rack2");
}
