// What happens at the bounds of queues and memories of the data path, made small.
#include "rig.h"

#include <deque>

namespace sp::sim {
namespace {

struct OpenWrite {
  Buffer data;
  bool done = false;
  Status status;
};

OpenWrite& start_write(Rig& rig, std::deque<OpenWrite>& open, uint64_t block, uint64_t stamp) {
  OpenWrite& write = open.emplace_back();
  write.data = Buffer::allocate(limits::block_bytes);
  encode_stamp(write.data.mutable_bytes(), {rig.clients[0].volume_id, block}, stamp);
  rig.clients[0].volume->write(
      block * limits::block_bytes, write.data.bytes(),
      [&write](Status status) { write.status = std::move(status), write.done = true; });
  return write;
}

}  // namespace

TEST_CASE("a set that waits does not make the others of the volume refuse writes") {
  ClusterOptions options = quiet(6);
  options.sets = 16;
  options.copies = options.min_copies = 2;
  options.volume_bytes = 64u << 20;
  options.serve.operations_per_attachment_max = 4;
  Rig rig(options);
  const map::Map& map = rig.control.map();
  const map::Volume& volume = map.volumes.at(rig.clients[0].volume_id);
  const auto uses = [&](uint32_t object, DiskId disk) {
    const auto& base = map.sets.at(map::set_of(map, volume, object)).base;
    return std::find(base.begin(), base.end(), disk) != base.end();
  };
  const DiskId gone = rig.servers[0].disks[0];
  uint32_t waits = 0, works = 0;
  while (!uses(waits, gone)) ++waits;
  while (uses(works, gone)) ++works;
  REQUIRE(uint64_t{std::max(waits, works)} * limits::object_bytes < options.volume_bytes);
  rig.end_server(rig.servers[0], Death::power);
  std::deque<OpenWrite> open;
  const OpenWrite& stuck = start_write(rig, open, uint64_t{waits} * limits::blocks_per_object, 1);
  for (uint64_t i = 0; i < 20; ++i)
    REQUIRE(rig.write(uint64_t{works} * limits::blocks_per_object + i % 3, 100 + i).ok());
  CHECK_FALSE(stuck.done);
  rig.heal();
  REQUIRE(rig.world.run_until([&] { return stuck.done; }, seconds(30)));
  CHECK(stuck.status.ok());
}

TEST_CASE("many writes at a time end though a primary remembers but one") {
  ClusterOptions options = quiet();
  options.serve.operations_per_attachment_max = 1;
  options.serve.undecided_max = 3;
  Rig rig(options);
  std::deque<OpenWrite> open;
  for (uint64_t i = 0; i < 40; ++i) start_write(rig, open, i, 1 + i);
  REQUIRE(rig.world.run_until(
      [&] { return std::all_of(open.begin(), open.end(), [](const auto& w) { return w.done; }); },
      seconds(60)));
  for (uint64_t i = 0; i < 40; ++i) CHECK(rig.read(i).value() == 1 + i);
}

// Of a window of one, a write that is refused as the primary remembers too many stood before the
// oldest one, without whose answer nothing is forgotten (sp-sim seed 700230).
TEST_CASE("a write that is refused does not keep the oldest one from being sent") {
  ClusterOptions options = quiet();
  options.serve.operations_per_attachment_max = 4;
  options.client.pieces_started_max = 1;
  Rig rig(options);
  std::deque<OpenWrite> open;
  start_write(rig, open, 0, 1);
  start_write(rig, open, 0, 2);  // has to wait for the one before, and others are started meanwhile
  for (uint64_t i = 1; i < 20; ++i) start_write(rig, open, i, 2 + i);
  start_write(rig, open, 0, 100);
  REQUIRE(rig.world.run_until(
      [&] { return std::all_of(open.begin(), open.end(), [](const auto& w) { return w.done; }); },
      seconds(30)));
  CHECK(rig.read(0).value() == 100);
}

// Discards every other block from `first` on, so that each is remembered by itself, as many as
// should take so much of the log; the most that they took.
uint64_t discard_blocks(Rig& rig, uint64_t first, uint64_t bytes) {
  const store::Store* const store = rig.servers[0].server->store(rig.servers[0].disks[0]);
  const uint64_t blocks = rig.clients[0].volume->size_bytes() / limits::block_bytes;
  uint64_t most = 0;
  for (uint64_t i = 0; 16 * i < bytes; ++i) {
    bool done = false;
    rig.clients[0].volume->discard((first + 2 * i) % blocks * limits::block_bytes,
                                   limits::block_bytes, [&done](const Status& status) {
                                     CHECK(status.ok());
                                     done = true;
                                   });
    REQUIRE(rig.world.run_until([&] { return done; }, seconds(30)));
    most = std::max(most, store->space().tombstone_bytes);
  }
  return most;
}

// They are said again each time that the log goes round: at last nothing else had room in it.
TEST_CASE("discards that a copy has missed do not fill the log, and the copy is right afterwards") {
  ClusterOptions options = quiet();
  options.volume_bytes = 256u << 20;
  options.log_bytes = 192 * 4096;
  Rig rig(options);
  for (uint64_t block = 0; block < 8; ++block) REQUIRE(rig.write(block, 10 + block).ok());
  rig.world.run_for(seconds(1));
  rig.end_server(rig.servers[2], Death::power);
  rig.world.run_for(seconds(2));
  const store::Store* const store = rig.servers[0].server->store(rig.servers[0].disks[0]);
  const uint64_t log_bytes = store->space().log_bytes;
  const uint64_t most = discard_blocks(rig, 0, log_bytes);
  CHECK_GT(most, log_bytes / limits::tombstones_log_divisor);
  CHECK_LT(most, log_bytes / 2);
  REQUIRE(rig.write(0, 20).ok());
  rig.heal();
  rig.same_copies();
  CHECK_EQ(rig.content(0), 20);
  for (uint64_t block = 1; block < 8; ++block)
    CHECK_EQ(rig.content(block), block % 2 == 0 ? 0 : 10 + block);
}

TEST_CASE(
    "a copy that is being filled begins anew when discards that it has missed are forgotten") {
  ClusterOptions options = quiet();
  options.volume_bytes = 256u << 20;
  options.log_bytes = 192 * 4096;
  options.serve.recovery_objects = options.serve.recovery_blocks = 1;
  Rig rig(options);
  const uint64_t discarded = 5 * limits::blocks_per_object;
  for (uint64_t block = 0; block < 300; ++block) REQUIRE(rig.write(block, 10 + block).ok());
  REQUIRE(rig.write(discarded, 1).ok());
  rig.world.run_for(seconds(1));
  rig.end_server(rig.servers[2], Death::power);
  rig.world.run_for(seconds(2));
  for (uint64_t block = 0; block < 300; ++block) REQUIRE(rig.write(block, 400 + block).ok());
  const store::Store* const store = rig.servers[0].server->store(rig.servers[0].disks[0]);
  const uint64_t bound = store->space().log_bytes / limits::tombstones_log_divisor;
  discard_blocks(rig, discarded, bound - 12000);
  REQUIRE_LT(store->space().tombstone_bytes, bound);
  REQUIRE_GT(store->space().tombstone_bytes, bound / 2);
  const std::string from = rig.servers[0].ip, to = rig.servers[2].ip;
  rig.world.net().set_extra_delay(from, to, milliseconds(20), {});
  rig.start_server(rig.servers[2]);
  REQUIRE(rig.world.run_until([&] { return rig.sum(&serve::Counters::bytes_recovered) > 0; },
                              seconds(30)));
  discard_blocks(rig, 40 * limits::blocks_per_object, 16000);
  REQUIRE(rig.world.run_until([&] { return store->space().tombstone_bytes < bound; }, seconds(3)));
  CHECK_EQ(rig.sum(&serve::Counters::promotions), 0);
  rig.world.net().set_extra_delay(from, to, {}, {});
  rig.heal();
  rig.same_copies();
  CHECK_EQ(rig.content(discarded), 0);
  CHECK_EQ(rig.content(299), 699);
}

}  // namespace sp::sim
