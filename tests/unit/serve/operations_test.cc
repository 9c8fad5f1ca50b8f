#include "serve/operations.h"

#include <doctest/doctest.h>

#include "base/checksum.h"
#include "serve/records.h"

namespace sp::serve {
namespace {

const wire::AttachmentId one{1, 7}, other{1, 8};

TEST_CASE("an operation is found under its own attachment only") {
  Operations operations;
  operations.add(one, 5, Version(1, 9));
  CHECK_EQ(operations.find(one, 5), Version(1, 9));
  CHECK_FALSE(operations.find(one, 6).has_value());
  CHECK_FALSE(operations.find(other, 5).has_value());
}

TEST_CASE(
    "what a client will not retry any more is forgotten, and refused as obsolete from then on") {
  Operations operations;
  operations.add(one, 5, Version(1, 1));
  operations.add(one, 6, Version(1, 2));
  operations.heard(one, 100, 6);
  CHECK_FALSE(operations.find(one, 5).has_value());
  CHECK(operations.obsolete(one, 5));
  CHECK_FALSE(operations.obsolete(one, 6));
  CHECK(operations.find(one, 6).has_value());
  operations.heard(one, 100, 4);
  CHECK(operations.obsolete(one, 5));
}

TEST_CASE("a new process of a client counts anew, and what is known stays known") {
  Operations operations;
  operations.heard(one, 100, 50);
  operations.add(one, 60, Version(2, 1));
  operations.heard(one, 101, 3);
  CHECK_FALSE(operations.obsolete(one, 4));
  CHECK(operations.obsolete(one, 2));
  CHECK(operations.find(one, 60).has_value());
}

TEST_CASE("only what was decided is inherited by the next leadership") {
  Operations earlier;
  earlier.add(one, 1, Version(3, 1));
  earlier.add(one, 2, Version(3, 2));
  Operations next;
  next.inherit(earlier, Version(3, 1));
  CHECK(next.find(one, 1).has_value());
  CHECK_FALSE(next.find(one, 2).has_value());
}

TEST_CASE("content is held against range, size and every checksum") {
  Buffer data = Buffer::zeroed(2 * limits::block_bytes);
  std::vector<uint64_t> crcs{crc64(block_of(data.bytes(), 0)), crc64(block_of(data.bytes(), 1))};
  CHECK_EQ(check_content(false, 0, 2, crcs, data.bytes()), "");
  CHECK_NE(check_content(false, limits::blocks_per_object - 1, 2, crcs, data.bytes()), "");
  CHECK_NE(check_content(false, 0, 0, {}, {}), "");
  CHECK_NE(check_content(false, 0, 1, crcs, data.bytes()), "");
  CHECK_NE(check_content(true, 0, 2, crcs, data.bytes()), "");
  CHECK_EQ(check_content(true, 0, limits::blocks_per_object, {}, {}), "");
  data.data()[limits::block_bytes] = std::byte{1};
  CHECK_NE(check_content(false, 0, 2, crcs, data.bytes()), "");
}

TEST_CASE("a record is the same after the way to the store's form and back") {
  wire::CopyRecord record;
  record.discard = true;
  record.set = {3, 4};
  record.version = Version(5, 6);
  record.object = {7, 8};
  record.first_block = 9;
  record.block_count = 10;
  record.attachment = {11, 12};
  record.operation = 13;
  const wire::CopyRecord back = to_wire(to_store(record));
  CHECK_EQ(encode(wire::Prepare{1, 2, back, {}, {}}), encode(wire::Prepare{1, 2, record, {}, {}}));
}

}  // namespace
}  // namespace sp::serve
