// Codecs: round trips, and bytes from anywhere.
#include <doctest/doctest.h>

#include <map>

#include "crash/store/store_rig.h"
#include "store/index.h"
#include "store/log_page.h"
#include "store/record_views.h"
#include "store/round.h"
#include "store/slot_table.h"
#include "store/state.h"

using namespace sp;
using namespace sp::store;

namespace {

disk::Superblock superblock() {
  disk::Superblock out;
  out.cluster = 11;
  out.uuid = 22;
  out.layout = test::small_layout();
  return out;
}

}  // namespace

TEST_CASE("records come back from a page as they were appended, and pages are filled one by one") {
  RoundBuilder builder(4);
  builder.begin(7);
  const SetVersionBody body{5, 6, 0};
  size_t count = 0;
  while (builder.pages_with(1, 24) <= 2) {
    CHECK(builder.append(RecordKind::decide, 0, {struct_bytes(body)}) ==
          7 + (count >= log_payload_bytes / 24 ? 1u : 0u));
    count++;
  }
  CHECK(count == 2 * (log_payload_bytes / 24));
  LogPageHeader header{};
  header.session = 1;
  header.tail_lsn = 3;
  header.stable_lsn = 7;
  builder.seal(superblock(), header);
  size_t read = 0;
  for (uint32_t page = 0; page < builder.pages(); page++) {
    const auto opened = open_log_page(builder.page_bytes_at(page, 1), superblock());
    REQUIRE(opened.ok());
    CHECK(opened->lsn == 7 + page);
    CHECK(opened->round_pages == 2);
    RecordCursor cursor(log_payload(builder.page_bytes_at(page, 1), *opened), {600, 5});
    Record record;
    while (cursor.next(record)) {
      CHECK(record.kind == RecordKind::decide);
      CHECK(record.head<SetVersionBody>().version == 5);
      read++;
    }
    CHECK_FALSE(cursor.failed());
  }
  CHECK(read == count);
}

TEST_CASE("every flipped bit of a log page is noticed") {
  RoundBuilder builder(1);
  builder.begin(1);
  builder.append(RecordKind::opened, 0, {struct_bytes(OpenedBody{1})});
  LogPageHeader header{};
  header.session = header.tail_lsn = header.stable_lsn = 1;
  builder.seal(superblock(), header);
  Buffer page = Buffer::copy_of(builder.page_bytes_at(0, 1));
  REQUIRE(open_log_page(page.bytes(), superblock()).ok());
  for (size_t bit = 0; bit < 4096 * 8; bit += 13) {
    page.data()[bit / 8] ^= std::byte(1u << bit % 8);
    CHECK_FALSE(open_log_page(page.bytes(), superblock()).ok());
    page.data()[bit / 8] ^= std::byte(1u << bit % 8);
  }
  auto other = superblock();
  other.uuid++;
  CHECK(open_log_page(page.bytes(), other).error().code() == Code::not_found);
}

TEST_CASE("a cursor over any bytes ends, and what it returns is within bounds") {
  io::SeededRandom random(3);
  const Bounds bounds{100, 3};
  std::vector<std::byte> bytes(log_payload_bytes);
  size_t returned = 0;
  for (int round = 0; round < 20000; round++) {
    random.fill(bytes);
    // Plausible headers, so that the checks behind them are reached.
    const auto body = static_cast<uint32_t>(random.below(200));
    const RecordHeader header{static_cast<uint8_t>(random.below(17)), 0,
                              static_cast<uint16_t>(padded(8 + body)), body};
    std::memcpy(bytes.data(), &header, sizeof header);
    if (random.below(2) == 0) {
      const uint32_t count = static_cast<uint32_t>(random.below(4));
      std::memcpy(bytes.data() + 8 + 20, &count, 4);
    }
    RecordCursor cursor(bytes, bounds);
    Record record;
    while (cursor.next(record)) {
      returned++;
      for_each_placed(record, [&](uint32_t slot, uint64_t) { CHECK(slot < bounds.slots); });
    }
  }
  CHECK(returned > 20);
}

TEST_CASE("a table page is known only in its own place, and every flipped bit is noticed") {
  SlotTable table(superblock(), table_bytes_max);
  table.claim(130, make_descriptor({9, 1}, {1, 2}, 7, Version(1, 5), 77));
  table.claim(131, make_descriptor({9, 1}, {1, 2}, 8, Version(1, 6), 78));
  table.commit(130, 4);
  CHECK(table.state(1).dirty_since == 4);
  CHECK(table.dirty().any_before(5));
  CHECK_FALSE(table.dirty().any_before(4));
  table.set_intent(1, 9, true);
  Buffer page = Buffer::allocate(4096);
  table.pages().fill(1, {});
  table.take_image(1, page.mutable_bytes());
  CHECK(table.state(1).dirty_since == 0);
  const auto home = open_table_home(page.bytes(), superblock(), 1);
  REQUIRE(home.ok());
  CHECK(home->sequence == 1);
  CHECK(home->at(130 - 126).version == Version(1, 5).packed());
  CHECK_FALSE(home->at(131 - 126).used());  // not committed
  CHECK(open_table_home(page.bytes(), superblock(), 2).error().code() == Code::damaged);
  for (size_t bit = 0; bit < 4096 * 8; bit += 11) {
    page.data()[bit / 8] ^= std::byte(1u << bit % 8);
    CHECK_FALSE(open_table_home(page.bytes(), superblock(), 1).ok());
    page.data()[bit / 8] ^= std::byte(1u << bit % 8);
  }
}

TEST_CASE("allocation gives every free slot once, adjacent where it can, and wraps around") {
  SlotTable table(superblock(), table_bytes_max);
  table.rebuild_free();
  CHECK(table.free_count() == 600);
  std::set<uint32_t> given;
  uint32_t last = 0;
  for (int i = 0; i < 600; i++) {
    const auto slot = table.allocate();
    REQUIRE(slot.has_value());
    CHECK(given.insert(*slot).second);
    if (i > 0) CHECK(*slot == last + 1);
    last = *slot;
  }
  CHECK_FALSE(table.allocate().has_value());
  for (const uint32_t slot : {5u, 64u, 599u}) table.release(slot);
  CHECK(table.allocate() == 5u);
  CHECK(table.allocate() == 64u);
  CHECK(table.allocate() == 599u);
  CHECK_FALSE(table.allocate().has_value());
}

TEST_CASE("discard ranges agree with a version per block") {
  io::SeededRandom random(4);
  for (int round = 0; round < 300; round++) {
    ChunkPool chunks;
    Object object({1, 1}, {1, 1}, chunks);
    std::map<uint32_t, Version> model;
    for (uint64_t n = 1; n < 20; n++) {
      const auto first = static_cast<uint32_t>(random.below(1000));
      const auto count =
          static_cast<uint32_t>(1 + random.below(std::min<uint64_t>(100, 1024 - first)));
      const Version version(1, 1 + random.below(30));
      object.add_range(first, count, version);
      for (uint32_t block = first; block < first + count; block++)
        model[block] = std::max(model[block], version);
    }
    for (uint32_t block = 0; block < 1024; block++) CHECK(object.discarded(block) == model[block]);
    object.forget_ranges(Version(1, 15));
    for (uint32_t block = 0; block < 1024; block++)
      CHECK(object.discarded(block) == (model[block] > Version(1, 15) ? model[block] : Version{}));
  }
}
