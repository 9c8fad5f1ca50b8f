// A store of whose slot table next to nothing fits in memory: what is asked of it needs entries
// that have to be read again first.
#include <doctest/doctest.h>

#include "crash/store/store_rig.h"

using namespace sp;
using namespace sp::test;

namespace {

constexpr ObjectId object{9, 4};
constexpr SetId set{1, 0};

struct LittleMemory : StoreRig {
  explicit LittleMemory(FakeMedium& medium) : StoreRig(medium) { options.table_bytes_max = 1; }

  // Blocks 0 to 9, in version 1, whose entries are at home and not in memory.
  void fill() {
    REQUIRE(open().ok());
    REQUIRE(write(object, 0, 10, Version(1, 1), 1).ok());
    store->decide(set, Version(1, 1));
    to_homes();
  }
  void to_homes() {
    REQUIRE(checkpoint().ok());
    settle();
  }

  struct Reading {
    Buffer into = Buffer::zeroed(4096);
    std::optional<Status> outcome;
    Version version;
  };
  std::shared_ptr<Reading> begin_read(uint16_t block) {
    auto reading = std::make_shared<Reading>();
    store->read(object, block, 1, reading->into.mutable_bytes(),
                [reading](Result<std::vector<store::BlockRead>> blocks) {
                  if (blocks.ok()) reading->version = blocks->front().version;
                  reading->outcome = blocks.ok() ? Status{} : Status(blocks.error());
                });
    return reading;
  }
  // With entries at home only; the reads that it makes wait.
  std::shared_ptr<Reading> fill_and_begin_read(uint16_t block) {
    fill();
    medium().hold_reads = true;
    return begin_read(block);
  }
  void let_reads_go() {
    medium().hold_reads = false;
    for (auto& read : std::exchange(medium().held_reads, {})) read();
    settle();
  }
};

store::ObjectState recovered(uint16_t block, Version version, const Buffer& data) {
  store::ObjectState source;
  source.object = object;
  source.set = set;
  source.changed = version;
  source.blocks.push_back({block, version, crc64(data.bytes())});
  return source;
}

}  // namespace

TEST_CASE("a read reads its data and the table page that tells of them side by side") {
  FakeMedium medium = StoreRig::formatted(small_layout());
  LittleMemory rig(medium);
  const auto reading = rig.fill_and_begin_read(3);
  CHECK(medium.held_reads.size() == 2);
  rig.let_reads_go();
  REQUIRE(reading->outcome.has_value());
  CHECK(reading->outcome->ok());
  CHECK(reading->version == Version(1, 1));
  const Buffer expected = block_of(1, 4);
  CHECK(std::memcmp(reading->into.data(), expected.data() + 3 * 4096, 4096) == 0);
}

TEST_CASE("a block that is replaced while a read waits for its table page is still read whole") {
  FakeMedium medium = StoreRig::formatted(small_layout());
  LittleMemory rig(medium);
  const auto reading = rig.fill_and_begin_read(3);
  for (uint64_t n = 2; n < 6; n++) {
    REQUIRE(rig.write(object, 3, 1, Version(1, n), n).ok());
    rig.store->decide(set, Version(1, n));
  }
  // Its page is to be written home, and waits for the same read.
  bool written = false;
  rig.store->checkpoint([&written](Status status) { written = status.ok(); });
  rig.settle();
  CHECK_FALSE(written);
  rig.let_reads_go();
  CHECK(written);
  REQUIRE(reading->outcome.has_value());
  CHECK(reading->outcome->ok());
  CHECK(reading->version == Version(1, 1));
  CHECK(rig.read(object, 3).holds(5));
}

TEST_CASE("a table page that is not what was written is found when it is needed") {
  FakeMedium medium = StoreRig::formatted(small_layout());
  LittleMemory rig(medium);
  rig.fill();
  const disk::Layout layout = small_layout();
  std::fill_n(medium.bytes.begin() + static_cast<ptrdiff_t>(layout.table_offset),
              layout.table_bytes, std::byte{0x55});
  const Status read = rig.read(object, 3).status;
  REQUIRE_FALSE(read.ok());
  CHECK(read.error().code() == Code::io);  // of the disk, not of this block
  CHECK(read.error().message().find("table page 0 at device offset") != std::string::npos);
  CHECK(read.error().message().find("wipe the disk") != std::string::npos);
  REQUIRE(rig.store->failure().has_value());
  CHECK_FALSE(rig.write(object, 3, 1, Version(1, 2), 2).ok());
}

TEST_CASE("a table page that the device misread once is read again") {
  FakeMedium medium = StoreRig::formatted(small_layout());
  LittleMemory rig(medium);
  rig.fill();
  const disk::Layout layout = small_layout();
  const auto at = medium.bytes.begin() + static_cast<ptrdiff_t>(layout.table_offset);
  const std::vector<std::byte> whole(at, at + static_cast<ptrdiff_t>(layout.table_bytes));
  medium.hold_reads = true;
  const auto reading = rig.begin_read(3);
  std::fill_n(at, layout.table_bytes, std::byte{0x55});
  auto reads = std::exchange(medium.held_reads, {});
  for (auto& read : reads) read();
  std::copy(whole.begin(), whole.end(), at);
  rig.settle();
  CHECK_FALSE(reading->outcome.has_value());
  CHECK(medium.held_reads.size() == 1);
  rig.let_reads_go();
  REQUIRE(reading->outcome.has_value());
  CHECK(reading->outcome->ok());
}

