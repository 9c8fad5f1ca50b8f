// Damage: flipped bytes anywhere are found or harmless, never served; what a torn last round may
// hide, and what it may not.
#include <doctest/doctest.h>

#include "crash/store/store_rig.h"
#include "store/check.h"
#include "store/log_page.h"

using namespace sp;
using namespace sp::test;

namespace {

constexpr SetId the_set{1, 0};
constexpr ObjectId the_object{9, 4};

// Ten blocks, decided; some through the table's homes, some still in the log only.
FakeMedium used_disk(uint64_t slots = 600) {
  FakeMedium medium = StoreRig::formatted(small_layout(128, slots));
  StoreRig rig(medium);
  REQUIRE(rig.open().ok());
  for (uint64_t n = 1; n <= 10; n++) {
    REQUIRE(rig.write(the_object, static_cast<uint16_t>(n), 1, Version(1, n), n).ok());
    rig.store->decide(the_set, Version(1, n));
    if (n == 3 || n == 5) REQUIRE(rig.checkpoint().ok());
  }
  rig.settle();
  medium.settle();
  return medium;
}

store::Report check_of(FakeMedium& medium, Status& status) {
  StoreRig rig(medium);
  store::Report report;
  status = rig.check(report);
  return report;
}

// Never wrong content: each block reads as written, or says that it is damaged, or the whole disk
// does.
enum class Verdict { whole, block_damaged, disk_damaged };
Verdict verdict_of(FakeMedium& medium) {
  StoreRig rig(medium);
  const Status opened = rig.open();
  if (!opened.ok()) {
    CHECK((opened.error().code() == Code::damaged || opened.error().code() == Code::not_found));
    return Verdict::disk_damaged;
  }
  Verdict verdict = Verdict::whole;
  rig.store->decide(
      the_set,
      Version(
          1,
          10));  // the newest decision is remembered lazily: it may be gone with the last log page
  for (uint64_t n = 1; n <= 10; n++) {
    auto read = rig.read(the_object, static_cast<uint16_t>(n));
    if (!read.status.ok()) {
      CHECK(read.status.error().code() == Code::damaged);
      verdict = Verdict::block_damaged;
    } else {
      CHECK(read.holds(n));
    }
  }
  return verdict;
}

}  // namespace

TEST_CASE("a flipped byte in any region is found or harmless, and never served") {
  const FakeMedium good = used_disk();
  const disk::Layout layout = small_layout();
  FakeMedium copy = good;
  REQUIRE(verdict_of(copy) == Verdict::whole);
  const auto flip = [&](uint64_t offset) {
    FakeMedium medium = good;
    medium.bytes[offset] ^= std::byte{0x10};
    CAPTURE(offset);
    Status status;
    const auto report = check_of(medium, status);
    const Verdict verdict = verdict_of(medium);
    if (verdict != Verdict::whole && status.ok()) CHECK(report.worst() == store::Severity::damage);
    return verdict;
  };
  CHECK(flip(100) == Verdict::whole);  // one superblock of two
  CHECK(flip(layout.device_bytes - 4000) == Verdict::whole);
  size_t found = 0;
  for (uint64_t offset = layout.log_offset; offset < layout.data_offset; offset += 1000)
    found += flip(offset) != Verdict::whole;
  CHECK(found > 0);
  size_t damaged_blocks = 0;
  for (uint64_t slot = 0; slot < 12; slot++)
    damaged_blocks += flip(layout.data_offset + slot * 4096 + 17) == Verdict::block_damaged;
  CHECK(damaged_blocks == 10);
}

