// Single failures, placed exactly, and what has to come of them.
#include <doctest/doctest.h>

#include <algorithm>

#include "rig.h"

namespace sp::sim {
namespace {

TEST_CASE("a block that decays on the primary is read from another copy and mended") {
  Rig rig(quiet());
  REQUIRE(rig.write(3, 33).ok());
  rig.world.run_for(milliseconds(100));
  rig.corrupt(0, 3);
  CHECK_EQ(*rig.read(3), 33);
  CHECK_EQ(rig.sum(&serve::Counters::blocks_repaired), 1);
  rig.world.run_for(milliseconds(100));
  CHECK_EQ(*rig.read(3), 33);
  CHECK_EQ(rig.sum(&serve::Counters::blocks_repaired), 1);
}

// It was an error to the client, and stayed one.
TEST_CASE("a block in a sector that cannot be read is read from another copy and mended") {
  Rig rig(quiet());
  REQUIRE(rig.write(3, 33).ok());
  REQUIRE(rig.write(4, 44).ok());
  rig.world.run_for(milliseconds(100));
  const uint64_t before = rig.device_offset(0, 3);
  rig.make_unreadable(0, 3);
  CHECK_EQ(*rig.read(3), 33);
  CHECK_EQ(rig.sum(&serve::Counters::blocks_repaired), 1);
  CHECK_EQ(rig.sum(&serve::Counters::evictions), 0);
  rig.world.run_for(milliseconds(100));
  CHECK_NE(rig.device_offset(0, 3), before);
  CHECK_EQ(*rig.read(3), 33);
  CHECK_EQ(*rig.read(4), 44);
  CHECK_EQ(rig.sum(&serve::Counters::blocks_repaired), 1);
  CHECK(rig.servers[0].server->store(rig.servers[0].disks[0])->failure() == std::nullopt);
  rig.same_copies();
}

TEST_CASE("a copy that returns gets a block also when its primary cannot read the sector") {
  Rig rig(quiet());
  rig.end_server(rig.servers[2], Death::process);
  REQUIRE(rig.write(3, 33).ok());
  rig.world.run_for(milliseconds(100));
  rig.make_unreadable(0, 3);
  rig.heal();
  CHECK_EQ(rig.sum(&serve::Counters::blocks_repaired), 1);
  rig.same_copies();
  CHECK_EQ(*rig.read(3), 33);
}

TEST_CASE("a block that is damaged on every copy is reported, and only that one") {
  Rig rig(quiet());
  REQUIRE(rig.write(3, 33).ok());
  REQUIRE(rig.write(4, 44).ok());
  rig.world.run_for(milliseconds(100));
  for (size_t server = 0; server < 3; ++server) rig.corrupt(server, 3);
  const auto lost = rig.read(3);
  REQUIRE_FALSE(lost.ok());
  CHECK_EQ(lost.error().code(), Code::damaged);
  CHECK_EQ(*rig.read(4), 44);
  CHECK(rig.write(3, 34).ok());
  CHECK_EQ(*rig.read(3), 34);
}

TEST_CASE("two copies damaged in the same block do not ask each other for it without end") {
  Rig rig(quiet());
  REQUIRE(rig.write(3, 33).ok());
  rig.world.run_for(milliseconds(100));
  rig.end_server(rig.servers[2], Death::process);
  rig.world.run_for(milliseconds(500));
  for (size_t server = 0; server < 2; ++server) rig.corrupt(server, 3);
  Buffer data = Buffer::allocate(limits::block_bytes);
  std::optional<bool> read;
  rig.clients[0].volume->read(3 * limits::block_bytes, data.mutable_bytes(),
                              [&](const Status& status) { read = status.ok(); });
  const uint64_t before = rig.world.event_count();
  for (int i = 0; i < 5000; ++i) {
    rig.world.run_for(milliseconds(1));
    REQUIRE_LT(rig.world.event_count() - before, 500'000);
  }
  rig.start_server(rig.servers[2]);
  if (!read) REQUIRE(rig.world.run_until([&] { return read.has_value(); }, seconds(30)));
  CHECK_EQ(*rig.read(3), 33);
}

TEST_CASE("a server that was away copies what it missed and little more") {
  Rig rig(quiet());
  for (uint64_t block = 0; block < 64; ++block) REQUIRE(rig.write(block, 1000 + block).ok());
  rig.world.run_for(milliseconds(500));
  rig.end_server(rig.servers[1], Death::process);
  constexpr uint64_t changed = 10;
  for (uint64_t block = 0; block < changed; ++block)
    REQUIRE(rig.write(block * 3, 2000 + block).ok());
  rig.heal();
  rig.same_copies();
  CHECK_GE(rig.sum(&serve::Counters::bytes_recovered), changed * limits::block_bytes);
  CHECK_LE(rig.sum(&serve::Counters::bytes_recovered),
           (changed + changed / 5) * limits::block_bytes);
}

// The first recovery has read one object in part and another in full when the copy goes and comes
// back within the epoch; its answers come when the second recovery is at the same point.
TEST_CASE("what an earlier recovery has on its way is not counted for the next one") {
  Rig rig(quiet());
  REQUIRE(rig.write(1, 11).ok());
  rig.world.run_for(milliseconds(500));
  rig.end_server(rig.servers[1], Death::process);
  for (uint64_t block = 0; block < limits::blocks_per_object; ++block)
    REQUIRE(rig.write(block, 1000 + block).ok());
  REQUIRE(rig.write(limits::blocks_per_object, 5000).ok());
  rig.world.run_for(milliseconds(500));
  const auto joins = [&](uint64_t after) {
    const map::DiskSet& row = rig.control.map().sets.at({rig.group, 0});
    return row.revision > after && row.recovering == std::vector<DiskId>{2};
  };
  rig.world.disks().stall(rig.servers[0].paths[0], milliseconds(500));
  for (int i = 0; i < 2; ++i) {
    const uint64_t revision = rig.control.map().sets.at({rig.group, 0}).revision;
    rig.start_server(rig.servers[1]);
    REQUIRE(rig.world.run_until([&] { return joins(revision); }, seconds(5)));
    rig.world.run_for(milliseconds(50));
    if (i == 0) rig.end_server(rig.servers[1], Death::process);
  }
  rig.heal();
  rig.same_copies();
}

TEST_CASE("a disk that was given up stays down when its server registers again") {
  Rig rig(quiet());
  REQUIRE(rig.write(1, 11).ok());
  rig.world.disks().fail_next(rig.servers[0].paths[0], io::SimDisks::Kind::write);
  REQUIRE(rig.write(1, 12).ok());
  const auto& disks = rig.control.map().disks;
  const DiskId failed = rig.servers[0].disks[0];
  REQUIRE(rig.world.run_until([&] { return !disks.at(failed).up; }, seconds(5)));
  // Put out, and taken in again: the same process all the time.
  rig.control.set_reachable(rig.servers[0].id, false);
  rig.world.run_for(seconds(5));
  rig.control.set_reachable(rig.servers[0].id, true);
  rig.world.run_for(seconds(2));
  CHECK_FALSE(disks.at(failed).up);
  CHECK_FALSE(disks.at(failed).failure.empty());
  REQUIRE(rig.write(1, 13).ok());
  CHECK_EQ(*rig.read(1), 13);
}

// A failed store notes no decisions any more. A copy has missed a write that is durable on two, is
// put out, and comes back as these two decide it; the disk of the primary fails at that moment.
TEST_CASE("a primary whose own disk has failed brings no copy up to date") {
  io::Duration until_put_out = seconds(5);
  for (int step = 0; step <= 80; ++step) {
    CAPTURE(step);
    ClusterOptions options = quiet();
    options.sets = 2;
    options.control.slow_change = 0;
    Rig rig(options);
    REQUIRE(rig.write(1, 11).ok());
    rig.world.run_for(milliseconds(500));
    const auto row = [&]() -> const map::DiskSet& {
      const map::Map& map = rig.control.map();
      return map.sets.at(map::set_of(map, map.volumes.at(rig.clients[0].volume_id), 0));
    };
    const map::DiskSet first = row();
    ServerProcess& primary = rig.servers[first.acting.front() - 1u];
    ServerProcess& late = rig.servers[first.acting.back() - 1u];
    const io::Instant begin = rig.world.now();
    rig.world.net().clog(primary.ip, late.ip, until_put_out);
    Buffer data = Buffer::allocate(limits::block_bytes);
    encode_stamp(data.mutable_bytes(), {rig.clients[0].volume_id, 1}, 12);
    bool done = false;
    rig.clients[0].volume->write(limits::block_bytes, data.bytes(), [&](const Status& status) {
      CHECK(status.ok());
      done = true;
    });
    REQUIRE(rig.world.run_until([&] { return row().epoch != first.epoch; }, seconds(5)));
    if (step == 0) {
      until_put_out = rig.world.now() - begin + std::chrono::microseconds(300);
      continue;
    }
    io::SimDiskOptions failing = rig.options.world.disk;
    failing.flush_error = 1;
    rig.world.at(std::chrono::microseconds(100 * step),
                 [&] { rig.world.disks().set_options(primary.paths[0], failing); });
    // The other set lets the disk flush all the time.
    for (int i = 0; i < 100; ++i) {
      rig.clients[0].volume->write((limits::blocks_per_object + i) * limits::block_bytes,
                                   data.bytes(), [](const Status&) {});
      rig.world.run_for(std::chrono::microseconds(100));
    }
    rig.world.run_for(seconds(2));
    rig.end_server(primary, Death::process);
    rig.world.disks().set_options(primary.paths[0], rig.options.world.disk);
    rig.heal();
    REQUIRE(rig.world.run_until([&] { return done; }, seconds(10)));
    CHECK_EQ(*rig.read(1), 12);
    rig.same_copies();
  }
}

TEST_CASE("below min_copies writes wait and reads go on") {
  Rig rig(quiet());
  REQUIRE(rig.write(1, 11).ok());
  rig.world.run_for(milliseconds(100));
  rig.end_server(rig.servers[1], Death::process);
  rig.end_server(rig.servers[2], Death::process);
  rig.world.run_for(seconds(1));
  CHECK_EQ(*rig.read(1), 11);
  Buffer data = Buffer::zeroed(limits::block_bytes);
  encode_stamp(data.mutable_bytes(), {rig.clients[0].volume_id, 1}, 12);
  bool done = false;
  rig.clients[0].volume->write(limits::block_bytes, data.bytes(),
                               [&](Status status) { done = status.ok(); });
  rig.world.run_for(seconds(3));
  CHECK_FALSE(done);
  CHECK_EQ(*rig.read(1), 11);
  const auto reports = rig.servers[0].server->make_report().sets;
  REQUIRE_EQ(reports.size(), 1);
  CHECK_EQ(reports[0].waits_for, "min_copies: disks 2, 3 are missing");
  rig.start_server(rig.servers[2]);
  CHECK(rig.world.run_until([&] { return done; }, seconds(10)));
  CHECK_EQ(*rig.read(1), 12);
}

// A retry that is applied a second time must find what it wrote the first time.
TEST_CASE("of two open writes of a client to one block the second is not sent before the answer") {
  Rig rig(quiet());
  rig.world.disks().stall(rig.servers[2].paths[0], milliseconds(500));
  const uint64_t blocks[] = {1, 1, 2};
  Buffer data[3];
  size_t done = 0;
  for (uint64_t i = 0; i < 3; ++i) {
    data[i] = Buffer::allocate(limits::block_bytes);
    encode_stamp(data[i].mutable_bytes(), {rig.clients[0].volume_id, blocks[i]}, 11 + i);
    rig.clients[0].volume->write(blocks[i] * limits::block_bytes, data[i].bytes(),
                                 [&done](const Status& status) { done += status.ok(); });
  }
  rig.world.run_for(milliseconds(50));
  const store::Store* const store = rig.servers[0].server->store(rig.servers[0].disks[0]);
  CHECK_EQ(store->undecided({rig.group, 0}).size(), 2);
  CHECK_EQ(done, 0);
  CHECK(rig.world.run_until([&] { return done == 3; }, seconds(10)));
  CHECK_EQ(*rig.read(1), 12);
  CHECK_EQ(*rig.read(2), 13);
}

TEST_CASE("a write into what a volume has grown by waits for a server that has not heard of it") {
  Rig rig(quiet());
  REQUIRE(rig.write(1, 11).ok());
  const VolumeId volume = rig.clients[0].volume_id;
  const uint64_t blocks = rig.options.volume_bytes / limits::block_bytes;
  rig.control.set_reachable(rig.servers[0].id, false);
  rig.control.resize_volume(volume, 2 * rig.options.volume_bytes);
  REQUIRE(rig.world.run_until(
      [&] { return rig.clients[0].volume->size_bytes() == 2 * rig.options.volume_bytes; },
      seconds(5)));
  rig.world.at(milliseconds(100), [&] { rig.control.set_reachable(rig.servers[0].id, true); });
  const Status status = rig.write(blocks + 1, 12);
  REQUIRE_EQ(status.ok() ? "" : status.error().message(), "");
  CHECK_EQ(*rig.read(blocks + 1), 12);
  // Smaller again: a request beyond the end is an error, not asked again for ever.
  rig.control.set_reachable(rig.servers[0].id, false);
  rig.world.run_for(milliseconds(50));
  Status late;
  bool done = false;
  Buffer data = Buffer::zeroed(limits::block_bytes);
  rig.clients[0].volume->write((blocks + 1) * limits::block_bytes, data.bytes(),
                               [&](Status outcome) { late = std::move(outcome), done = true; });
  rig.control.resize_volume(volume, rig.options.volume_bytes);
  REQUIRE(rig.world.run_until([&] { return done; }, seconds(20)));
}

TEST_CASE("a disk that comes back empty is filled again, not believed") {
  Rig rig(quiet());
  for (uint64_t block = 0; block < 8; ++block) REQUIRE(rig.write(block, 100 + block).ok());
  rig.world.run_for(milliseconds(500));
  // Down and back before anything was written in between: by the map alone it would act at once.
  ServerProcess& process = rig.servers[0];
  rig.end_server(rig.servers[1], Death::process);
  rig.end_server(rig.servers[2], Death::process);
  rig.world.run_for(milliseconds(200));
  rig.end_server(process, Death::process);
  rig.world.disks().wipe(process.paths[0]);
  rig.format_disk(process, 0);
  rig.start_server(rig.servers[1]);
  rig.start_server(rig.servers[2]);
  rig.world.run_for(milliseconds(300));
  rig.heal();
  rig.same_copies();
  for (uint64_t block = 0; block < 8; ++block) CHECK_EQ(*rig.read(block), 100 + block);
}

TEST_CASE("an empty disk that leads beside one with content is not taken for a new copy") {
  Rig rig(quiet());
  for (uint64_t block = 0; block < 8; ++block) REQUIRE(rig.write(block, 100 + block).ok());
  rig.world.run_for(milliseconds(500));
  for (auto& process : rig.servers) rig.end_server(process, Death::process);
  rig.world.disks().wipe(rig.servers[0].paths[0]);
  rig.format_disk(rig.servers[0], 0);
  rig.start_server(rig.servers[1]);
  rig.world.run_for(milliseconds(500));
  rig.start_server(rig.servers[0]);
  rig.world.run_for(milliseconds(500));
  rig.heal();
  rig.same_copies();
  for (uint64_t block = 0; block < 8; ++block) CHECK_EQ(*rig.read(block), 100 + block);
}

TEST_CASE("a volume that was deleted leaves every disk, also one that was away") {
  Rig rig(quiet());
  REQUIRE(rig.write(1, 11).ok());
  rig.world.run_for(milliseconds(100));
  rig.end_server(rig.servers[1], Death::process);
  rig.control.detach(rig.clients[0].volume_id, rig.clients[0].id);
  rig.control.remove_volume(rig.clients[0].volume_id);
  rig.world.run_for(seconds(2));
  rig.heal();
  const auto gone = [&] {
    return std::all_of(rig.servers.begin(), rig.servers.end(), [](auto& process) {
      return process.server->store(process.disks[0])->volumes().empty();
    });
  };
  CHECK(rig.world.run_until(gone, seconds(10)));
}

TEST_CASE("a client whose volume was taken away is told so, and writes no more") {
  Rig rig(quiet());
  REQUIRE(rig.write(1, 11).ok());
  const uint64_t before = rig.control.map().index;
  rig.control.attach(rig.clients[0].volume_id, 99, map::Rights::read_write);
  CHECK(rig.world.run_until([&] { return rig.control.in_force(before + 1); }, seconds(5)));
  const Status status = rig.write(1, 12);
  REQUIRE_FALSE(status.ok());
  CHECK_EQ(status.error().code(), Code::closed);
  bool told = false;  // also who asks only now (sp-sim seed 110000599)
  rig.clients[0].volume->on_fenced([&told] { told = true; });
  CHECK_FALSE(told);
  rig.world.run_for(milliseconds(1));
  CHECK(told);
}

TEST_CASE("a disk that a set has left is cleared") {
  Rig rig(quiet(4));
  REQUIRE(rig.write(1, 11).ok());
  rig.control.retarget({rig.group, 0}, {2, 3, 4});
  REQUIRE(rig.world.run_until([&] { return rig.settled(); }, seconds(30)));
  CHECK_EQ(*rig.read(1), 11);
  REQUIRE(rig.write(1, 12).ok());
  const auto cleared = [&] { return rig.servers[0].server->store(1)->sets().empty(); };
  CHECK(rig.world.run_until(cleared, seconds(10)));
  rig.same_copies();
}

// It promised the epoch, which goes on: who recovers is no matter of epochs.
TEST_CASE("a disk that leaves a set before it has recovered is cleared, also when it was away") {
  for (const bool away : {false, true}) {
    CAPTURE(away);
    Rig rig(quiet(4));
    for (uint64_t block = 0; block < 64; ++block) REQUIRE(rig.write(block, 100 + block).ok());
    const SetId set{rig.group, 0};
    const uint32_t epoch = rig.control.map().sets.at(set).epoch;
    const auto sets_held = [&]() -> std::optional<size_t> {
      const store::Store* const store = rig.servers[3].server->store(4);
      return store == nullptr ? std::nullopt : std::optional(store->sets().size());
    };
    rig.control.retarget(set, {1, 2, 4});
    REQUIRE(rig.world.run_until([&] { return sets_held() == 1; }, seconds(10)));
    if (away) rig.end_server(rig.servers[3], Death::process);
    if (away) rig.world.run_for(milliseconds(500));
    rig.control.retarget(set, {1, 2, 3});
    if (away) rig.world.run_for(seconds(4));
    rig.heal();
    CHECK_EQ(rig.control.map().sets.at(set).epoch, epoch);
    CHECK(rig.world.run_until([&] { return sets_held() == 0; }, seconds(10)));
    rig.same_copies();
  }
}

// It may act at any moment from then on, and alone show what it has.
TEST_CASE("a write waits for a copy whose promotion is asked for, before it is agreed") {
  ClusterOptions options = quiet();
  options.control.delay_mean = milliseconds(30);
  options.control.slow_change = 0;
  options.world.log_least = LogLevel::debug;
  Rig rig(options);
  REQUIRE(rig.write(1, 11).ok());
  rig.end_server(rig.servers[2], Death::process);
  const auto& row = rig.control.map().sets.begin()->second;
  REQUIRE(rig.world.run_until([&] { return row.acting.size() == 2; }, seconds(10)));
  REQUIRE(rig.write(1, 12).ok());
  rig.log.clear();
  rig.start_server(rig.servers[2]);
  const auto asked_for = [&] {
    return std::any_of(rig.log.begin(), rig.log.end(), [](const std::string& line) {
      return line.find("copy is complete") != std::string::npos;
    });
  };
  REQUIRE(rig.world.run_until(asked_for, seconds(10)));
  REQUIRE_EQ(row.acting.size(), 2);
  rig.world.net().set_link(rig.servers[0].ip, rig.servers[2].ip, false);
  Buffer data = Buffer::allocate(limits::block_bytes);
  encode_stamp(data.mutable_bytes(), {rig.clients[0].volume_id, 1}, 13);
  bool answered = false;
  rig.clients[0].volume->write(limits::block_bytes, data.bytes(),
                               [&answered](const Status&) { answered = true; });
  REQUIRE(rig.world.run_until([&] { return row.acting.size() == 3; }, seconds(10)));
  CHECK_FALSE(answered);
  rig.world.net().set_link(rig.servers[0].ip, rig.servers[2].ip, true);
  REQUIRE(rig.world.run_until([&] { return answered; }, seconds(10)));
  CHECK_EQ(rig.content(1), 13);
}

// Its server answers for the other disk, and all that is left to recover is a write that waits for
// another copy.
TEST_CASE("a recovering copy whose disk hangs does not hold up the writes of its set") {
  ClusterOptions options = quiet(4);
  options.disks_per_server = 2;
  options.sets = 8;
  options.volume_bytes = 256u << 20;
  Rig rig(options);
  const SetId set{rig.group, 0}, beside{rig.group, 4};
  const auto first_block = [&](SetId wanted) {
    const map::Volume& volume = rig.control.map().volumes.at(rig.clients[0].volume_id);
    uint32_t object = 0;
    while (!(map::set_of(rig.control.map(), volume, object) == wanted)) ++object;
    return uint64_t{object} * limits::blocks_per_object;
  };
  rig.control.retarget(beside, {2, 4, 8});
  REQUIRE(rig.world.run_until([&] { return rig.settled(); }, seconds(10)));
  rig.world.disks().stall(rig.servers[1].paths[0], milliseconds(900));
  Buffer data = Buffer::allocate(limits::block_bytes);
  encode_stamp(data.mutable_bytes(), {rig.clients[0].volume_id, first_block(set)}, 11);
  bool answered = false;
  rig.clients[0].volume->write(first_block(set) * limits::block_bytes, data.bytes(),
                               [&answered](const Status& status) { answered = status.ok(); });
  rig.control.retarget(set, {1, 3, 7});
  const auto begun = [&] {
    const store::Store* const store = rig.servers[3].server->store(7);
    return store != nullptr && store->set_record(set).has_value();
  };
  REQUIRE(rig.world.run_until(begun, seconds(10)));
  rig.world.disks().stall(rig.servers[3].paths[0], seconds(60));
  for (uint64_t i = 0; i < 20 && !answered; ++i) {
    REQUIRE(rig.write(first_block(beside), 100 + i).ok());
    rig.world.run_for(milliseconds(200));
  }
  CHECK(answered);
  CHECK_EQ(rig.control.map().sets.at(set).recovering, std::vector<DiskId>{7});
  CHECK_EQ(rig.content(first_block(set)), 11);
}

}  // namespace
}  // namespace sp::sim