TEST_CASE("the other home of a table page is not taken for the newest one") {
  FakeMedium medium = StoreRig::formatted(small_layout());
  LittleMemory rig(medium);
  rig.fill();
  const disk::Layout layout = small_layout();
  const auto home = [&](int number) {
    return medium.bytes.begin() +
           static_cast<ptrdiff_t>(layout.table_offset + number * (layout.table_bytes / 2));
  };
  const auto half = static_cast<ptrdiff_t>(layout.table_bytes / 2);
  const std::vector<std::byte> before(medium.bytes);
  uint64_t version = 1;
  while (std::equal(home(0), home(0) + half, before.begin() + (home(0) - medium.bytes.begin())) ||
         std::equal(home(1), home(1) + half, before.begin() + (home(1) - medium.bytes.begin()))) {
    version++;
    REQUIRE(rig.write(object, 3, 1, Version(1, version), version).ok());
    rig.store->decide(set, Version(1, version));
    rig.to_homes();
  }
  // Whichever was written last: the device has the older image in both places.
  const std::vector<std::byte> first(home(0), home(0) + half), second(home(1), home(1) + half);
  const bool first_newer =
      load<uint64_t>(Bytes(first).subspan(24)) > load<uint64_t>(Bytes(second).subspan(24));
  const auto& older = first_newer ? second : first;
  std::copy(older.begin(), older.end(), home(first_newer ? 0 : 1));
  const auto read = rig.read(object, 3);
  REQUIRE_FALSE(read.status.ok());
  CHECK(read.status.error().message().find("is not what was written") != std::string::npos);
}

TEST_CASE("what was recovered in a newer version is not replaced by an older decision") {
  FakeMedium medium = StoreRig::formatted(small_layout());
  for (const bool discard : {false, true}) {
    LittleMemory rig(medium);
    rig.fill();
    if (discard)
      REQUIRE(rig.discard(object, 0, 5, Version(1, 5)).ok());
    else
      REQUIRE(rig.write(object, 3, 2, Version(1, 5), 5).ok());
    const Buffer newer = block_of(7);
    store::ObjectState source = recovered(3, Version(1, 7), newer);
    for (const uint16_t block : {0, 1, 2, 4, 5, 6, 7, 8, 9}) {
      const Buffer old = block_of(1, 10);
      source.blocks.push_back(
          {block, Version(1, 1), crc64(old.bytes().subspan(block * 4096ul, 4096))});
    }
    std::sort(source.blocks.begin(), source.blocks.end(),
              [](const auto& a, const auto& b) { return a.block < b.block; });
    REQUIRE(rig.apply(source, {3}, newer).ok());
    rig.to_homes();  // the entry of the newer one has left memory
    rig.store->decide(set, Version(1, 5));
    CHECK(rig.read(object, 3).version == Version(1, 7));
    CHECK(rig.read(object, 3).holds(7));
    if (discard)
      CHECK(rig.read(object, 4).zero());
    else
      CHECK(rig.read(object, 4).holds(5, 1));
    rig.settle();
    medium.settle();
    medium = StoreRig::formatted(small_layout());
  }
}

TEST_CASE("a write that waits with a recovery for one round is compared with what that brings") {
  FakeMedium medium = StoreRig::formatted(small_layout());
  LittleMemory rig(medium);
  rig.fill();
  rig.store->decide(set, Version(1, 6));  // so the write is shown as soon as it is durable
  const Buffer newer = block_of(7), older = block_of(5, 2);
  const auto crcs = crcs_of(older);
  store::ObjectState source = recovered(3, Version(1, 7), newer);
  const std::vector<uint16_t> carried{3};
  std::optional<Status> applied, written;
  rig.store->apply_recovered(source, carried, {}, newer,
                             [&](Status status) { applied = std::move(status); });
  rig.store->prepare(StoreRig::record(store::WriteKind::data, object, 3, 2, Version(1, 5)), crcs,
                     older, 0, [&](Status status) { written = std::move(status); });
  rig.settle();
  REQUIRE(applied.has_value());
  REQUIRE(written.has_value());
  CHECK(applied->ok());
  CHECK(rig.read(object, 3).version == Version(1, 7));
}

TEST_CASE("an entry that came while its page was written home is not forgotten with that") {
  FakeMedium medium = StoreRig::formatted(small_layout());
  LittleMemory rig(medium);
  rig.fill();
  // Writes go on while homes are written all the time, as there is no room for their entries.
  uint64_t version = 1;
  for (int round = 0; round < 40; round++) {
    for (uint16_t block = 0; block < 10; block++) {
      const Buffer data = block_of(++version);
      const auto crcs = crcs_of(data);
      rig.store->prepare(
          StoreRig::record(store::WriteKind::data, object, block, 1, Version(1, version)), crcs,
          data, 0, [&rig, version](Status status) {
            REQUIRE(status.ok());
            rig.store->decide(set, Version(1, version));
          });
      for (int i = 0; i < round % 7; i++) rig.machine().reactor.step();
    }
  }
  rig.settle();
  for (uint16_t block = 0; block < 10; block++)
    CHECK(rig.read(object, block).holds(version - 9 + block));
}