TEST_CASE(
    "a whole block in the place of another is damage, though it fits a checksum of this disk") {
  const FakeMedium good = used_disk();
  const auto place_of = [&](FakeMedium& medium, uint16_t block) {
    StoreRig rig(medium);
    REQUIRE(rig.open().ok());
    const auto found = store::locate(*rig.store, the_object, block);
    REQUIRE(found.has_value());
    return static_cast<ptrdiff_t>(found->device_offset);
  };
  for (uint16_t other = 2; other <= 10; other++) {
    FakeMedium medium = good;
    const auto from = medium.bytes.begin() + place_of(medium, other);
    std::copy(from, from + 4096, medium.bytes.begin() + place_of(medium, 1));
    CAPTURE(other);
    CHECK(verdict_of(medium) == Verdict::block_damaged);
    StoreRig rig(medium);
    REQUIRE(rig.open().ok());
    CHECK(rig.read(the_object, 1).status.error().code() == Code::damaged);
    CHECK(rig.read(the_object, other).holds(other));
  }
}

TEST_CASE("a log page lost in the middle is damage, not the end of the log") {
  const FakeMedium good = used_disk();
  const disk::Layout layout = small_layout();
  size_t damaged = 0;
  for (uint64_t page = 0; page < 128; page++) {
    FakeMedium medium = good;
    std::fill_n(medium.bytes.begin() + static_cast<ptrdiff_t>(layout.log_offset + page * 4096),
                4096, std::byte{0});
    StoreRig rig(medium);
    const Status opened = rig.open();
    if (opened.ok()) {
      rig.store->decide(the_set, Version(1, 10));
      for (uint64_t n = 1; n <= 10; n++)
        CHECK(rig.read(the_object, static_cast<uint16_t>(n)).holds(n));
    } else {
      CHECK(opened.error().code() == Code::damaged);
      CHECK(opened.error().message().find("device offset") != std::string::npos);
      damaged++;
    }
  }
  CHECK(damaged >= 5);
}

TEST_CASE(
    "an old image of a table page in place of the newest is damage: its blocks were acknowledged") {
  FakeMedium medium = used_disk();
  const disk::Layout layout = small_layout();
  // Page 0 was written home twice: sequence 1 in the odd home, 2 in the even one. Losing the newer
  // write leaves the older valid.
  const uint64_t even = layout.table_offset;
  std::fill_n(medium.bytes.begin() + static_cast<ptrdiff_t>(even), 4096, std::byte{0});
  StoreRig rig(medium);
  const Status opened = rig.open();
  REQUIRE_FALSE(opened.ok());
  CHECK(opened.error().code() == Code::damaged);
  CHECK(opened.error().message().find("table page 0") != std::string::npos);
}

TEST_CASE("the older home of a table page may be lost without harm") {
  FakeMedium medium = used_disk();
  const disk::Layout layout = small_layout();
  const uint64_t odd = layout.table_offset + layout.table_bytes / 2;
  std::fill_n(medium.bytes.begin() + static_cast<ptrdiff_t>(odd), 4096, std::byte{0x55});
  CHECK(verdict_of(medium) == Verdict::whole);
  Status status;
  const auto report = check_of(medium, status);
  CHECK(report.worst() == store::Severity::note);
}

TEST_CASE(
    "a disk whose only whole superblock is that of another disk is not taken for an empty one") {
  FakeMedium medium = used_disk();
  auto superblock = disk::decode_superblock(Bytes(medium.bytes).first(4096));
  REQUIRE(superblock.ok());
  superblock->uuid += 1;
  const auto other = disk::encode_superblock(*superblock);
  std::fill_n(medium.bytes.begin(), 4096, std::byte{0});
  std::copy(other.begin(), other.end(), medium.bytes.end() - 4096);
  StoreRig rig(medium);
  const Status opened = rig.open();
  REQUIRE_FALSE(opened.ok());
  CHECK(opened.error().code() == Code::damaged);
}

// The blocks that are read with it were called damaged, too (sp-sim seeds 100, 149, 158).
TEST_CASE("the offline check names only the block whose sector cannot be read") {
  FakeMedium medium = used_disk();
  {
    StoreRig rig(medium);
    REQUIRE(rig.open().ok());
    const auto place = store::locate(*rig.store, the_object, 4);
    REQUIRE(place.has_value());
    medium.unreadable_from = place->device_offset + 512;
    medium.unreadable_to = place->device_offset + 1024;
  }
  Status status;
  const store::Report report = check_of(medium, status);
  REQUIRE(status.ok());
  CHECK(report.blocks_damaged == 1);
  REQUIRE(report.findings.size() == 1);
  CHECK(report.findings[0].place.starts_with("block 4 of object 4 of volume 9"));
}

