// The slot table in memory: what may be dropped, what has to stay, and the small structures beside
// it, each against a model.
#include <doctest/doctest.h>

#include <cstring>
#include <map>

#include "io/random.h"
#include "store/index.h"
#include "store/lsn_index.h"
#include "store/slot_bits.h"
#include "store/slot_table.h"
#include "store/table_pages.h"

using namespace sp;
using namespace sp::store;

namespace {

constexpr uint32_t per_page = disk::slots_per_table_page;

Descriptor entry_of(uint64_t version, bool uncommitted = false) {
  Descriptor entry;
  entry.version = version;
  entry.block_and_flags = static_cast<uint16_t>(Descriptor::flag_used |
                                                (uncommitted ? Descriptor::flag_uncommitted : 0));
  return entry;
}

// What a home of a table page holds behind its header: versions that say the slot.
std::vector<std::byte> home_of(uint32_t page) {
  std::vector<std::byte> bytes(per_page * sizeof(Descriptor));
  for (uint32_t i = 0; i < per_page; i++) {
    const Descriptor entry = entry_of(1'000'000 + page * per_page + i);
    std::memcpy(bytes.data() + i * sizeof entry, &entry, sizeof entry);
  }
  return bytes;
}

TEST_CASE("a table page that was written home more than 2^32 times goes on counting") {
  disk::Superblock superblock;
  superblock.layout = *disk::plan_layout(64u << 20);
  SlotTable table(superblock, 1 << 20);
  constexpr uint64_t last = (uint64_t{1} << 32) - 1;
  table.load_page_state(3, last, 7);
  table.load_page_state(4, 5, 7);
  CHECK_EQ(table.durable_sequence(3), last);
  CHECK_EQ(table.next_sequence(3), last + 1);
  table.set_intent(3, 8, true);
  CHECK_EQ(table.state(3).sequence, last + 1);
  CHECK_EQ(table.durable_sequence(3), last);
  CHECK_EQ(table.state(4).sequence, 5);
  table.load_page_state(3, 9, 10);
  CHECK_EQ(table.state(3).sequence, 9);
}

}  // namespace

TEST_CASE("what the device lacks stays in memory, and the rest goes") {
  TablePages pages(10, 1);
  pages.put(5, entry_of(1, true));
  pages.put(per_page + 7, entry_of(2));
  pages.fill(2, home_of(2));
  for (int i = 0; i < 3; i++) pages.trim();
  REQUIRE(pages.find(5) != nullptr);
  REQUIRE(pages.find(per_page + 7) != nullptr);
  CHECK(pages.find(2 * per_page) == nullptr);
  CHECK_FALSE(pages.has_all());

  // An image takes what is committed, not what is put while it is written.
  pages.fill(1, home_of(1));
  pages.begin_image(1);
  pages.put(per_page + 8, entry_of(3));
  pages.end_image(1);
  for (int i = 0; i < 3; i++) pages.trim();
  REQUIRE(pages.find(per_page + 8) != nullptr);
  CHECK(pages.find(per_page + 8)->version == 3);
  pages.begin_image(1);
  pages.end_image(1);
  pages.begin_image(0);
  pages.end_image(0);
  for (int i = 0; i < 3; i++) pages.trim();
  CHECK(pages.find(per_page + 8) == nullptr);
  CHECK(pages.find(5) != nullptr);  // not committed
  pages.put(3 * per_page, entry_of(5));
  pages.fill(3, home_of(3));
  pages.begin_image(3);
  pages.put(3 * per_page, entry_of(6));  // the slot is another's by now
  pages.end_image(3);
  for (int i = 0; i < 3; i++) pages.trim();
  REQUIRE(pages.find(3 * per_page) != nullptr);
  CHECK(pages.find(3 * per_page)->version == 6);
  pages.begin_image(3);
  pages.end_image(3);
  pages.drop_fresh(5);
  for (int i = 0; i < 3; i++) pages.trim();
  CHECK(pages.find(5) == nullptr);
  CHECK(pages.bytes() == 0);
}

TEST_CASE("a pinned page stays, and one that is used comes before one that is not") {
  TablePages pages(10, 3 * 4200);
  for (uint32_t page = 0; page < 3; page++) pages.fill(page, home_of(page));
  pages.pin(0);
  pages.trim();  // takes the marks of use away where it has to
  for (uint32_t page = 3; page < 6; page++) {
    pages.fill(page, home_of(page));
    (void)pages.find(1 * per_page);
    pages.trim();
  }
  CHECK(pages.find(0) != nullptr);
  CHECK(pages.bytes() <= 3 * 4200);
  pages.unpin(0);
}

TEST_CASE("entries that are put survive the content of the device, at any number of them") {
  for (uint32_t put = 1; put <= per_page; put += 3) {
    TablePages pages(2, 1 << 20);
    for (uint32_t i = 0; i < put; i++) pages.put(i * 37 % per_page, entry_of(i + 1));
    pages.fill(0, home_of(0));
    REQUIRE(pages.is_whole(0));
    std::map<uint32_t, uint64_t> expected;
    for (uint32_t i = 0; i < per_page; i++) expected[i] = 1'000'000 + i;
    for (uint32_t i = 0; i < put; i++) expected[i * 37 % per_page] = i + 1;
    for (const auto& [slot, version] : expected) CHECK(pages.find(slot)->version == version);
  }
}

