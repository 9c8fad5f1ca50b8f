// The saved index: that a disk opens by it, and that nothing depends on it.
#include <doctest/doctest.h>

#include "base/probe.h"
#include "crash/store/store_rig.h"
#include "store/accounts.h"
#include "store/record_views.h"
#include "store/saved_index.h"

using namespace sp;
using namespace sp::test;

namespace {

constexpr SetId set{1, 0};
constexpr uint32_t objects = 40;

ObjectId object(uint32_t index) { return {7, index}; }
Version v(uint64_t sequence) { return Version(1, sequence); }

uint64_t passed(std::string_view probe) { return probe_hits[probe_index(probe)]; }

// Objects of some blocks each, of which some were written again and some discarded, saved while
// `beside` runs after the first turn.
struct Disk {
  explicit Disk(uint64_t log_pages = 256) : medium(StoreRig::formatted(layout(log_pages))) {
    renew();
    REQUIRE(rig->open().ok());
    REQUIRE(rig->put_set({set, 3, true, v(1)}).ok());
    for (uint32_t i = 0; i < objects; i++) write(i, static_cast<uint16_t>(i % 9), 4);
    for (uint32_t i = 0; i < objects; i += 3) write(i, 5, 2);
    discard(4, 4, 2);
    discard(8, 0, 1024);
  }
  static disk::Layout layout(uint64_t log_pages) { return small_layout(log_pages, 1200, 2); }

  void renew() {
    rig = std::make_unique<StoreRig>(medium, 5);
    rig->options.index_turn_objects = 1;
  }
  void write(uint32_t index, uint16_t first, uint16_t count) {
    sequence++;
    REQUIRE(rig->write(object(index), first, count, v(sequence), sequence).ok());
    rig->store->decide(set, v(sequence));
    for (uint16_t i = 0; i < count; i++)
      expected[{index, static_cast<uint16_t>(first + i)}] = {sequence, i};
  }
  void discard(uint32_t index, uint16_t first, uint16_t count) {
    REQUIRE(rig->discard(object(index), first, count, v(++sequence)).ok());
    rig->store->decide(set, v(sequence));
    for (uint32_t i = first; i < uint32_t{first} + count; i++)
      expected.erase({index, static_cast<uint16_t>(i)});
  }
  // As a kill -9 leaves it. True: by the saved index.
  bool reopen() {
    medium.settle();
    renew();
    const uint64_t by_index = passed("store_opened_by_saved_index");
    const Status opened = rig->open();
    INFO((opened.ok() ? "" : opened.error().message()));
    REQUIRE(opened.ok());
    return passed("store_opened_by_saved_index") > by_index;
  }
  void check() {
    uint64_t wrong = 0;
    for (uint32_t index = 0; index < objects; index++)
      for (uint16_t block = 0; block < 16; block++) {
        const auto read = rig->read(object(index), block);
        const auto known = expected.find({index, block});
        if (!read.status.ok())
          wrong++;
        else if (known == expected.end())
          wrong += read.zero() ? 0 : 1;
        else
          wrong += read.holds(known->second.first, known->second.second) ? 0 : 1;
      }
    CHECK(wrong == 0);
    rig->settle();
    const store::Accounts accounts = store::accounts_of(*rig->store);
    CHECK(accounts.difference() == "");
    CHECK(accounts.decided == expected.size());
    CHECK(rig->store->set_record(set)->epoch == 3);
    CHECK(rig->store->decided_to(set) == v(sequence));
  }
  void save() { REQUIRE(rig->save_index().ok()); }

  FakeMedium medium;
  std::unique_ptr<StoreRig> rig;
  uint64_t sequence = 0;
  std::map<std::pair<uint32_t, uint16_t>, std::pair<uint64_t, uint16_t>> expected;  // stamp, part
};

}  // namespace

TEST_CASE("a disk opens by its saved index, with what was written since") {
  Disk disk;
  disk.save();
  CHECK(disk.reopen());
  disk.check();
  disk.save();
  disk.write(3, 1, 4);
  disk.write(39, 900, 3);
  disk.discard(6, 0, 20);
  disk.rig->settle();
  CHECK(disk.reopen());
  disk.check();
  CHECK(disk.reopen());
  disk.check();
}

TEST_CASE("a disk that was never told to saves its index when a quarter of the log is used") {
  Disk disk(128);
  for (uint32_t i = 0; i < 300; i++) disk.write(i % objects, static_cast<uint16_t>(i % 11), 2);
  disk.rig->settle();
  CHECK(disk.reopen());
  disk.check();
}

