// The store's promises on a disk that works: visibility, order, reopening, refusals.
#include <doctest/doctest.h>

#include "crash/store/store_rig.h"

using namespace sp;
using namespace sp::test;

namespace {
constexpr ObjectId object{9, 4};
constexpr SetId set{1, 0};
}  // namespace

TEST_CASE("a prepared write is invisible until it is decided, and stays after reopening") {
  FakeMedium medium = StoreRig::formatted(small_layout());
  {
    StoreRig rig(medium);
    REQUIRE(rig.open().ok());
    REQUIRE(rig.write(object, 3, 2, Version(1, 1), 42).ok());
    CHECK(rig.read(object, 3).zero());
    CHECK(rig.store->has_undecided(object, 4, 1));
    CHECK_FALSE(rig.store->has_undecided(object, 5, 1));
    CHECK(rig.store->undecided(set).size() == 1);
    rig.store->decide(set, Version(1, 1));
    CHECK(rig.read(object, 3).holds(42));
    CHECK(rig.read(object, 4).holds(42, 1));
    CHECK_FALSE(rig.store->has_undecided(object, 4, 1));
    rig.settle();
  }
  StoreRig rig(medium);
  REQUIRE(rig.open().ok());
  CHECK(rig.read(object, 3).holds(42));
  CHECK(rig.read(object, 3).version == Version(1, 1));
  CHECK(rig.store->decided_to(set) == Version(1, 1));
  CHECK(rig.store->operations(set).size() == 1);
}

TEST_CASE(
    "a read that started before its block was replaced many times over still gets what it started "
    "with") {
  FakeMedium medium = StoreRig::formatted(small_layout(128, 20));
  StoreRig rig(medium);
  REQUIRE(rig.open().ok());
  REQUIRE(rig.write(object, 0, 1, Version(1, 1), 1).ok());
  rig.store->decide(set, Version(1, 1));
  medium.hold_reads = true;
  Buffer into = Buffer::zeroed(4096);
  std::optional<Status> outcome;
  rig.store->read(object, 0, 1, into.mutable_bytes(),
                  [&](Result<std::vector<store::BlockRead>> blocks) {
                    outcome = blocks.ok() ? Status{} : Status(blocks.error());
                  });
  for (uint64_t n = 2; n < 15; n++) {
    REQUIRE(rig.write(object, 0, 1, Version(1, n), n).ok());
    rig.store->decide(set, Version(1, n));
  }
  // The disk has run out of slots that are not held: this one waits for the read.
  std::vector<bool> durable(12);
  for (uint64_t n = 0; n < 12; n++) {
    const Buffer data = block_of(100 + n);
    const auto crcs = crcs_of(data);
    rig.store->prepare(StoreRig::record(store::WriteKind::data, object, 0, 1, Version(1, 100 + n)),
                       crcs, data, 0, [&, n](Status status) { durable[n] = status.ok(); });
    rig.settle();
    rig.store->decide(set, Version(1, 100 + n));
  }
  CHECK_FALSE(durable[11]);
  medium.hold_reads = false;
  for (auto& read : std::exchange(medium.held_reads, {})) read();
  rig.settle();
  REQUIRE(outcome.has_value());
  CHECK(outcome->ok());
  const Buffer expected = block_of(1);
  CHECK(std::memcmp(into.data(), expected.data(), 4096) == 0);
  CHECK(durable[11]);
}

TEST_CASE(
    "prepares are acknowledged in the order in which they were given, and many share a round") {
  FakeMedium medium = StoreRig::formatted(small_layout());
  StoreRig rig(medium);
  REQUIRE(rig.open().ok());
  rig.settle();
  const uint64_t before = medium.operations;
  std::vector<uint64_t> order;
  for (uint64_t n = 1; n <= 32; n++) {
    const Buffer data = block_of(n);
    const auto crcs = crcs_of(data);
    rig.store->prepare(StoreRig::record(store::WriteKind::data, object,
                                        static_cast<uint16_t>(n * 3), 1, Version(1, n)),
                       crcs, data, 0, [&order, n](Status status) {
                         CHECK(status.ok());
                         order.push_back(n);
                       });
    CHECK(order.empty());  // never inside the call
  }
  while (order.size() < 32) REQUIRE(rig.machine().reactor.step());
  for (uint64_t n = 1; n <= 32; n++) CHECK(order[n - 1] == n);
  CHECK(medium.operations - before <= 3);  // joined data, log page, flush
}

