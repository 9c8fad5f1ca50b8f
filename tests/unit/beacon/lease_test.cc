// Who may serve: leases against the sets that they protect.
#include "cluster.h"

using namespace sp;
using namespace sp::test;

namespace {

// Three nodes with a server and a disk each, a template with three copies, every set activated.
struct Sets : Cluster {
  explicit Sets(uint64_t seed) : Cluster(3, seed) {
    form();
    for (const NodeId node : {1, 2, 3}) add_service(ServiceKind::server, node);
    mgmt = &add_service(ServiceKind::mgmt, 1);
    REQUIRE(run_until([&] { return all_leased() && mgmt->member->map().disks.size() == 3; }, 10s));
    map::UpdatePlacementGroup group;
    group.name = "all";
    group.add = {11, 21, 31};
    REQUIRE(command(*mgmt, group).ok());
    map::PutTemplate put;
    put.row.name = "t";
    put.row.place_all = put.row.place_tail = put.row.place_head = "all";
    put.set_count = 4;
    const auto made = command(*mgmt, put);
    if (!made.ok()) FAIL(made.error().message());
    set = mgmt->member->map().sets.begin()->first;
    REQUIRE(activate().ok());
  }
  bool all_leased() const {
    for (const auto& [id, s] : services) {
      if (!s->leased()) return false;
    }
    return true;
  }
  const map::DiskSet& row(NodeId at = 1) const { return map(at).sets.at(set); }
  Service& server_of(DiskId disk) {
    return *services.at({ServiceKind::server, static_cast<NodeId>(disk / 10), 1});
  }
  Service& primary() { return server_of(row().acting.front()); }
  Result<uint64_t> activate() { return command(primary(), map::SetActivated{set, row().epoch}); }
  // Activated at last, and never while `old` has a lease.
  void activate_beside(Service& next, const Service& old) {
    bool answered = false, overlap = false;
    next.member->command(map::SetActivated{set, row().epoch}, [&](Result<uint64_t> r) {
      answered = true;
      CHECK(r.ok());
    });
    const NodeId watched = leader();
    REQUIRE(run_until(
        [&] {
          overlap = overlap || (row(watched).activated && old.leased());
          return answered;
        },
        5s));
    CHECK_FALSE(overlap);
  }

  Service* mgmt = nullptr;
  SetId set;
};

}  // namespace

TEST_CASE("a set is activated under its next primary only when the evicted one serves it no more") {
  for (uint64_t seed = 100; seed < 110; ++seed) {
    CAPTURE(seed);
    Sets c(seed);
    auto& old = c.primary();
    const DiskId disk = c.row().acting.front();
    old.fences = false;  // it is busy: it goes on serving what it knows
    const auto evicted =
        c.command(c.server_of(c.row().acting[1]), map::SetEvict{c.set, c.row().epoch, disk});
    REQUIRE(evicted.ok());
    REQUIRE(c.run_until([&] { return c.row().acting.front() != disk; }, 5s));
    c.activate_beside(c.primary(), old);
    CHECK_FALSE(old.leased());
    // It gets a lease again when the change is in force there, not before.
    CHECK_FALSE(c.run_until([&] { return old.leased(); }, 3s));
    old.fences = true;
    old.report.fenced_index = old.member->map().index;
    CHECK(c.run_until([&] { return old.leased(); }, 1s));
  }
}

// It knew nothing of the new epoch yet, so it did not count as a primary that was dropped (sp-sim
// seed 60000625).
TEST_CASE("a primary that became a copy, and is evicted before it promises, is waited for") {
  for (uint64_t seed = 110; seed < 115; ++seed) {
    CAPTURE(seed);
    Sets c(seed);
    const DiskId first = c.row().acting[0], old_disk = c.row().acting[1];
    REQUIRE(c.command(c.server_of(old_disk), map::SetEvict{c.set, c.row().epoch, first}).ok());
    REQUIRE(c.activate().ok());
    REQUIRE_EQ(c.row().acting.front(), old_disk);
    auto& old = c.server_of(old_disk);
    old.fences = false;  // it goes on serving what it knows
    map::SetPromote promote;
    promote.set = c.set;
    promote.revision = c.row().revision;
    promote.disk = first;
    REQUIRE(c.command(old, promote).ok());
    REQUIRE(c.run_until([&] { return c.row().acting.front() == first; }, 1s));
    REQUIRE_EQ(c.row().acting.size(), 3);
    auto& next = c.server_of(first);
    SUBCASE("it promises") {
      REQUIRE(c.activate().ok());
      CHECK(old.leased());
    }
    SUBCASE("it does not answer") {
      REQUIRE(c.command(next, map::SetEvict{c.set, c.row().epoch, old_disk}).ok());
      REQUIRE(old.leased());
      c.activate_beside(next, old);
    }
  }
}

