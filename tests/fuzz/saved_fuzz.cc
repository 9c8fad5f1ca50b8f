// Fuzz target of the saved index of a disk: the first byte picks what is done with the rest.
// Records are walked; or a small disk with data in all states, saved and written to since, has its
// saved index edited, or exchanged for other records, and is opened. It always opens: nothing
// depends on the saved index. While no page was sealed again, it has what was written, and opens
// again; else it answers every read, with content or an error, takes new writes, and opens again
// or says why not.
//
// Edits are of 4 + n bytes: page number (2 bytes, modulo the pages of the saved index that are in
// use), place within the page in units of 4 bytes (10 bits), seal (1 bit), size n = 1..8 (3 bits),
// content.
#include <cstdlib>
#include <map>
#include <set>

#include "base/probe.h"
#include "crash/store/store_rig.h"
#include "fuzz/parsers.h"
#include "store/record_views.h"
#include "store/saved_index.h"

namespace {

using namespace sp;
using namespace sp::store;
using test::require;

constexpr SetId sets[] = {{1, 0}, {1, 1}};
constexpr uint64_t slot_count = 252;
constexpr Bounds bounds{slot_count, slot_count / disk::slots_per_table_page};
constexpr uint32_t home = 0;  // the first one that is saved

Version v(uint64_t sequence) { return Version(1, sequence); }

// What a block holds: the stamp of a write and its place in it; stamp 0: nothing.
struct Known {
  ObjectId object;
  uint16_t block = 0;
  uint64_t stamp = 0;
  uint16_t part = 0;
};

struct Sample {
  test::FakeMedium medium{0};
  disk::Superblock superblock;
  IndexBody index;
  std::vector<Known> known;
};

// Blocks that lie in a row and others, some written home and some not, discards, what another copy
// gave, of which one block is lost, undecided writes.
void fill(test::StoreRig& rig, std::vector<Known>& known) {
  const auto write = [&](ObjectId object, uint16_t first, uint16_t count, uint64_t sequence) {
    const SetId set = sets[object.index % 2];
    require(rig.write(object, first, count, v(sequence), sequence, set).ok());
    rig.store->decide(set, v(sequence));
    for (uint16_t i = 0; i < count; ++i)
      known.push_back({object, static_cast<uint16_t>(first + i), sequence, i});
  };
  for (const SetId set : sets) require(rig.put_set({set, 3, set == sets[1], v(1)}).ok());
  write({7, 1}, 64, 32, 2);
  write({7, 1}, 96, 32, 3);
  write({7, 2}, 5, 4, 4);
  require(rig.checkpoint().ok());
  write({8, 1}, 1020, 4, 5);
  write({7, 2}, 6, 2, 6);
  require(rig.discard({7, 2}, 8, 3, v(7), sets[0]).ok());
  rig.store->decide(sets[0], v(7));
  known.push_back({{7, 2}, 8, 0, 0});
  ObjectState source;
  source.object = {9, 3};
  source.set = sets[1];
  source.changed = v(8);
  const Buffer data = test::block_of(8);
  source.blocks = {{3, v(8), crc64(data.bytes())}, {9, v(8), 0}};
  require(rig.apply(source, {3}, data, {9}).ok());
  known.push_back({{9, 3}, 3, 8, 0});
  require(rig.write({7, 1}, 66, 1, v(20), 20, sets[1]).ok());
  require(rig.discard({7, 2}, 5, 9, v(21), sets[0]).ok());
}

const Sample& sample() {
  static const Sample made = [] {
    Sample sample;
    sample.medium = test::StoreRig::formatted(test::small_layout(128, slot_count, 1));
    std::vector<Known> writes;
    {
      test::StoreRig rig(sample.medium);
      require(rig.open().ok());
      fill(rig, writes);
      require(rig.save_index().ok());
      require(rig.write({8, 1}, 1021, 1, v(30), 30, sets[1]).ok());
      rig.settle();
    }
    sample.medium.settle();
    const auto superblock = disk::decode_superblock(Bytes(sample.medium.bytes).first(4096));
    require(superblock.ok());
    sample.superblock = *superblock;
    const auto header = load<IndexChunkHeader>(
        Bytes(sample.medium.bytes).subspan(index_chunk_offset(superblock->layout, home, 0)));
    require(header.magic == index_chunk_magic);
    sample.index = {header.lsn, home, 1, header.session, 0};
    std::map<std::pair<ObjectId, uint16_t>, Known> newest;
    for (const Known& known : writes) newest[{known.object, known.block}] = known;
    for (const auto& [key, known] : newest) sample.known.push_back(known);
    return sample;
  }();
  return made;
}

MutableBytes chunk_of(test::FakeMedium& medium) {
  return MutableBytes(medium.bytes)
      .subspan(index_chunk_offset(sample().superblock.layout, home, 0), disk::index_chunk_bytes);
}

void read_all(test::StoreRig& rig) {
  for (const VolumeId volume : rig.store->volumes())
    for (uint32_t object = 0; object < 5; ++object) {
      (void)rig.object_state({volume, object});
      for (const uint16_t block : {3, 5, 6, 8, 9, 64, 66, 127, 1020, 1023})
        (void)rig.read({volume, object}, block);
    }
  for (const SetRecord& record : rig.store->sets()) {
    (void)rig.store->undecided(record.set);
    (void)rig.store->operations(record.set);
    (void)rig.store->changed_objects(record.set, {}, {}, 100);
  }
}

// `written`: more of the first set, since.
void check_content(test::StoreRig& rig, size_t written) {
  for (const Known& known : sample().known) {
    const auto read = rig.read(known.object, known.block);
    require(read.status.ok());
    require(known.stamp == 0 ? read.zero() : read.holds(known.stamp, known.part));
  }
  require(!rig.read({9, 3}, 9).status.ok());
  require(rig.store->undecided(sets[0]).size() == 1 + written);
  require(rig.store->undecided(sets[1]).size() == 2);
}

uint64_t opened_by_it() {
  static const size_t probe = probe_index("store_opened_by_saved_index");
  return probe_hits[probe];
}

// Whether it was opened by what is in its saved index.
bool open_and_use(test::FakeMedium medium, bool forged) {
  const uint64_t before = opened_by_it();
  bool by_it = false;
  for (unsigned opening = 0; opening < 2; ++opening) {
    test::StoreRig rig(medium);
    const Status opened = rig.open();
    require(opened.ok() || (forged && opening == 1 && !opened.error().message().empty()));
    if (!opened.ok()) break;
    if (opening == 0) by_it = opened_by_it() > before;
    read_all(rig);
    if (!forged) check_content(rig, opening);
    (void)rig.write({9, 4}, 2, 2, Version(9, 1 + opening), 77, sets[0]);
    (void)rig.checkpoint();
    (void)rig.save_index();
    rig.settle();
    medium.settle();
  }
  return by_it;
}

// Of records by which a disk was opened.
std::set<uint8_t> kinds_seen;

bool records(Bytes input) {
  SavedCursor cursor(input, bounds);
  SavedRecord record;
  bool any = false;
  while (cursor.next(record)) any = true;
  return any && !cursor.failed();
}

bool edited(Bytes input) {
  test::FakeMedium medium = sample().medium;
  const MutableBytes chunk = chunk_of(medium);
  const size_t used = sizeof(IndexChunkHeader) + load<IndexChunkHeader>(chunk).bytes;
  bool forged = false;
  while (input.size() > 4) {
    const auto page_number = load<uint16_t>(input);
    const auto how = load<uint16_t>(input.subspan(2));
    const MutableBytes page = chunk.subspan(page_number % ((used + 4095) / 4096) * 4096, 4096);
    const size_t size = std::min<size_t>((how >> 11 & 7) + 1, input.size() - 4);
    const size_t place = std::min<size_t>((how & 1023) * 4u, 4096 - size);
    std::memcpy(page.data() + place, input.data() + 4, size);
    if ((how >> 10 & 1) != 0) {
      const size_t bytes = load<IndexChunkHeader>(chunk).bytes;
      seal_index_chunk(chunk, sample().superblock, sample().index, 0,
                       std::min(bytes, index_payload_bytes));
      forged = true;
    }
    input = input.subspan(4 + size);
  }
  return open_and_use(std::move(medium), forged);
}

bool exchanged(Bytes input) {
  test::FakeMedium medium = sample().medium;
  const MutableBytes chunk = chunk_of(medium);
  const auto before = load<IndexChunkHeader>(chunk);
  input = input.first(std::min(input.size(), index_payload_bytes));
  const MutableBytes to = chunk.subspan(sizeof(IndexChunkHeader));
  const bool forged =
      before.bytes != input.size() || !std::equal(input.begin(), input.end(), to.begin());
  std::fill(to.begin(), to.end(), std::byte{0});
  std::copy(input.begin(), input.end(), to.begin());
  seal_index_chunk(chunk, sample().superblock, sample().index, 0, input.size());
  if (!open_and_use(std::move(medium), forged)) return false;
  SavedCursor cursor(input, bounds);
  for (SavedRecord record; cursor.next(record);)
    kinds_seen.insert(static_cast<uint8_t>(record.record.kind));
  return true;
}

constexpr test::Parser parsers[] = {records, edited, exchanged};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  return sp::test::run_one(parsers, data, size);
}
// Of replay.cc. Behind the parsers, kinds of records count from 100.
extern int (*fuzz_unreached)();
int (*fuzz_unreached)() = [] {
  using namespace sp::store;
  if (const int parser = sp::test::first_unreached(parsers); parser >= 0) return parser;
  for (const auto kind :
       {RecordKind::set, RecordKind::decide, RecordKind::operations, RecordKind::write})
    if (!kinds_seen.contains(static_cast<uint8_t>(kind))) return 100 + static_cast<int>(kind);
  for (int kind = static_cast<int>(SavedKind::at); kind <= static_cast<int>(SavedKind::end); ++kind)
    if (!kinds_seen.contains(static_cast<uint8_t>(kind))) return 100 + kind;
  return -1;
};
