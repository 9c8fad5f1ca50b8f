#include <doctest/doctest.h>

#include <functional>

#include "wire/beacon_messages.h"
#include "wire/data_messages.h"
#include "wire/frame.h"
#include "wire/member_messages.h"

using namespace sp;
using namespace sp::wire;

namespace {

// A full example of each message: every list, optional and text holds something.
map::DiskSet a_set() {
  map::DiskSet set;
  set.id = {7, 300};
  set.epoch = 12;
  set.revision = 99;
  set.activated = true;
  set.acting = {1, 2, 3};
  set.recovering = {4};
  set.base = {1, 2};
  set.target = {1, 2, 4};
  return set;
}
CopyRecord a_record() {
  return {true, {7, 3}, Version(3, 9), {5, 6}, 10, 20, {3, 77}, 123456789012ull};
}
Report a_report() {
  Report report;
  report.fenced_index = 91;
  report.unreachable = {{ServiceKind::server, 3, 2}};
  report.disks = {{1, 2, 3, 4, 5, 6}, {2, 3, 4, 5, 6, 7}};
  report.tasks = {{9, 8, 7, 6, 5}};
  report.sets = {{{1, 2}, 3, "min_copies: disk 3 is missing"}};
  report.requests_waiting = {{4, 5000}};
  return report;
}
map::Disk a_disk() {
  return {17,
          {ServiceKind::server, 2, 1},
          true,
          "",
          0x1234,
          1ull << 40,
          "/dev/nvme0n1",
          "model",
          "serial",
          "top slot",
          false};
}
std::vector<std::byte> some_bytes() { return {std::byte{1}, std::byte{255}, std::byte{0}}; }

// Calls check(name, encoded, decode-and-encode-again) for each message.
using Again = std::optional<std::vector<std::byte>> (*)(Bytes);
template <class T>
std::optional<std::vector<std::byte>> again(Bytes bytes) {
  const auto message = decode<T>(bytes);
  if (!message) return std::nullopt;
  return encode(*message);
}
struct Example {
  const char* name;
  std::vector<std::byte> bytes;
  Again again;
};
template <class T>
Example example(const char* name, const T& message) {
  return {name, encode(message), again<T>};
}

std::vector<Example> examples() {
  const std::vector<uint64_t> crcs = {1, 2, ~0ull};
  BeginEpochReply begun;
  begun.ok = true;
  begun.epoch = 4;
  begun.decided_to = Version(1, 2);
  begun.complete_to = Version(1, 1);
  begun.undecided = {a_record(), a_record()};
  begun.operations.emplace_back();
  begun.blocks_free = 1ull << 33;
  begun.text = "text";
  return {
      example("ReadRequest", ReadRequest{{1, 2}, 3, {4, 5}, 6, 7, {8, 9}, true}),
      example("ReadReply", ReadReply{DataStatus::stale_epoch, crcs, a_set(), "why"}),
      example("WriteRequest",
              WriteRequest{{1, 2}, 3, {4, 5}, 6, 7, {8, 9}, 10, 11, true, Version(1, 5), crcs}),
      example("WriteReply", WriteReply{DataStatus::busy, a_set(), "why"}),
      example("BeginEpoch", BeginEpoch{{1, 2}, 3, 1ull << 63, 4, 5, true}),
      example("BeginEpochReply", begun),
      example("Prepare", Prepare{1, 2, a_record(), Version(3, 4), crcs}),
      example("PrepareReply", PrepareReply{true, {1, 2}, 3, Version(4, 5), true, 6, "text"}),
      example("Decided", Decided{{1, 2}, 3, 4, Version(5, 6), Version(5, 1)}),
      example("FetchUndecided", FetchUndecided{{1, 2}, 3, 4, Version(5, 6)}),
      example("FetchUndecidedReply", FetchUndecidedReply{true, crcs, "text"}),
      example("RecoverObject", RecoverObject{{1, 2},
                                             3,
                                             4,
                                             11,
                                             {5, 6},
                                             Version(7, 8),
                                             {{9, Version(1, 1), 5}},
                                             {9, 10},
                                             true,
                                             Version(7, 9)}),
      example("RecoverObjectReply", RecoverObjectReply{true, "text"}),
      example("FetchBlock", FetchBlock{{1, 2}, 3, 4, {5, 6}, 7, Version(8, 9)}),
      example("FetchBlockReply", FetchBlockReply{true, true, 77, "text"}),
      example("AskSpace", AskSpace{3}),
      example("AskSpaceReply", AskSpaceReply{true, 1ull << 40}),
      example("Digest", Digest{{1, 2}, 3}),
      example("DigestReply", DigestReply{true, 1, 2, "text"}),
      example("Report", a_report()),
      example(
          "Register",
          Register{{{ServiceKind::server, 2, 1}, true, 5, "10.0.0.2:4101", "0.1.0", 1700000000000},
                   {a_disk(), a_disk()},
                   true}),
      example("MapPiece", MapPiece{1, 2, 3, 4, some_bytes()}),
      example("LeaseRequest", LeaseRequest{1, 2, a_report()}),
      example("LeaseGrant", LeaseGrant{1, 2, 3}),
      example("Confirmed", Confirmed{9}),
      example("CommandRequest", CommandRequest{some_bytes()}),
      example("CommandReply", CommandReply{false, Code::stale, 7, "the epoch moved"}),
      example("ReportsReply",
              ReportsReply{
                  true, Code::failed, "", true, {{{ServiceKind::client, 3, 1}, a_report(), 40}}}),
      example("BeaconHello", BeaconHello{77, 78}),
      example("RegisterRefused", RegisterRefused{"too old"}),
      example("ForwardCommand", ForwardCommand{3, 4, 5, 6, true, some_bytes()}),
      example("ForwardReply", ForwardReply{5, 6, Code::transient, "later"}),
      example("NodeLeaseRequest",
              NodeLeaseRequest{1, 2, 3, {{{ServiceKind::server, 1, 1}, 5, true, a_report()}}}),
      example("NodeLeaseGrant", NodeLeaseGrant{1, 2, 3, {{ServiceKind::server, 1, 1}}}),
      example("NodeConfirmed", NodeConfirmed{8}),
      example("NodeReportsReply",
              NodeReportsReply{false,
                               Code::unreachable,
                               "no leader",
                               true,
                               {{{ServiceKind::client, 3, 1}, a_report(), 40}}}),
  };
}

}  // namespace