TEST_CASE("pages are written home to make room when fresh entries fill more than half of it") {
  TablePages pages(100, 20'000);
  uint32_t put = 0;
  while (!pages.wants_relief()) {
    REQUIRE(put < 100);
    pages.put(put * per_page, entry_of(1, put % 2 == 1));
    put++;
  }
  CHECK(put > 20);  // a page with one entry takes little
  const auto relief = pages.relief(1000);
  // The older half of those; every second one holds nothing that is committed.
  CHECK(relief.size() >= put / 4);
  CHECK(relief.size() <= put / 4 + 1);
  CHECK(relief.front() == 0);
  for (const uint32_t page : relief) {
    CHECK(page % 2 == 0);
    pages.begin_image(page);
    pages.end_image(page);
  }
  CHECK_FALSE(pages.wants_relief());
}

TEST_CASE("the oldest log page of each table page, against a map, over the end of 32 bits") {
  io::SeededRandom random(5);
  constexpr uint32_t count = 1000;
  LsnIndex index(count);
  std::map<uint32_t, uint64_t> model;
  uint64_t now = (uint64_t{1} << 32) - 3000;
  for (int step = 0; step < 10000; step++) {
    now += random.below(2);
    const auto page = static_cast<uint32_t>(random.below(count));
    switch (random.below(4)) {
      case 0:
        index.clear(page);
        model.erase(page);
        break;
      case 1: {
        uint64_t lsn = now - random.below(2000);
        if (static_cast<uint32_t>(lsn) == 0) lsn--;
        index.set(page, lsn);
        model[page] = lsn;
        break;
      }
      default: {
        const uint64_t before = now - random.below(2500);
        std::map<uint32_t, uint64_t> found, expected;
        index.for_each_before(before, [&](uint32_t at, uint64_t lsn) {
          found[at] = lsn;
          return true;
        });
        for (const auto& [at, lsn] : model)
          if (lsn < before) expected[at] = lsn;
        REQUIRE(found == expected);
        REQUIRE(index.any_before(before) == !expected.empty());
      }
    }
    const auto known = model.find(page);
    REQUIRE(index.at(page) == (known == model.end() ? 0 : known->second));
  }
}

TEST_CASE("bits of slots, against a vector, and none of them in memory where they are alike") {
  io::SeededRandom random(3);
  for (const bool begin : {false, true}) {
    constexpr uint32_t count = 4096 * 5 + 77;
    SlotBits bits(count, begin);
    std::vector<bool> model(count, begin);
    CHECK(bits.memory_bytes() < 100);
    for (int step = 0; step < 300; step++) {
      const auto first = static_cast<uint32_t>(random.below(count));
      const auto end = static_cast<uint32_t>(
          std::min<uint64_t>(count, first + 1 + random.below(step % 3 == 0 ? 9000 : 70)));
      const bool value = random.below(2) == 0;
      for (uint32_t slot = first; slot < end; slot++) {
        value ? bits.set(slot) : bits.clear(slot);
        model[slot] = value;
      }
      if (step % 10 != 0) continue;
      uint32_t wrong = 0;
      for (uint32_t slot = 0; slot < count; slot++) wrong += bits.test(slot) != model[slot];
      for (uint32_t slot = count; slot < bits.words() * 64; slot++)
        wrong += (bits.word(slot / 64) >> (slot % 64) & 1) != 0;
      REQUIRE(wrong == 0);
    }
    for (uint32_t slot = 0; slot < count; slot++) bits.set(slot);
    CHECK(bits.memory_bytes() < 100);
    for (uint32_t slot = 0; slot < count; slot++) bits.clear(slot);
    CHECK(bits.memory_bytes() < 100);
  }
}

TEST_CASE("the slots of an object, against an array, in rows and out of order") {
  io::SeededRandom random(9);
  ChunkPool chunks;
  Object object({1, 2}, {1, 3}, chunks);
  std::vector<uint32_t> model(limits::blocks_per_object, no_slot);
  uint64_t dense = 0;
  for (int step = 0; step < 1000; step++) {
    const auto first = static_cast<uint32_t>(random.below(limits::blocks_per_object));
    const auto count = static_cast<uint32_t>(
        std::min<uint64_t>(1 + random.below(200), limits::blocks_per_object - first));
    const auto slot = static_cast<uint32_t>(random.below(1 << 30));
    const auto kind = random.below(3);
    for (uint32_t i = 0; i < count; i++) {
      model[first + i] = kind == 0 ? no_slot : kind == 1 ? slot + i : slot ^ (i * 3);
      object.set_slot(first + i, model[first + i]);
    }
    uint32_t used = 0, wrong = 0;
    for (uint32_t block = 0; block < limits::blocks_per_object; block++) {
      wrong += object.slot(block) != model[block];
      if (model[block] != no_slot) used++;
    }
    REQUIRE(wrong == 0);
    REQUIRE(object.blocks_used() == used);
    const auto next = std::find_if(model.begin() + first, model.end(),
                                   [](uint32_t held) { return held != no_slot; });
    REQUIRE(object.next_used(first) == next - model.begin());
    dense = std::max(dense, chunks.memory_bytes());
  }
  // A thousand objects in a row take no chunks at all.
  std::vector<std::unique_ptr<Object>> rows;
  for (uint32_t i = 0; i < 1000; i++) {
    rows.push_back(std::make_unique<Object>(ObjectId{2, i}, SetId{1, 3}, chunks));
    for (uint32_t block = 0; block < limits::blocks_per_object; block++)
      rows.back()->set_slot(block, i * limits::blocks_per_object + block);
  }
  CHECK(chunks.memory_bytes() <= dense + (1 << 19));
}