TEST_CASE("both superblocks gone is no disk of ours; one of them is enough") {
  FakeMedium medium = used_disk();
  std::fill_n(medium.bytes.begin(), 4096, std::byte{0});
  CHECK(verdict_of(medium) == Verdict::whole);
  std::fill_n(medium.bytes.end() - 4096, 4096, std::byte{0});
  StoreRig rig(medium);
  CHECK(rig.open().error().code() == Code::not_found);
}

TEST_CASE("a last round whose data did not arrive is void as a whole") {
  FakeMedium medium = used_disk();
  {
    StoreRig rig(medium);
    REQUIRE(rig.open().ok());
    rig.settle();
    medium.settle();
    // Two writes in one round; the crash keeps the log page and the first block only.
    std::optional<Status> first, second;
    const Buffer a = block_of(50), b = block_of(51);
    const auto crc_a = crcs_of(a), crc_b = crcs_of(b);
    rig.store->prepare(StoreRig::record(store::WriteKind::data, the_object, 20, 1, Version(1, 50)),
                       crc_a, a, 0, [&](Status s) { first = std::move(s); });
    rig.store->prepare(StoreRig::record(store::WriteKind::data, the_object, 22, 1, Version(1, 51)),
                       crc_b, b, 0, [&](Status s) { second = std::move(s); });
    medium.stop_at = medium.operations + 2;
    rig.settle();
    CHECK_FALSE(first.has_value());
    REQUIRE(medium.unflushed.size() == 2);
  }
  auto writes = medium.unflushed;
  medium.unflushed.clear();
  medium.stop_at = ~uint64_t{0};
  for (const auto& write : writes) {
    if (write.offset < small_layout().table_offset)
      medium.apply(write, 0, write.bytes.size());
    else
      medium.apply(write, 0, 4096);  // the joined data write: its first block only
  }
  StoreRig rig(medium);
  REQUIRE(rig.open().ok());
  CHECK(rig.store->undecided(the_set).empty());
  rig.store->decide(the_set, Version(1, 60));
  CHECK(rig.read(the_object, 20).zero());
  CHECK(rig.read(the_object, 22).zero());
  CHECK(rig.read(the_object, 10).holds(10));
}

TEST_CASE("the slot of a replaced block is not written again before the decision is durable") {
  const disk::Layout layout = small_layout(128, 8);
  FakeMedium before = StoreRig::formatted(layout);
  {
    StoreRig rig(before);
    REQUIRE(rig.open().ok());
    for (uint16_t n = 0; n < 7; n++)
      REQUIRE(rig.write(the_object, n, 1, Version(1, n + 1u), n + 1u).ok());
    rig.store->decide(the_set, Version(1, 7));
    rig.settle();
    before.settle();
  }
  for (uint64_t stop = 0; stop < 24; stop++) {
    FakeMedium medium = before;
    {
      // Only one slot is spare: each overwrite has to wait for the one that the last one freed.
      StoreRig rig(medium);
      REQUIRE(rig.open().ok());
      medium.stop_at = medium.operations + stop;
      for (uint16_t n = 0; n < 4; n++) {
        if (!rig.write(the_object, n, 1, Version(1, 100u + n), 100u + n).ok()) break;
        rig.store->decide(the_set, Version(1, 100u + n));
      }
    }
    // The worst that the device may do: data arrive, log pages do not.
    for (const auto& write : medium.unflushed)
      if (write.offset >= layout.data_offset) medium.apply(write, 0, write.bytes.size());
    medium.unflushed.clear();
    medium.stop_at = ~uint64_t{0};
    StoreRig rig(medium);
    REQUIRE(rig.open().ok());
    CAPTURE(stop);
    for (uint16_t n = 0; n < 7; n++) {
      auto read = rig.read(the_object, n);
      REQUIRE(read.status.ok());
      CHECK((read.holds(n + 1u) || read.holds(100u + n)));
    }
  }
}

