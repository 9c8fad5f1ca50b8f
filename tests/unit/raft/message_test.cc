// The encoding of messages and configurations, against what a broken or hostile peer may send.
#include <doctest/doctest.h>

#include "raft/message.h"

using namespace sp;
using namespace sp::raft;

namespace {

Config three() { return {{{1, 11, true}, {2, 22, true}, {5, 55, false}}}; }

Message append() {
  Message m{.type = MessageType::append,
            .from = 3,
            .to = 4,
            .from_log = 33,
            .to_log = 44,
            .term = 9,
            .index = 100,
            .log_term = 7,
            .commit = 99};
  m.entries.push_back({101, 7, EntryKind::command, {std::byte{1}, std::byte{2}}});
  m.entries.push_back({102, 9, EntryKind::noop, {}});
  m.entries.push_back({103, 9, EntryKind::configuration, three().encoded()});
  return m;
}

Message chunk() {
  return {.type = MessageType::snapshot_chunk,
          .from = 3,
          .to = 4,
          .from_log = 33,
          .to_log = 44,
          .term = 9,
          .index = 100,
          .log_term = 7,
          .offset = 4,
          .total = 9,
          .checksum = 77,
          .config = three(),
          .data = {5, std::byte{6}}};
}

}  // namespace

TEST_CASE("a message of any type reads back as it was") {
  for (int type = 1; type <= static_cast<int>(MessageType::wrong_log); ++type) {
    Message m{.type = static_cast<MessageType>(type),
              .from = 1,
              .to = 2,
              .from_log = 3,
              .to_log = 4,
              .term = 5,
              .index = 6,
              .log_term = 5,
              .commit = 8,
              .round = 9,
              .nonce = 10,
              .offset = 0,
              .refused = true,
              .transfer = true};
    const auto decoded = Message::decode(m.encode());
    REQUIRE(decoded.ok());
    CHECK(*decoded == m);
  }
  for (const Message& m : {append(), chunk()}) {
    const auto decoded = Message::decode(m.encode());
    REQUIRE(decoded.ok());
    CHECK(*decoded == m);
  }
}

TEST_CASE("a message cut short anywhere, or with a byte more, is refused") {
  for (const Message& m : {append(), chunk()}) {
    auto bytes = m.encode();
    for (size_t size = 0; size < bytes.size(); ++size)
      CHECK_FALSE(Message::decode(Bytes(bytes).first(size)).ok());
    bytes.push_back(std::byte{0});
    CHECK_FALSE(Message::decode(bytes).ok());
  }
}

TEST_CASE(
    "a message with any byte changed is refused or read as a message that encodes to the same "
    "bytes") {
  for (const Message& m : {append(), chunk()}) {
    const auto bytes = m.encode();
    for (size_t i = 0; i < bytes.size(); ++i)
      for (const int flip : {1, 0x80, 0xff}) {
        auto changed = bytes;
        changed[i] ^= static_cast<std::byte>(flip);
        const auto decoded = Message::decode(changed);
        if (decoded.ok()) CHECK(decoded->encode() == changed);
      }
  }
}

TEST_CASE("entries with impossible terms and chunks outside their snapshot are refused") {
  Message falling = append();
  falling.entries[1].term = 6;
  CHECK_FALSE(Message::decode(falling.encode()).ok());
  Message future = append();
  future.entries[2].term = 10;
  CHECK_FALSE(Message::decode(future.encode()).ok());
  Message outside = chunk();
  outside.offset = 5;
  CHECK_FALSE(Message::decode(outside.encode()).ok());
  Message huge = chunk();
  huge.total = limits::raft_snapshot_bytes_max + 1;
  CHECK_FALSE(Message::decode(huge.encode()).ok());
}

TEST_CASE("a configuration with a repeated, unordered or impossible member is damaged") {
  CHECK(Config::decode_all(three().encoded()).ok());
  CHECK_FALSE(Config::decode_all((Config{{{2, 1, true}, {1, 1, true}}}).encoded()).ok());
  CHECK_FALSE(Config::decode_all((Config{{{1, 1, true}, {1, 2, true}}}).encoded()).ok());
  CHECK_FALSE(Config::decode_all((Config{{{0, 1, true}}}).encoded()).ok());
  CHECK_FALSE(Config::decode_all((Config{{{64, 1, true}}}).encoded()).ok());
  CHECK_FALSE(Config::decode_all((Config{{{1, 0, true}}}).encoded()).ok());
}
