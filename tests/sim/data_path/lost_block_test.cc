// A block of which every copy is damaged.
#include "rig.h"

namespace sp::sim {
namespace {

// Each copy that was asked for the block asked the others for it, to mend its own, and so on.
TEST_CASE(
    "a block that is damaged on every copy is an error, and no storm of copies asking each other") {
  Rig rig(quiet());
  REQUIRE(rig.write(1, 11).ok());
  REQUIRE(rig.write(2, 12).ok());
  rig.world.run_for(seconds(1));
  const ObjectId object{rig.clients[0].volume_id, 0};
  for (auto& process : rig.servers) {
    for (const std::string& path : process.paths) {
      for (const DiskId disk : process.server->disks()) {
        const store::Store* const store = process.server->store(disk);
        const auto location = store::locate(*store, object, 1);
        REQUIRE(location.has_value());
        rig.world.disks().corrupt(path, location->device_offset, 512);
      }
    }
  }
  const auto read = rig.read(1);
  REQUIRE_FALSE(read.ok());
  CHECK_EQ(read.error().code(), Code::damaged);
  CHECK_EQ(rig.read(2).value(), 12);
  const uint64_t before = rig.world.event_count();
  rig.world.run_for(seconds(1));
  CHECK_LT(rig.world.event_count() - before, 2000);
  REQUIRE(rig.write(1, 13).ok());
  CHECK_EQ(rig.read(1).value(), 13);
}

}  // namespace
}  // namespace sp::sim