TEST_CASE("an evicted primary that puts the change in force at once holds nobody up") {
  Sets c(120);
  const DiskId disk = c.row().acting.front();
  REQUIRE(
      c.command(c.server_of(c.row().acting[1]), map::SetEvict{c.set, c.row().epoch, disk}).ok());
  const auto start = c.world.now();
  REQUIRE(c.activate().ok());
  CHECK(c.world.now() - start < 150ms);
  CHECK(c.server_of(disk).leased());
}

TEST_CASE("a dead primary's lease holds nobody up, its process being gone") {
  Sets c(121);
  auto& old = c.primary();
  c.kill_service(old);
  REQUIRE(c.run_until(
      [&] { return !c.up_at(1, old.id) && !c.up_at(2, old.id) && !c.up_at(3, old.id); }, 1s));
  const auto start = c.world.now();
  REQUIRE(c.activate().ok());
  CHECK(c.world.now() - start < 100ms);
}

TEST_CASE(
    "a primary that is itself cut off is evicted instead of the copies that it complains of") {
  Sets c(122);
  auto& primary = c.primary();
  const DiskId own = c.row().acting[0];
  const DiskId accused = c.row().acting[1];
  SUBCASE("cut off") {
    primary.report.unreachable = {c.server_of(c.row().acting[1]).id,
                                  c.server_of(c.row().acting[2]).id};
    c.server_of(accused).report.unreachable = {primary.id};
    c.world.run_for(500ms);
    REQUIRE(c.command(primary, map::SetEvict{c.set, c.row().epoch, accused}).ok());
    CHECK(std::count(c.row().acting.begin(), c.row().acting.end(), own) == 0);
    CHECK(c.row().acting.front() == accused);
  }
  SUBCASE("not cut off") {
    primary.report.unreachable = {c.server_of(accused).id};
    c.server_of(accused).report.unreachable = {primary.id, c.server_of(c.row().acting[2]).id};
    c.world.run_for(500ms);
    REQUIRE(c.command(primary, map::SetEvict{c.set, c.row().epoch, accused}).ok());
    CHECK(c.row().acting.front() == own);
    CHECK(std::count(c.row().acting.begin(), c.row().acting.end(), accused) == 0);
  }
}

TEST_CASE("a change is confirmed when every serving server has it in force, or serves no more") {
  Sets c(123);
  auto confirm = [&](uint64_t index, io::Duration limit) {
    std::optional<bool> result;
    c.mgmt->member->confirm(index, limit, [&result](Status s) { result = s.ok(); });
    REQUIRE(c.run_until([&] { return result.has_value(); }, limit + 1s));
    return *result;
  };
  const auto start = c.world.now();
  CHECK(confirm(*c.command(*c.mgmt, map::CreateBucket{"a"}), 5s));
  CHECK(c.world.now() - start <
        100ms);  // servers say so at once, not with their next regular report

  auto& slow = *c.services.at({ServiceKind::server, 2, 1});
  slow.fences = false;
  map::CreateVolume volume;
  volume.name = "v";
  volume.size_bytes = 1 << 30;
  volume.template_name = "t";
  const uint64_t next = *c.command(*c.mgmt, volume);
  CHECK_FALSE(confirm(next, 2s));  // it serves, and does not say so
  c.kill_service(slow);
  CHECK(confirm(next, 5s));
}