TEST_CASE("every message comes back from its bytes as it was") {
  for (const Example& e : examples()) {
    CAPTURE(e.name);
    const auto bytes = e.again(e.bytes);
    REQUIRE(bytes.has_value());
    CHECK(*bytes == e.bytes);
  }
}

TEST_CASE("fields keep their values across the wire") {
  const auto write = decode<WriteRequest>(
      encode(WriteRequest{{1, 2}, 3, {4, 5}, 6, 7, {8, 9}, 10, 11, true, Version(1, 5), {12, 13}}));
  REQUIRE(write.has_value());
  CHECK(write->set == SetId{1, 2});
  CHECK(write->epoch == 3);
  CHECK(write->object == ObjectId{4, 5});
  CHECK(write->first_block == 6);
  CHECK(write->block_count == 7);
  CHECK(write->attachment.client == 8);
  CHECK(write->attachment.generation == 9);
  CHECK(write->operation == 10);
  CHECK(write->oldest_open_operation == 11);
  CHECK(write->discard);
  CHECK(write->writer_version == Version(1, 5));
  CHECK(write->crcs == std::vector<uint64_t>{12, 13});
  const auto reply =
      decode<ReadReply>(encode(ReadReply{DataStatus::stale_epoch, {}, a_set(), "moved"}));
  REQUIRE((reply && reply->current));
  CHECK(reply->current->id == SetId{7, 300});
  CHECK(reply->current->acting == std::vector<DiskId>{1, 2, 3});
  CHECK(reply->current->target == std::vector<DiskId>{1, 2, 4});
  CHECK(reply->text == "moved");
}