TEST_CASE("undecided writes can be read, dropped, and are there again after reopening") {
  FakeMedium medium = StoreRig::formatted(small_layout());
  {
    StoreRig rig(medium);
    REQUIRE(rig.open().ok());
    REQUIRE(rig.write(object, 3, 2, Version(1, 5), 42).ok());
    REQUIRE(rig.discard(object, 0, 2, Version(1, 6)).ok());
  }
  {
    StoreRig rig(medium);
    REQUIRE(rig.open().ok());
    const auto writes = rig.store->undecided(set);
    REQUIRE(writes.size() == 2);
    CHECK(writes[0].version == Version(1, 5));
    CHECK(writes[0].operation.number == Version(1, 5).packed());
    CHECK(writes[1].kind == store::WriteKind::discard);
    CHECK(rig.store->operations(set).size() == 2);
    bool read = false;
    rig.store->read_undecided(set, Version(1, 5),
                              [&](Result<Buffer> data, std::vector<uint64_t> crcs) {
                                REQUIRE(data.ok());
                                CHECK(crcs == crcs_of(block_of(42, 2)));
                                CHECK(crcs_of(*data) == crcs);
                                read = true;
                              });
    rig.settle();
    CHECK(read);
    REQUIRE(rig.drop().ok());
    CHECK(rig.store->undecided(set).empty());
    CHECK(rig.store->operations(set).empty());
  }
  StoreRig rig(medium);
  REQUIRE(rig.open().ok());
  CHECK(rig.store->undecided(set).empty());
  rig.store->decide(set, Version(1, 9));
  CHECK(rig.read(object, 3).zero());
  CHECK(rig.store->stats().blocks_used == 0);
}

TEST_CASE(
    "a full disk refuses growth, and still takes overwrites, discards, set records and deletes") {
  FakeMedium medium = StoreRig::formatted(small_layout(128, 200));
  StoreRig rig(medium);
  REQUIRE(rig.open().ok());
  uint64_t n = 1;
  Status status;
  for (; status.ok(); n++) {
    status = rig.write(object, static_cast<uint16_t>(n), 1, Version(1, n), n);
    rig.store->decide(set, Version(1, n));
  }
  CHECK(status.error().code() == Code::no_space);
  CHECK(rig.store->stats().blocks_used == 190);
  for (int i = 0; i < 100; i++, n++) {
    REQUIRE(rig.write(object, static_cast<uint16_t>(1 + i), 1, Version(1, n), n).ok());
    rig.store->decide(set, Version(1, n));
    CHECK(rig.read(object, static_cast<uint16_t>(1 + i)).holds(n));
  }
  REQUIRE(rig.put_set({set, 2, true, Version(1, 3)}).ok());
  REQUIRE(rig.discard(object, 0, 50, Version(1, n)).ok());
  rig.store->decide(set, Version(1, n++));
  REQUIRE(rig.write(object, 600, 20, Version(1, n), n).ok());
  rig.store->decide(set, Version(1, n));
  REQUIRE(rig.remove_volume(object.volume).ok());
  CHECK(rig.store->stats().blocks_used == 0);
  CHECK(rig.store->volumes().empty());
  REQUIRE(rig.write(object, 0, 180, Version(1, n + 1), n).ok());
}

TEST_CASE("a removed set does not come back with a version that was decided just before") {
  FakeMedium medium = StoreRig::formatted(small_layout());
  {
    StoreRig rig(medium);
    REQUIRE(rig.open().ok());
    REQUIRE(rig.write(object, 3, 1, Version(1, 5), 42).ok());
    rig.store->decide(set, Version(1, 5));
    REQUIRE(rig.remove_set(set).ok());  // in one round with the decision
    CHECK(rig.store->decided_to(set).is_zero());
    rig.settle();
  }
  StoreRig rig(medium);
  REQUIRE(rig.open().ok());
  CHECK(rig.store->decided_to(set).is_zero());
  CHECK(rig.store->changed_objects(set, {}, {}, 10).empty());
  CHECK(rig.store->stats().blocks_used == 0);
}

