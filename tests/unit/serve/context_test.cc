// Which of a server's own disks the map means.
#include "serve/context.h"

#include <doctest/doctest.h>

#include "crash/store/store_rig.h"

namespace sp::serve {
namespace {

struct MapOnly final : member::Member {
  map::Map rows;
  const map::Map& map() const override { return rows; }
  bool connected() const override { return true; }
  io::Instant lease_until() const override { return io::Instant{INT64_MAX}; }
  void command(const map::Command&, Callback<void(Result<uint64_t>)>) override {}
  void confirm(uint64_t, io::Duration, Callback<void(Status)>) override {}
  void reports(Callback<void(Result<std::vector<member::ServiceReport>>)>) override {}
  void update_disks(std::vector<map::Disk>) override {}
};

TEST_CASE("of one's own disks only the one that the map means is a copy, not one with its id") {
  constexpr DiskId id = 3;
  const wire::Identity self{1, 1, {ServiceKind::server, 1, 1}, 5};
  MapOnly member;
  map::Service& service = member.rows.services[self.service];
  service.up = true;
  service.start_id = self.start_id;
  map::Disk& row = member.rows.disks[id];
  row.up = true;
  row.server = self.service;
  row.uuid = 100;
  test::FakeMachine machine(3);
  Context context(machine.host, member, {}, self);
  auto disk = std::make_unique<LocalDisk>();
  disk->id = id;
  disk->uuid = 100;
  LocalDisk* const ours = disk.get();
  context.disks[id] = std::move(disk);
  CHECK(context.holds(id));
  CHECK_EQ(context.place(id).local, ours);
  ours->uuid = 200;
  CHECK_FALSE(context.holds(id));
  CHECK_FALSE(context.serves(id));
  CHECK_EQ(context.place(id).local, nullptr);
}

}  // namespace
}  // namespace sp::serve