TEST_CASE("a message cut short anywhere, or with a byte too many, is refused") {
  for (const Example& e : examples()) {
    CAPTURE(e.name);
    for (size_t size = 0; size < e.bytes.size(); ++size) {
      CAPTURE(size);
      CHECK_FALSE(e.again(Bytes(e.bytes).first(size)).has_value());
    }
    auto longer = e.bytes;
    longer.push_back(std::byte{0});
    CHECK_FALSE(e.again(longer).has_value());
  }
}

TEST_CASE("a message with flipped bits is refused or means exactly the flipped bytes") {
  for (const Example& e : examples()) {
    CAPTURE(e.name);
    for (size_t bit = 0; bit < e.bytes.size() * 8; ++bit) {
      auto flipped = e.bytes;
      flipped[bit / 8] ^= static_cast<std::byte>(1u << (bit % 8));
      if (const auto bytes = e.again(flipped)) CHECK(*bytes == flipped);
    }
  }
}

TEST_CASE("counts beyond what a message may hold are refused before anything is allocated") {
  Writer out;
  out.number(uint8_t{0}).number(UINT32_MAX);
  CHECK_FALSE(decode<ReadReply>(out.view()).has_value());
  auto piece = encode(MapPiece{1, 2, 3, 4, {}});
  const uint32_t count = map_piece_bytes + 1;
  std::memcpy(piece.data() + 32, &count, sizeof count);
  piece.resize(piece.size() + count);
  CHECK_FALSE(decode<MapPiece>(piece).has_value());
  ReadRequest read;
  read.block_count = 1025;
  CHECK_FALSE(decode<ReadRequest>(encode(read)).has_value());
}

TEST_CASE(
    "a report that is too long is cut so that the reports of a whole node fit into a message") {
  Report report;
  report.unreachable.resize(10'000);
  report.disks.resize(10'000);
  report.tasks.resize(10'000);
  report.sets.resize(10'000, SetReport{{1, 2}, 3, std::string(5000, 'x')});
  report.requests_waiting.resize(10'000);
  trim(report);
  const auto bytes = encode(report);
  CHECK(bytes.size() * (limits::servers_per_node_max + 2) < limits::message_body_bytes_max);
  CHECK(decode<Report>(bytes).has_value());
}

TEST_CASE("the worked example of sp-protocol(7) is what goes over the wire") {
  const Message m{
      MessageType::lease_grant, 0, encode(LeaseGrant{1'000'000'000, 600'000'000, 42}), {}};
  const FrameHeader header = frame_header(m, 3, 1);
  CHECK(to_hex(struct_bytes(header)) + to_hex(m.body) ==
        "5350464d01006400180000000000000000000000000000000300000000000000305cc75f000000003107cff00e"
        "e05c8b"
        "00ca9a3b000000000046c323000000002a00000000000000");
}

TEST_CASE("fields of a later version are neither written nor read on an older connection") {
  const Register full{{{ServiceKind::server, 2, 1}, true, 5, "a", "v", 6}, {}, true, 2};
  const auto older = encode(full, 1), newer = encode(full, 2);
  CHECK_EQ(older.size() + 4, newer.size());
  CHECK_EQ(decode<Register>(older, 1)->feature_level, 1);
  CHECK_EQ(decode<Register>(newer, 2)->feature_level, 2);
  CHECK_FALSE(decode<Register>(older, 2).has_value());
  CHECK_FALSE(decode<Register>(newer, 1).has_value());
  CHECK_EQ(decode<BeaconHello>(encode(BeaconHello{7, 9}, 1), 1)->removed_index, 0);
}
