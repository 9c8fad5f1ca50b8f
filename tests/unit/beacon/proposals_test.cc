// A proposal's outcome is what this node's own log shows, whatever becomes of leaders.
#include "beacon/proposals.h"

#include "cluster.h"

using namespace sp;
using namespace sp::test;

namespace {

struct Origin {
  Origin() {
    proposals.propose({std::byte{1}}, false,
                      [this](Result<uint64_t> r) { outcome.emplace(std::move(r)); });
  }
  void apply(uint64_t index, uint64_t term, uint64_t number) {
    const beacon::Envelope envelope{3, 77, number, {}};
    const state::Applied applied;
    proposals.applied({index, term, raft::EntryKind::command, {}},
                      number == 0 ? nullptr : &envelope, &applied);
  }

  io::SimWorld world{1};
  io::SimHost& host = world.add_host("a", "10.0.0.1");
  std::vector<wire::ForwardCommand> sent;
  beacon::Proposals proposals{
      host.host(), 3, 77, [this](const wire::ForwardCommand& forward) { sent.push_back(forward); }};
  std::optional<Result<uint64_t>> outcome;
};

}  // namespace

TEST_CASE(
    "a proposal waits for a leader, and is made again in a later term only when it cannot be "
    "committed any more") {
  Origin o;
  CHECK(o.sent.empty());
  o.proposals.leader(1, 5);
  REQUIRE(o.sent.size() == 1);
  CHECK(o.sent[0].term == 5);
  o.proposals.leader(0, 6);
  o.proposals.leader(2, 6);
  CHECK(o.sent.size() == 1);  // the entry may still stand in the new leader's log
  SUBCASE("it was in the log") {
    o.apply(10, 5, 1);
    o.apply(11, 6, 0);
    REQUIRE(o.outcome.has_value());
    CHECK(**o.outcome == 10);
    o.proposals.leader(2, 6);
    CHECK(o.sent.size() == 1);
  }
  SUBCASE("it was not") {
    o.apply(11, 6, 0);                           // the entry that opens the new term
    o.world.run_for(2 * limits::command_retry);  // clocks drift
    o.proposals.tick();
    REQUIRE(o.sent.size() == 2);
    CHECK(o.sent[1].term == 6);
    CHECK(o.sent[1].number == o.sent[0].number);
    o.apply(12, 6, 1);
    CHECK(**o.outcome == 12);
  }
}

TEST_CASE("a refusal for not leading frees a proposal only when it was sent once in that term") {
  for (const bool twice : {false, true}) {
    Origin o;
    o.proposals.leader(1, 5);
    if (twice) {
      o.world.run_for(2 * limits::command_retry);  // clocks drift
      o.proposals.tick();
      REQUIRE(o.sent.size() == 2);
    }
    o.proposals.refused({1, 5, Code::unreachable, "not the leader"});
    o.proposals.leader(2, 6);
    CHECK(o.sent.size() == 2);
    CHECK(o.sent.back().term == (twice ? 5 : 6));
  }
}

TEST_CASE("without a leader a proposal is unreachable, without an answer its outcome is unknown") {
  for (const bool led : {false, true}) {
    Origin o;
    if (led) o.proposals.leader(1, 5);
    o.world.run_for(2 * limits::command_connect_timeout);
    o.proposals.tick();
    REQUIRE(o.outcome.has_value());
    CHECK(o.outcome->error().code() == (led ? Code::transient : Code::unreachable));
  }
}

TEST_CASE("a proposal that is sent again within a term is applied once") {
  for (uint64_t seed = 130; seed < 134; ++seed) {
    CAPTURE(seed);
    Cluster cluster(3, seed);
    cluster.start_all();
    REQUIRE(cluster.run_until([&] { return cluster.formed() && cluster.leader() != 0; }, 30s));
    const NodeId origin = cluster.leader() == 1 ? 2 : 1;
    auto& mgmt = cluster.add_service(ServiceKind::mgmt, origin);
    REQUIRE(cluster.run_until([&] { return mgmt.member->map().index != 0; }, 5s));
    REQUIRE(cluster.command(mgmt, map::CreateBucket{"b"}).ok());
    const uint64_t before = cluster.map(origin).buckets.at("b").version;
    const uint64_t term = cluster.view(cluster.leader()).term;
    cluster.world.net().clog(ip_of(cluster.leader()), ip_of(origin),
                             3 * limits::command_retry / 2);  // answers come late
    map::SetBucket set;
    set.name = "b";
    set.set["k"] = "v";
    REQUIRE(cluster.command(mgmt, set).ok());
    cluster.world.run_for(2s);
    CHECK(cluster.view(cluster.leader()).term == term);
    CHECK(cluster.map(origin).buckets.at("b").version == before + 1);
  }
}
