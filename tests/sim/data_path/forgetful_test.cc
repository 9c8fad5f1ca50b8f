// Disks that lie about flushes and then lose their power: what they acknowledged last is gone, and
// they do not know.
#include "rig.h"

namespace sp::sim {
namespace {

// From now on nothing that the disk acknowledges is durable.
void begin_to_lie(Rig& rig, size_t server, bool lies = true) {
  io::SimDiskOptions options = rig.options.world.disk;
  options.volatile_cache = true;
  options.lying_flush = lies ? 1 : 0;
  options.crash_keep = options.crash_tear = options.crash_garbage = 0;
  options.crash_drop = 1;
  rig.world.disks().set_options(rig.servers[server].paths[0], options);
}

void power_fails_everywhere(Rig& rig) {
  for (auto& process : rig.servers) rig.end_server(process, Death::power);
  rig.world.run_for(seconds(2));  // the control has noticed
}

uint64_t version_number(Rig& rig, size_t server) {
  const auto& process = rig.servers[server];
  return process.server->store(process.disks[0])->decided_to({rig.group, 0}).packed();
}

TEST_CASE(
    "a disk that lost what it acknowledged last leads nobody and is no copy until it has it") {
  for (const size_t liar : {0, 2}) {
    CAPTURE(liar);
    Rig rig(quiet());
    REQUIRE(rig.write(1, 11).ok());
    rig.world.run_for(milliseconds(500));
    begin_to_lie(rig, liar);
    REQUIRE(rig.write(1, 12).ok());
    REQUIRE(rig.write(2, 22).ok());
    rig.world.run_for(milliseconds(500));  // all have noted that it is decided
    power_fails_everywhere(rig);
    begin_to_lie(rig, liar, false);
    rig.start_server(rig.servers[liar]);  // the first, so it is among those who act
    rig.world.run_for(milliseconds(500));
    rig.heal();
    CHECK_EQ(*rig.read(1), 12);
    CHECK_EQ(*rig.read(2), 22);
    CHECK_GT(rig.sum(&serve::Counters::bytes_recovered), 0);
    rig.same_copies();
  }
}

TEST_CASE("of two copies the one that lost what it acknowledged goes, though too few are left") {
  Rig rig(quiet());
  REQUIRE(rig.write(1, 11).ok());
  rig.world.run_for(milliseconds(500));
  rig.end_server(rig.servers[2], Death::power);
  rig.world.run_for(seconds(2));
  begin_to_lie(rig, 0);
  REQUIRE(rig.write(1, 12).ok());
  rig.world.run_for(milliseconds(500));
  power_fails_everywhere(rig);
  begin_to_lie(rig, 0, false);
  rig.start_server(rig.servers[0]);
  rig.world.run_for(milliseconds(500));
  rig.start_server(rig.servers[1]);
  CHECK(rig.write(2, 22).ok());  // by both of them again
  CHECK_EQ(*rig.read(1), 12);
  rig.heal();
  CHECK_EQ(*rig.read(1), 12);
  rig.same_copies();
}

TEST_CASE("a copy whose whole recovery is lost after it was promoted recovers again") {
  Rig rig(quiet());
  REQUIRE(rig.write(1, 11).ok());
  rig.world.run_for(milliseconds(500));
  rig.end_server(rig.servers[2], Death::power);
  rig.world.run_for(milliseconds(200));
  for (uint64_t block = 1; block < 20; ++block) REQUIRE(rig.write(block, 100 + block).ok());
  begin_to_lie(rig, 2);
  rig.heal();
  rig.world.run_for(milliseconds(500));
  power_fails_everywhere(rig);
  begin_to_lie(rig, 2, false);
  rig.start_server(rig.servers[2]);
  rig.world.run_for(milliseconds(500));
  rig.heal();
  for (uint64_t block = 1; block < 20; ++block) CHECK_EQ(*rig.read(block), 100 + block);
  rig.same_copies();
}

TEST_CASE("a lone copy without a record of the set waits for those who may have one") {
  Rig rig(quiet());
  REQUIRE(rig.write(1, 11).ok());
  rig.world.run_for(milliseconds(500));
  for (auto& process : rig.servers) rig.end_server(process, Death::process);
  rig.world.disks().wipe(rig.servers[0].paths[0]);
  rig.format_disk(rig.servers[0], 0);  // this control knows disks by their ids only
  rig.start_server(rig.servers[0]);
  rig.world.run_for(seconds(3));
  size_t served = 0;
  rig.servers[0].server->each_served([&served](SetId) { ++served; });
  CHECK_EQ(served, 0);
  rig.heal();
  CHECK_EQ(*rig.read(1), 11);
  rig.same_copies();
}

TEST_CASE("a disk that lies loses nothing without a loss of power") {
  Rig rig(quiet());
  begin_to_lie(rig, 0);
  REQUIRE(rig.write(1, 11).ok());
  rig.world.run_for(milliseconds(500));
  const uint64_t before = version_number(rig, 0);
  rig.end_server(rig.servers[0], Death::process);
  rig.world.run_for(seconds(2));
  rig.heal();
  CHECK_GE(version_number(rig, 0), before);
  CHECK_EQ(*rig.read(1), 11);
  CHECK_EQ(rig.sum(&serve::Counters::bytes_recovered), 0);
}

}  // namespace
}  // namespace sp::sim