TEST_CASE(
    "a server that is behind what was confirmed gets no lease, not from a new leader either") {
  Sets c(124);
  auto& slow = *c.services.at({ServiceKind::server, 3, 1});
  slow.fences = false;
  const uint64_t fenced = slow.report.fenced_index;
  // While it is away its lease ends, and a change is confirmed without it.
  c.world.net().partition({ip_of(3)});
  REQUIRE(c.run_until(
      [&] { return c.leader() != 0 && c.leader() != 3 && !c.map(1).nodes.at(3).up; }, 10s));
  map::CreateVolume volume;
  volume.name = "v";
  volume.size_bytes = 1 << 30;
  volume.template_name = "t";
  REQUIRE(c.command(*c.mgmt, volume).ok());
  c.world.net().heal();
  REQUIRE(
      c.run_until([&] { return c.up_at(1, slow.id) && c.map(3).index == c.map(1).index; }, 10s));
  CHECK(slow.report.fenced_index == fenced);
  CHECK_FALSE(c.run_until([&] { return slow.leased(); }, 2s));
  c.kill(c.leader() == 1 ? 2 : c.leader());
  CHECK_FALSE(c.run_until([&] { return slow.leased(); }, 4s));
  slow.report.fenced_index = slow.member->map().index;
  CHECK(c.run_until([&] { return slow.leased(); }, 5s));
}

// One request for leases takes 64 services; those with the newest links were left out for good.
TEST_CASE("on a node with more services than one request takes all get leases and keep them") {
  Cluster c(1, 140);
  c.form();
  for (uint8_t instance = 1; instance <= 62; ++instance)
    c.add_service(ServiceKind::client, 1, instance);
  for (uint8_t instance = 1; instance <= 10; ++instance)
    c.add_service(ServiceKind::server, 1, instance);
  const auto all = [&] {
    return std::all_of(c.services.begin(), c.services.end(),
                       [](const auto& entry) { return entry.second->leased(); });
  };
  REQUIRE(c.run_until(all, 10s));
  auto& last = *c.services.at({ServiceKind::server, 1, 10});
  c.kill_service(last);
  last.host->restart();
  c.start_service(last);
  REQUIRE(c.run_until(all, 3s));
  CHECK_FALSE(c.run_until([&] { return !all(); }, 5s));
}

TEST_CASE("reports of all services can be asked for anywhere") {
  Sets c(125);
  c.server_of(21).report.tasks = {{21, 10, 4, 1, 4096}};
  c.world.run_for(1s);
  std::optional<std::vector<member::ServiceReport>> reports;
  c.mgmt->member->reports([&](Result<std::vector<member::ServiceReport>> r) {
    REQUIRE(r.ok());
    reports = std::move(r).value();
  });
  REQUIRE(c.run_until([&] { return reports.has_value(); }, 2s));
  CHECK(reports->size() == 4);
  bool found = false;
  for (const auto& r : *reports)
    found = found || (r.service.node == 2 && r.report.tasks.size() == 1 && r.age_ms < 1000);
  CHECK(found);
}

TEST_CASE("a service may only ask for what is its kind's to ask") {
  Sets c(126);
  auto refused = [&](Cluster::Service& s, const map::Command& command) {
    const auto r = c.command(s, command);
    return !r.ok() && r.error().code() == Code::not_authorised;
  };
  auto& client = c.add_service(ServiceKind::client, 2);
  REQUIRE(c.run_until([&] { return client.member->map().index != 0; }, 5s));
  CHECK(refused(client, map::SetEvict{c.set, 1, 11}));
  CHECK(refused(client, map::CreateBucket{"x"}));
  // A volume for itself, such as this one that does not exist; not for another, and not away from
  // another.
  CHECK_FALSE(refused(client, map::Reassign{{{.volume = 99, .read_write = {2}}}, true}));
  CHECK(refused(client, map::Reassign{{{.volume = 99, .read_write = {1}}}, false}));
  CHECK(refused(client, map::Reassign{{{.volume = 99, .detach = {1}}}, true}));
  CHECK(refused(client,
                map::Reassign{{{.volume = 99, .read_write = {2}, .detach_all = true}}, false}));
  CHECK(refused(client, map::ServiceDown{c.server_of(11).id, c.server_of(11).start_id}));
  CHECK(refused(*c.mgmt, map::NodeDown{2}));
  CHECK(refused(*c.mgmt, map::SetActivated{c.set, 1}));
  CHECK(refused(c.server_of(11), map::DeleteVolume{1}));
}
