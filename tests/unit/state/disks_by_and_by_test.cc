// A server registers before its disks are open, and again with each that it has opened or given up.
#include "world.h"

using namespace sp;
using namespace sp::map;
using namespace sp::state::test;

TEST_CASE("disks that a running server opens later come up, and only they change anything") {
  World world;
  const ServiceId id = server(1);
  world.done(service_up(id, 500));
  CHECK(!world.map().disks.at(10).up);
  CHECK(!world.map().disks.at(11).up);
  world.done(service_up(id, 500, {disk(10, id)}));
  CHECK(world.map().disks.at(10).up);
  CHECK(!world.map().disks.at(11).up);
  const auto sets = world.map().sets;
  world.done(service_up(id, 500, {disk(10, id)}));  // told twice
  for (const auto& [set, row] : sets) CHECK_EQ(world.map().sets.at(set).revision, row.revision);
  world.done(service_up(id, 500, {disk(10, id), disk(11, id)}));
  CHECK(world.map().disks.at(10).up);
  CHECK(world.map().disks.at(11).up);
}

TEST_CASE(
    "a disk that a running server no longer names is down, and one that it reported as failed "
    "stays so") {
  World world;
  const ServiceId id = server(1);
  world.done(service_up(id, 500, {disk(10, id), disk(11, id)}));
  world.done(service_up(id, 500, {disk(11, id)}));
  CHECK(!world.map().disks.at(10).up);
  world.done(DiskFailed{11, 500, "worn"});
  world.done(service_up(id, 500, {disk(10, id), disk(11, id)}));  // sent before it noticed
  CHECK(world.map().disks.at(10).up);
  CHECK(!world.map().disks.at(11).up);
  world.done(
      service_up(id, 501, {disk(10, id), disk(11, id)}));  // a new process has opened it well
  CHECK(world.map().disks.at(11).up);
}

TEST_CASE(
    "a server that starts anew without its disks, and opens one later that its predecessor "
    "reported as failed, gets it back") {
  World world;
  const ServiceId id = server(1);
  world.done(service_up(id, 500, {disk(10, id), disk(11, id)}));
  world.done(DiskFailed{11, 500, "worn"});
  world.done(service_up(id, 501));
  world.done(service_up(id, 501, {disk(11, id)}));
  CHECK(world.map().disks.at(11).up);
  CHECK_EQ(world.map().disks.at(11).failure, "");
}