TEST_CASE("what changes while the index is saved is in it as it was, and then in the log") {
  for (uint32_t first : {0u, 20u, 39u}) {
    CAPTURE(first);
    Disk disk;
    const uint64_t before = passed("store_object_saved_before_change");
    std::optional<Status> saved;
    disk.rig->store->save_index([&saved](Status status) { saved = std::move(status); });
    for (uint32_t i = 0; i < objects && !saved; i++) {
      disk.write((first + i * 7) % objects, 3, 4);
      if (i % 5 == 0) disk.discard((first + i * 11) % objects, 2, 3);
    }
    REQUIRE(disk.rig->wait(saved).ok());
    CHECK(passed("store_object_saved_before_change") > before);
    disk.rig->settle();
    CHECK(disk.reopen());
    disk.check();
  }
}

TEST_CASE("undecided writes are in a saved index, and can be decided and dropped") {
  for (const bool drops : {false, true}) {
    Disk disk;
    REQUIRE(disk.rig->write(object(2), 7, 3, v(disk.sequence + 1), 77).ok());
    REQUIRE(disk.rig->discard(object(3), 0, 9, v(disk.sequence + 2)).ok());
    REQUIRE(disk.rig->write({7, 1000}, 7, 1, v(disk.sequence + 3), 78).ok());
    disk.save();
    CHECK(disk.reopen());
    REQUIRE(disk.rig->store->undecided(set).size() == 3);
    CHECK(disk.rig->store->undecided(set)[0].operation.number == v(disk.sequence + 1).packed());
    if (drops) {
      REQUIRE(disk.rig->drop(set).ok());
      disk.check();
    } else {
      disk.rig->store->decide(set, v(disk.sequence + 3));
      CHECK(disk.rig->read(object(2), 8).holds(77, 1));
      CHECK(disk.rig->read(object(3), 3).zero());
      CHECK(disk.rig->read({7, 1000}, 7).holds(78));
    }
    disk.rig->settle();
    CHECK(store::accounts_of(*disk.rig->store).difference() == "");
  }
}

TEST_CASE("operations of clients are known after an opening by the saved index") {
  Disk disk;
  const auto before = disk.rig->store->operations(set);
  REQUIRE(before.size() > objects);
  disk.save();
  CHECK(disk.reopen());
  CHECK(disk.rig->store->operations(set).size() == before.size());
}

TEST_CASE("a saved index of which any chunk is damaged is of no use, and nothing is lost") {
  Disk disk;
  disk.save();
  disk.write(1, 1, 1);
  disk.rig->settle();
  const disk::Layout layout = Disk::layout(256);
  const FakeMedium whole = disk.medium;
  int used = 0;
  for (uint64_t at = 0; at < layout.index_bytes; at += 1000) {
    disk.medium = whole;
    disk.medium.settle();
    disk.medium.bytes[layout.index_offset + at] ^= std::byte{0x40};
    used += disk.reopen() ? 1 : 0;
    disk.check();
  }
  CHECK(used > 0);  // in the other home, and behind its records
  for (uint32_t home : {0u, 1u}) {
    disk.medium = whole;
    disk.medium.settle();
    const auto from = disk.medium.bytes.begin() +
                      static_cast<long>(layout.index_offset + home * layout.index_bytes / 2);
    std::fill(from, from + static_cast<long>(layout.index_bytes / 2), std::byte{0});
    disk.reopen();
    disk.check();
  }
}

// The replay asks for the version of what the recovered block replaces; its slot has another
// owner in the table by now.
TEST_CASE("a table page of a later moment than the replay is not believed") {
  FakeMedium medium = StoreRig::formatted(small_layout(1024, 130, 1));
  StoreRig rig(medium);
  rig.options.table_bytes_max = 1;
  REQUIRE(rig.open().ok());
  REQUIRE(rig.write(object(1), 3, 1, v(5), 5).ok());
  rig.store->decide(set, v(5));
  rig.settle();
  REQUIRE(rig.save_index().ok());
  store::ObjectState source;
  source.object = object(1);
  source.set = set;
  source.changed = v(9);
  const Buffer data = block_of(9);
  source.blocks = {{3, v(9), crc64(data.bytes())}};
  REQUIRE(rig.apply(source, {3}, data).ok());
  for (uint64_t i = 10; i < 40; i++) {
    REQUIRE(rig.write(object(2), 0, 16, v(i), i).ok());
    rig.store->decide(set, v(i));
    rig.settle();
  }
  medium.settle();
  const uint64_t before = passed("store_saved_index_of_no_use");
  StoreRig again(medium);
  again.options.table_bytes_max = 1;
  REQUIRE(again.open().ok());
  CHECK(passed("store_saved_index_of_no_use") > before);
  CHECK(again.read(object(1), 3).holds(9));
  CHECK(again.read(object(2), 15).holds(39, 15));
}

