// The checker of the simulations has to be able to fail.
#include "sim/linearizability.h"

#include <doctest/doctest.h>

namespace sp::sim {
namespace {

const BlockKey key{1, 2};

TEST_CASE("a history in order is explained") {
  Linearizability history;
  history.write_started(key, 10, 1);
  history.write_ended(key, 10, 2);
  history.read(key, 10, 3, 4);
  history.write_started(key, 11, 5);
  history.read(key, 10, 6, 7);
  history.read(key, 11, 8, 9);
  CHECK_FALSE(history.check().has_value());
}

TEST_CASE("a lost write is found") {
  Linearizability history;
  history.write_started(key, 10, 1);
  history.write_ended(key, 10, 2);
  history.write_started(key, 11, 3);
  history.write_ended(key, 11, 4);
  history.read(key, 10, 5, 6);
  CHECK(history.check().has_value());
}

TEST_CASE("a value that comes and goes is found, though its write was never acknowledged") {
  Linearizability history;
  history.write_started(key, 10, 1);
  history.write_ended(key, 10, 2);
  history.write_started(key, 11, 3);
  history.read(key, 11, 4, 5);
  history.read(key, 10, 6, 7);
  CHECK(history.check().has_value());
}

TEST_CASE("zeros after an acknowledged write need a discard") {
  Linearizability lost;
  lost.write_started(key, 10, 1);
  lost.write_ended(key, 10, 2);
  lost.read(key, 0, 3, 4);
  CHECK(lost.check().has_value());

  Linearizability discarded;
  discarded.write_started(key, 10, 1);
  discarded.write_ended(key, 10, 2);
  discarded.discard_started(key, 11, 3);
  discarded.read(key, 0, 4, 5);
  CHECK_FALSE(discarded.check().has_value());
  discarded.read(key, 10, 6, 7);
  CHECK(discarded.check().has_value());
}

// One test for each rule of linearizability.h.

TEST_CASE("unacknowledged: a write that has no end takes effect late, or never, but not early") {
  Linearizability late;
  late.write_started(key, 10, 1);
  late.write_ended(key, 10, 2);
  late.write_started(key, 11, 3);
  late.write_started(key, 12, 4);
  late.read(key, 10, 5, 6);
  late.write_started(key, 13, 7);
  late.write_ended(key, 13, 8);
  late.read(key, 11, 9, 10);  // after one that began and ended later
  CHECK_FALSE(late.check().has_value());

  Linearizability early;
  early.read(key, 11, 1, 2);
  early.write_started(key, 11, 3);
  CHECK(early.check().has_value());

  // It may be at any time after its start, not at several.
  late.read(key, 13, 11, 12);
  CHECK(late.check().has_value());
}

TEST_CASE("flapping: what was read once is not followed by anything older") {
  Linearizability history;
  history.write_started(key, 10, 1);  // neither is ever acknowledged
  history.write_started(key, 11, 2);
  history.read(key, 10, 3, 4);
  history.read(key, 11, 5, 6);
  CHECK_FALSE(history.check().has_value());
  history.read(key, 10, 7, 8);
  CHECK(history.check().has_value());

  Linearizability zeros;
  zeros.write_started(key, 10, 1);
  zeros.read(key, 10, 2, 3);
  zeros.read(key, 0, 4, 5);
  CHECK(zeros.check().has_value());

  // Reads at the same time may see both sides of a write, in any order.
  Linearizability together;
  together.write_started(key, 10, 1);
  together.write_ended(key, 10, 2);
  together.write_started(key, 11, 3);
  together.read(key, 11, 4, 6);
  together.read(key, 10, 5, 7);
  CHECK_FALSE(together.check().has_value());
}

TEST_CASE("fenced: what a session wrote has taken effect when it is fenced, or never will") {
  constexpr uint64_t session = 5;
  Linearizability history;
  history.write_started(key, 10, 1);
  history.write_ended(key, 10, 2);
  history.write_started(key, 11, 3, session);
  SUBCASE("it may appear before the fence") {
    history.read(key, 11, 4, 5);
    history.session_fenced(session, 6);
    history.read(key, 11, 7, 8);
    CHECK_FALSE(history.check().has_value());
  }
  SUBCASE("it may have taken effect unseen") {
    history.session_fenced(session, 4);
    history.read(key, 11, 5, 6);
    CHECK_FALSE(history.check().has_value());
  }
  SUBCASE("it does not appear after something else was read behind the fence") {
    history.session_fenced(session, 4);
    history.read(key, 10, 5, 6);
    history.read(key, 11, 7, 8);
    CHECK(history.check().has_value());
  }
  SUBCASE("it does not come behind a write of the next holder, though it was told of late") {
    history.session_fenced(session, 4);
    history.write_started(key, 12, 5, session + 1);
    history.write_ended(key, 12, 6);
    history.write_ended(key, 11, 7);
    CHECK_FALSE(history.check().has_value());
    history.read(key, 11, 8, 9);
    CHECK(history.check().has_value());
  }
  SUBCASE("a write issued behind the fence never takes effect") {
    history.session_fenced(session, 4);
    history.write_started(key, 12, 5, session);
    CHECK_FALSE(history.check().has_value());
    history.read(key, 12, 6, 7);
    CHECK(history.check().has_value());
  }
  SUBCASE("zeros that were read behind the fence are judged when the write is told of") {
    Linearizability told;
    told.write_started(key, 11, 1, session);
    told.session_fenced(session, 2);
    told.read(key, 0, 3, 4);
    told.discard_started(key, 12, 5);  // too late to explain them
    CHECK_FALSE(told.check().has_value());
    told.write_ended(key, 11, 6);
    CHECK(told.check().has_value());
  }
  SUBCASE("nor does its discard") {
    history.session_fenced(session, 4);
    history.discard_started(key, 12, 5, session);
    history.read(key, 0, 6, 7);
    CHECK(history.check().has_value());
  }
}

TEST_CASE("discarded: a discard is a write of zeros") {
  Linearizability history;
  history.write_started(key, 10, 1);
  history.write_ended(key, 10, 2);
  history.discard_started(key, 11, 3);
  SUBCASE("an acknowledged one hides what was there") {
    history.write_ended(key, 11, 4);
    history.read(key, 0, 5, 6);
    CHECK_FALSE(history.check().has_value());
    history.read(key, 10, 7, 8);
    CHECK(history.check().has_value());
  }
  SUBCASE("also when nobody read the zeros") {
    history.write_ended(key, 11, 4);
    history.read(key, 10, 5, 6);
    CHECK(history.check().has_value());
  }
  SUBCASE("what is written behind it ends the zeros") {
    history.write_ended(key, 11, 4);
    history.write_started(key, 12, 5);
    history.write_ended(key, 12, 6);
    history.read(key, 0, 7, 8);
    CHECK(history.check().has_value());
  }
  SUBCASE("it does not explain zeros that were read before it began") {
    Linearizability early;
    early.write_started(key, 10, 1);
    early.write_ended(key, 10, 2);
    early.read(key, 0, 3, 4);
    early.discard_started(key, 11, 5);
    CHECK(early.check().has_value());
  }
}

TEST_CASE("flushed: an acknowledged write is there at once and for ever, with no flush behind it") {
  Linearizability history;
  history.write_started(key, 10, 1);
  history.write_ended(key, 10, 2);
  history.write_started(key, 11, 3);
  history.write_ended(key, 11, 4);
  SUBCASE("and is read from then on") {
    history.read(key, 11, 5, 6);
    CHECK_FALSE(history.check().has_value());
  }
  SUBCASE("so what was before is not") {
    history.read(key, 10, 5, 6);
    CHECK(history.check().has_value());
  }
  SUBCASE("nor nothing") {
    history.read(key, 0, 5, 6);
    CHECK(history.check().has_value());
  }
  SUBCASE("but a read that began before its end may have been early") {
    Linearizability open;
    open.write_started(key, 10, 1);
    open.write_ended(key, 10, 2);
    open.write_started(key, 11, 3);
    open.write_ended(key, 11, 5);
    open.read(key, 10, 4, 6);
    CHECK_FALSE(open.check().has_value());
  }
}

TEST_CASE("content of another block, or a mix of two writes, is not taken for a write") {
  std::byte block[4096];
  encode_stamp(block, key, 77);
  CHECK_EQ(decode_stamp(block, key), uint64_t{77});
  CHECK_FALSE(decode_stamp(block, {1, 3}).has_value());
  std::byte second[4096];
  encode_stamp(second, key, 78);
  std::copy(second + 2048, second + 4096, block + 2048);
  CHECK_FALSE(decode_stamp(block, key).has_value());
}

}  // namespace
}  // namespace sp::sim