TEST_CASE("of two writes that make one object in two sets at once the second is refused") {
  FakeMedium medium = StoreRig::formatted(small_layout());
  StoreRig rig(medium);
  REQUIRE(rig.open().ok());
  constexpr SetId other{2, 0};
  constexpr ObjectId recovered{9, 5};
  const Buffer data = block_of(1);
  const auto crcs = crcs_of(data);
  std::vector<Status> outcomes(4, Error(Code::failed, "no answer"));
  const auto outcome = [&](size_t i) {
    return [&outcomes, i](Status status) { outcomes[i] = std::move(status); };
  };
  const auto apply = [&](SetId owner, size_t i) {
    store::ObjectState source;
    source.object = recovered;
    source.set = owner;
    source.changed = Version(1, 4);
    source.blocks.push_back({7, Version(1, 4), crcs[0]});
    rig.store->apply_recovered(source, std::vector<uint16_t>{7}, {}, data, outcome(i));
  };
  const auto prepare = [&](ObjectId what, SetId owner, size_t i) {
    rig.store->prepare(StoreRig::record(store::WriteKind::data, what, 0, 1, Version(1, 1), owner),
                       crcs, data, 0, outcome(i));
  };
  prepare(object, set, 0);
  prepare(object, other, 1);
  apply(set, 2);
  apply(other, 3);
  rig.settle();
  CHECK(outcomes[0].ok());
  CHECK(outcomes[1].error().code() == Code::invalid);
  CHECK(outcomes[2].ok());
  CHECK(outcomes[3].error().code() == Code::invalid);
  CHECK(rig.store->undecided(other).empty());
}

TEST_CASE("malformed calls are refused with an error") {
  FakeMedium medium = StoreRig::formatted(small_layout());
  StoreRig rig(medium);
  REQUIRE(rig.open().ok());
  CHECK(rig.write(object, 1023, 2, Version(1, 1), 1).error().code() == Code::invalid);
  CHECK(rig.write(object, 0, 1, Version{}, 1).error().code() == Code::invalid);
  CHECK(rig.discard(object, 0, 0, Version(1, 1)).error().code() == Code::invalid);
  REQUIRE(rig.write(object, 0, 1, Version(1, 1), 1).ok());
  CHECK(rig.write(object, 0, 1, Version(1, 1), 1, {2, 0}).error().code() ==
        Code::invalid);                                           // another set
  CHECK(rig.repair(object, 0, Version(1, 1), block_of(5)).ok());  // undecided: nothing to repair
  store::ObjectState source;
  source.object = object;
  source.set = set;
  source.changed = Version(1, 4);
  source.blocks.push_back({7, Version(1, 4), 123});
  CHECK(rig.apply(source, {7}, block_of(1)).error().code() == Code::damaged);
  CHECK(rig.apply(source, {8}, block_of(1)).error().code() == Code::invalid);
}

// A round whose data do not match their checksums looks like one that a crash tore.
TEST_CASE("a block that came without its content is damaged, and no later crash voids its round") {
  FakeMedium medium = StoreRig::formatted(small_layout());
  store::ObjectState source;
  source.object = object;
  source.set = set;
  source.changed = Version(1, 4);
  source.blocks.push_back({7, Version(1, 4), crcs_of(block_of(70))[0]});
  source.blocks.push_back({8, Version(1, 4), crcs_of(block_of(80))[0]});
  {
    StoreRig rig(medium);
    REQUIRE(rig.open().ok());
    REQUIRE(rig.write(object, 7, 1, Version(1, 1), 1).ok());
    rig.store->decide(set, Version(1, 1));
    REQUIRE(rig.apply(source, {8}, block_of(80), {7}).ok());
  }
  const auto is_lost = [&](StoreRig& rig) {
    CHECK(rig.read(object, 8).holds(80));
    CHECK(rig.read(object, 7).status.error().code() == Code::damaged);
    const auto state = rig.object_state(object);
    REQUIRE(state.blocks.size() == 2);
    CHECK(
        (state.blocks[0].version == Version(1, 4) && state.blocks[0].crc == source.blocks[0].crc));
    const auto lost = rig.store->lost(0, 10);
    REQUIRE(lost.size() == 1);
    CHECK((lost[0].object == object && lost[0].set == set && lost[0].block == 7));
  };
  {
    StoreRig rig(medium);
    REQUIRE(rig.open().ok());
    is_lost(rig);
    REQUIRE(rig.checkpoint().ok());  // and from the table
  }
  StoreRig rig(medium);
  REQUIRE(rig.open().ok());
  is_lost(rig);
  REQUIRE(rig.repair(object, 7, Version(1, 4), block_of(70)).ok());
  rig.settle();
  CHECK(rig.read(object, 7).holds(70));
  CHECK(rig.store->lost(0, 10).empty());
}