TEST_CASE("a disk whose index does not fit its region goes on without") {
  FakeMedium medium = StoreRig::formatted(small_layout(128, 6000, 1));
  StoreRig rig(medium);
  REQUIRE(rig.open().ok());
  const uint64_t before = passed("store_index_too_large");
  for (uint32_t i = 0; i < 600; i++) {
    REQUIRE(rig.write(object(i), 1, 3, v(i + 1), i).ok());
    rig.store->decide(set, v(i + 1));
  }
  REQUIRE(rig.save_index().ok());
  CHECK(passed("store_index_too_large") > before);
  rig.settle();
  medium.settle();
  StoreRig again(medium);
  REQUIRE(again.open().ok());
  for (uint32_t i = 0; i < 600; i++) REQUIRE(again.read(object(i), 2).holds(i, 1));
}

TEST_CASE("a disk of an older minor has no place for a saved index") {
  FakeMedium medium = StoreRig::formatted(small_layout());
  StoreRig rig(medium);
  REQUIRE(rig.open().ok());
  REQUIRE(rig.write(object(1), 1, 3, v(1), 5).ok());
  rig.store->decide(set, v(1));
  REQUIRE(rig.save_index().ok());
  rig.settle();
  medium.settle();
  StoreRig again(medium);
  REQUIRE(again.open().ok());
  CHECK(again.read(object(1), 2).holds(5, 1));
}

TEST_CASE("a record of a saved index that breaks the grammar is refused") {
  const store::Bounds bounds{1000, 8};
  const auto refused = [&](store::SavedKind kind, Bytes body) {
    std::vector<std::byte> record(store::record_bytes({body}));
    store::encode_record(record, static_cast<store::RecordKind>(kind), 0, {body});
    store::SavedCursor cursor(record, bounds);
    store::SavedRecord out;
    return !cursor.next(out) && cursor.failed();
  };
  const store::SavedDirty dirty{5, 8, 0};
  CHECK(refused(store::SavedKind::dirty, struct_bytes(dirty)));
  const store::SavedEntry entry{{}, 1000, 0};
  CHECK(refused(store::SavedKind::entries, struct_bytes(entry)));
  CHECK(refused(store::SavedKind::lost, struct_bytes(entry)));
  CHECK(refused(store::SavedKind{99}, {}));
  store::SavedObject head{};
  CHECK(refused(store::SavedKind::object, struct_bytes(head)));  // no volume
  head.volume = 1;
  CHECK_FALSE(refused(store::SavedKind::object, struct_bytes(head)));
  head.runs = 1;
  CHECK(refused(store::SavedKind::object, struct_bytes(head)));  // a run is missing
  struct {
    store::SavedObject head;
    uint32_t run;
    uint32_t padding = 0;
  } with_run{head, 937};
  CHECK(refused(store::SavedKind::object, struct_bytes(with_run).first(sizeof head + 4)));
  with_run.run = 936;
  CHECK_FALSE(refused(store::SavedKind::object, struct_bytes(with_run).first(sizeof head + 4)));
  head.runs = 0;
  head.ranges = 1;
  struct {
    store::SavedObject head;
    store::RangeEntry range;
  } with_range{head, {1, 1020, 5, 0}};
  CHECK(refused(store::SavedKind::object, struct_bytes(with_range)));
  io::SeededRandom random(3);
  for (int i = 0; i < 20000; i++) {
    std::vector<std::byte> bytes(8 + random.below(200));
    for (std::byte& byte : bytes) byte = std::byte(random.number());
    bytes[0] = std::byte(64 + random.below(6));
    bytes[2] = std::byte(bytes.size() / 8 * 8);
    bytes[3] = bytes[5] = bytes[6] = bytes[7] = std::byte{0};
    bytes[4] = std::byte(bytes.size() / 8 * 8 - 8);
    store::SavedCursor cursor(bytes, bounds);
    store::SavedRecord out;
    while (cursor.next(out)) {
    }
  }
}