TEST_CASE("a last round of which only some log pages arrived is void as a whole") {
  FakeMedium medium = used_disk(2000);
  {
    StoreRig rig(medium);
    REQUIRE(rig.open().ok());
    rig.settle();
    medium.settle();
    const Buffer data = block_of(70, 100);
    const auto crcs = crcs_of(data);
    for (uint64_t n = 0; n < 8; n++)
      rig.store->prepare(
          StoreRig::record(store::WriteKind::data, the_object, static_cast<uint16_t>(100 + 100 * n),
                           100, Version(1, 70 + n)),
          crcs, data, 0, [](Status) {});
    medium.stop_at = medium.operations + 9;  // eight data writes, one of log pages
    rig.settle();
  }
  const FakeMedium at_crash = medium;
  for (size_t pages = 0; pages < 3; pages++) {
    medium = at_crash;
    medium.stop_at = ~uint64_t{0};
    bool log_seen = false;
    for (const auto& write : at_crash.unflushed) {
      const bool is_log = write.offset < small_layout(128, 2000).table_offset;
      if (is_log) REQUIRE(write.bytes.size() > 2 * 4096);
      log_seen |= is_log;
      medium.apply(write, 0, is_log ? pages * 4096 : write.bytes.size());
    }
    REQUIRE(log_seen);
    medium.unflushed.clear();
    StoreRig rig(medium);
    REQUIRE(rig.open().ok());
    CHECK(rig.store->undecided(the_set).empty());
    // What takes the void round's place is found, and not confused with it.
    REQUIRE(rig.write(the_object, 50, 1, Version(1, 90), 90).ok());
    rig.store->decide(the_set, Version(1, 90));
    rig.settle();
    medium.settle();
    StoreRig again(medium);
    REQUIRE(again.open().ok());
    CHECK(again.read(the_object, 50).holds(90));
    CHECK(again.read(the_object, 100).zero());
  }
}

TEST_CASE("a discarded block does not come back when its tombstone is forgotten") {
  FakeMedium medium = StoreRig::formatted(small_layout());
  {
    StoreRig rig(medium);
    REQUIRE(rig.open().ok());
    REQUIRE(rig.write(the_object, 1, 1, Version(1, 1), 1).ok());
    rig.store->decide(the_set, Version(1, 1));
    REQUIRE(rig.checkpoint().ok());  // the entry is at home now
    REQUIRE(rig.discard(the_object, 0, 10, Version(1, 2)).ok());
    rig.store->decide(the_set, Version(1, 2));
    rig.settle();
    rig.store->forget_tombstones(the_set, Version(1, 2));
    rig.settle();
    // Laps of the log by another object: the discard's record leaves it.
    for (uint64_t n = 3; n < 400; n++) {
      REQUIRE(rig.write({9, 5}, 1, 1, Version(1, n), n).ok());
      rig.store->decide(the_set, Version(1, n));
    }
    rig.settle();
    medium.settle();
  }
  StoreRig rig(medium);
  REQUIRE(rig.open().ok());
  CHECK(rig.read(the_object, 1).zero());
  CHECK(rig.object_state(the_object).blocks.empty());
  CHECK(rig.read({9, 5}, 1).holds(399));
}

TEST_CASE("a discarded block stays away although nothing else touches its table page any more") {
  FakeMedium medium = StoreRig::formatted(small_layout());
  {
    StoreRig rig(medium);
    REQUIRE(rig.open().ok());
    for (uint64_t n = 1; n <= 130; n++)
      REQUIRE(rig.write(the_object, static_cast<uint16_t>(n), 1, Version(1, n), n).ok());
    rig.store->decide(the_set, Version(1, 130));
    REQUIRE(rig.checkpoint().ok());
    REQUIRE(rig.discard(the_object, 1, 1, Version(1, 131)).ok());
    rig.store->decide(the_set, Version(1, 131));
    rig.settle();
    rig.store->forget_tombstones(the_set, Version(1, 131));
    rig.settle();
    // Two laps of the log, in slots of later pages.
    for (uint64_t n = 132; n < 432; n++) {
      REQUIRE(rig.write({9, 5}, 1, 1, Version(1, n), n).ok());
      rig.store->decide(the_set, Version(1, n));
    }
    rig.settle();
    medium.settle();
  }
  StoreRig rig(medium);
  REQUIRE(rig.open().ok());
  CHECK(rig.read(the_object, 1).zero());
  CHECK(rig.read(the_object, 2).holds(2));
}

