// Records whose order in the log is not that of their versions: what is told again may tell an
// older story once the newer one has left the log.
#include <doctest/doctest.h>

#include "crash/store/store_rig.h"

using namespace sp;
using namespace sp::test;

namespace {

constexpr SetId set{1, 0};
constexpr ObjectId object{1, 0}, other{2, 0};
constexpr uint16_t block = 7;
enum class Older { recovered, prepared_late, said_again, repaired };
enum class Newer { discard, data, two_data };

Version v(uint64_t sequence) { return Version(1, sequence); }

store::ObjectState state_with(Version version, const Buffer& data) {
  store::ObjectState state;
  state.object = object;
  state.set = set;
  state.changed = version;
  state.blocks = {{block, version, crc64(data.bytes())}};
  return state;
}

// A disk with few slots, so that each is used again soon, after each further write; those go round
// `places` first blocks of another object.
struct Laps {
  Laps(int lead, uint64_t places_in, uint64_t log_pages = 128)
      : medium(StoreRig::formatted(small_layout(log_pages, 300))), rig(medium), places(places_in) {
    REQUIRE(rig.open().ok());
    fill(lead);
  }
  void fill(int count) {
    for (int i = 0; i < count; ++i) step();
  }
  void step() {
    const SetId foreign{2, 0};
    const auto first = static_cast<uint16_t>(steps % places);
    REQUIRE(rig.write(other, first, 24, Version(1, 1 + steps), steps, foreign).ok());
    rig.store->decide(foreign, Version(1, 1 + steps));
    ++steps;
  }
  void supersede() {
    REQUIRE(rig.discard(object, block, 1, v(27)).ok());
    rig.store->decide(set, v(27));
    rig.store->forget_tombstones(set, v(27));
  }
  // The block if power failed now; stamp 0: zeros.
  void check_after_crash(uint64_t stamp) const {
    FakeMedium after_crash = medium;
    StoreRig again(after_crash);
    const Status opened = again.open();
    REQUIRE_EQ(opened.ok() ? "" : opened.error().message(), "");
    const auto read = again.read(object, block);
    REQUIRE(read.status.ok());
    if (stamp == 0)
      REQUIRE(read.zero());
    else
      REQUIRE(read.holds(stamp));
  }
  FakeMedium medium;
  StoreRig rig;
  uint64_t places, steps = 0;
};

struct Story : Laps {
  Story(Older older, Newer newer, uint64_t log_pages, int lead) : Laps(lead, 5, log_pages) {
    REQUIRE(rig.put_set({set, 1, older == Older::recovered, Version()}).ok());
    if (older == Older::repaired) {
      REQUIRE(rig.write(object, block, 1, v(24), 24).ok());
      rig.store->decide(set, v(24));
      REQUIRE(rig.put_set({set, 1, false, Version()}).ok());
    }
    if (older == Older::said_again) REQUIRE(rig.write(object, block, 1, v(24), 24).ok());
    // The younger an undecided write is, the longer its record may stay where it is.
    if (older == Older::said_again) fill(static_cast<int>(log_pages / 4));
    write_newer(newer);
    if (older != Older::said_again) fill(6);
    const Buffer data = block_of(24);
    if (older == Older::recovered) REQUIRE(rig.apply(state_with(v(24), data), {block}, data).ok());
    if (older == Older::prepared_late) REQUIRE(rig.write(object, block, 1, v(24), 24).ok());
    if (older == Older::repaired) REQUIRE(rig.repair(object, block, v(24), data).ok());
    // Its record is said again, and the newer one's not yet.
    if (older == Older::said_again) fill(static_cast<int>(log_pages / 2));
    rig.store->decide(set, v(26));
    REQUIRE(rig.put_set({set, 1, false, v(26)}).ok());
    rig.store->forget_tombstones(set, v(26));
  }
  void write_newer(Newer newer) {
    const Status first = newer == Newer::discard ? rig.discard(object, block, 1, v(25))
                                                 : rig.write(object, block, 1, v(25), 25);
    REQUIRE(first.ok());
    if (newer == Newer::two_data) REQUIRE(rig.write(object, block, 1, v(26), 26).ok());
  }
};

void check(Older older, Newer newer, int lead, uint64_t superseded_at) {
  CAPTURE(lead);
  CAPTURE(superseded_at);
  constexpr uint64_t log_pages = 128;
  Story story(older, newer, log_pages, lead);
  bool gone = newer == Newer::discard;
  for (uint64_t step = 0; step < 2 * log_pages; ++step) {
    CAPTURE(step);
    if (!gone && step == superseded_at) {
      story.supersede();
      gone = true;
    }
    story.step();
    const uint64_t newest = newer == Newer::data ? 25 : 26;
    story.check_after_crash(gone ? 0 : newest);
  }
}

void check(Older older) {
  for (const Newer newer : {Newer::discard, Newer::data, Newer::two_data}) {
    CAPTURE(static_cast<int>(newer));
    for (int lead = 0; lead < 16; lead += 4) {
      check(older, newer, lead, 200);
      if (newer == Newer::discard) continue;
      check(older, newer, lead, 1);
      check(older, newer, lead, 12);
    }
  }
}

}  // namespace

