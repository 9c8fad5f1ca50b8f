// A primary reports that a copy lacks what it had acknowledged.
#include "world.h"

using namespace sp;
using namespace sp::map;
using namespace sp::state::test;

namespace {

bool lists(const std::vector<DiskId>& disks, DiskId id) {
  return std::find(disks.begin(), disks.end(), id) != disks.end();
}

TEST_CASE("a copy that has lost what it acknowledged is complete no more, however few act") {
  World world;
  const SetId id = world.set().id;
  world.done(SetActivated{id, world.set().epoch});
  const std::vector<DiskId> acting = world.set().acting;
  REQUIRE_EQ(acting.size(), 3);
  for (size_t left = 3; left > 1; --left) {
    const DiskId forgetful = acting[left - 1];
    world.refused(SetEvict{id, world.set().epoch + 1, forgetful, true}, Code::stale, "epoch");
    const uint32_t epoch = world.set().epoch;
    world.done(SetEvict{id, epoch, forgetful, true});
    CHECK_EQ(world.set().epoch, epoch + 1);
    CHECK_EQ(world.set().acting.size(), left - 1);
    CHECK_FALSE(lists(world.set().base, forgetful));
    CHECK(lists(world.set().recovering, forgetful));
  }
  // Nobody else has what the last one holds.
  world.refused(SetEvict{id, world.set().epoch, acting[0], true}, Code::refused, "nobody else");
  world.refused(SetEvict{id, world.set().epoch, acting[1], true}, Code::refused, "complete");
  CHECK_EQ(world.set().base, std::vector<DiskId>{acting[0]});
}

}  // namespace