TEST_CASE("what has no home but the log outlives many laps of it") {
  constexpr SetId quiet{2, 7};
  constexpr ObjectId quiet_object{8, 1};
  FakeMedium medium = StoreRig::formatted(small_layout());
  {
    StoreRig rig(medium);
    REQUIRE(rig.open().ok());
    REQUIRE(rig.put_set({quiet, 3, true, Version(2, 9)}).ok());
    REQUIRE(rig.write(quiet_object, 1, 1, Version(3, 1), 1, quiet).ok());
    rig.store->decide(quiet, Version(3, 1));
    REQUIRE(rig.discard(quiet_object, 0, 2, Version(3, 2), quiet).ok());
    rig.store->decide(quiet, Version(3, 2));
    REQUIRE(rig.write(quiet_object, 5, 1, Version(3, 3), 5, quiet).ok());
    for (uint64_t n = 1; n < 600; n++) {
      REQUIRE(rig.write(the_object, 1, 1, Version(1, n), n).ok());
      rig.store->decide(the_set, Version(1, n));
    }
    rig.settle();
    medium.settle();
  }
  StoreRig rig(medium);
  REQUIRE(rig.open().ok());
  CHECK(rig.store->set_record(quiet)->complete_to == Version(2, 9));
  CHECK(rig.store->decided_to(quiet) == Version(3, 2));
  CHECK(rig.store->operations(quiet).size() == 3);
  CHECK(rig.store->undecided(quiet).size() == 1);
  CHECK(rig.object_state(quiet_object).changed == Version(3, 2));
  // The tombstone still keeps an older write out.
  REQUIRE(rig.write(quiet_object, 1, 1, Version(3, 1), 1, quiet).ok());
  rig.store->decide(quiet, Version(3, 3));
  CHECK(rig.read(quiet_object, 1).zero());
  CHECK(rig.read(quiet_object, 5).holds(5));
}

TEST_CASE("an acknowledged write whose data rot later is not taken for a torn round") {
  FakeMedium medium = StoreRig::formatted(small_layout());
  {
    StoreRig rig(medium);
    REQUIRE(rig.open().ok());
    REQUIRE(rig.write(the_object, 1, 1, Version(1, 1), 1).ok());
    rig.settle();  // nothing decides it: only the round that follows proves it
    medium.settle();
  }
  medium.bytes[small_layout().data_offset + 100] ^= std::byte{1};
  StoreRig rig(medium);
  REQUIRE(rig.open().ok());
  CHECK(rig.store->undecided(the_set).size() == 1);
  rig.store->decide(the_set, Version(1, 1));
  CHECK(rig.read(the_object, 1).status.error().code() == Code::damaged);
}

TEST_CASE("an error of the device on a write or a flush ends the store") {
  for (uint64_t at = 0; at < 4; at++) {
    FakeMedium medium = used_disk();
    StoreRig rig(medium);
    REQUIRE(rig.open().ok());
    rig.settle();
    medium.fail_at = medium.operations + at;
    Status last;
    for (uint64_t n = 20; n < 24 && last.ok(); n++)
      last = rig.write(the_object, 1, 1, Version(1, n), n);
    REQUIRE_FALSE(last.ok());
    CHECK(last.error().code() == Code::io);
    CHECK(rig.store->failure().has_value());
    CHECK(rig.write(the_object, 1, 1, Version(1, 90), 90).error().code() == Code::io);
    CHECK(rig.put_set({the_set, 1, false, {}}).error().code() == Code::io);
    CHECK(rig.read(the_object, 1).status.error().code() == Code::io);
  }
}