// sp-sim seed 90001786: a disk that could not be opened, as a slot "was given while in use".
TEST_CASE("a block that was recovered after a newer undecided write does not come back") {
  check(Older::recovered);
}
TEST_CASE("a write that was prepared after a newer one does not come back") {
  check(Older::prepared_late);
}
TEST_CASE("a write that was said again after a newer one does not come back") {
  check(Older::said_again);
}
TEST_CASE("a block that was repaired after a newer undecided write does not come back") {
  check(Older::repaired);
}

TEST_CASE(
    "a write of which a part is newer here already is refused, and one that is all old is not") {
  FakeMedium medium = StoreRig::formatted(small_layout(128, 300));
  StoreRig rig(medium);
  REQUIRE(rig.open().ok());
  REQUIRE(rig.write(object, block, 1, v(25), 25).ok());
  rig.store->decide(set, v(25));
  const Status partly = rig.write(object, block, 2, v(24), 24);
  REQUIRE_FALSE(partly.ok());
  CHECK_EQ(partly.error().code(), Code::invalid);
  CHECK(rig.write(object, block, 1, v(24), 24).ok());
  CHECK(rig.read(object, block).holds(25));
  CHECK(rig.read(object, block + 1).zero());
}
// The newer one was taken into a round that was not durable yet when its elder was decided.
TEST_CASE("a write in flight while an overtaken one is decided does not come back either") {
  for (int lead = 0; lead < 16; ++lead) {
    for (const uint64_t superseded_at : {1u, 8u}) {
      CAPTURE(lead);
      CAPTURE(superseded_at);
      Laps laps(lead, 1);
      StoreRig& rig = laps.rig;
      REQUIRE(rig.put_set({set, 1, false, Version()}).ok());
      REQUIRE(rig.write(object, block, 1, v(25), 25).ok());
      laps.fill(6);
      REQUIRE(rig.write(object, block, 1, v(24), 24).ok());  // late, behind it
      const Buffer data = block_of(26);
      const auto crcs = crcs_of(data);
      std::optional<Status> newest;
      rig.store->prepare(StoreRig::record(store::WriteKind::data, object, block, 1, v(26), set),
                         crcs, data, 0, [&](Status status) { newest = std::move(status); });
      while (rig.medium().unflushed.empty() && rig.machine().reactor.step()) {
      }
      REQUIRE_FALSE(newest.has_value());
      rig.store->decide(set, v(25));
      REQUIRE(rig.wait(newest).ok());
      laps.fill(4);
      rig.store->decide(set, v(26));
      for (uint64_t at = 0; at < 160; ++at) {
        CAPTURE(at);
        if (at == superseded_at) laps.supersede();
        laps.step();
        laps.check_after_crash(at >= superseded_at ? 0 : 26);
      }
    }
  }
}

TEST_CASE("a write that is given twice within one round is logged once") {
  for (int lead = 0; lead < 16; lead += 3) {
    CAPTURE(lead);
    Laps laps(lead, 1);
    StoreRig& rig = laps.rig;
    const Buffer data = block_of(25);
    const auto crcs = crcs_of(data);
    size_t done = 0;
    const auto prepare = [&](uint16_t at, Version version) {
      rig.store->prepare(StoreRig::record(store::WriteKind::data, object, at, 1, version, set),
                         crcs, data, 0, [&done](const Status& status) { done += status.ok(); });
    };
    prepare(block, v(25));
    for (uint16_t i = 0; i < 100; ++i) prepare(static_cast<uint16_t>(100 + i), v(30 + i));
    prepare(block, v(25));
    rig.settle();
    REQUIRE_EQ(done, 102);
    rig.store->decide(set, v(200));
    for (uint64_t at = 0; at < 160; ++at) {
      CAPTURE(at);
      laps.step();
      laps.check_after_crash(25);
    }
  }
}

TEST_CASE("a checkpoint of a disk without content ends") {
  FakeMedium medium = StoreRig::formatted(small_layout());
  StoreRig rig(medium);
  REQUIRE(rig.open().ok());
  CHECK(rig.checkpoint().ok());
  CHECK(rig.checkpoint().ok());
}
