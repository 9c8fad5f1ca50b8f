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
