// Message: one frame's content. Fixed header (type, request number), a small encoded body, and
// block data that is carried by reference, not copied into the body.
#pragma once
#include <cstdint>
#include <optional>
#include <vector>

#include "base/buffer.h"
#include "base/bytes.h"
#include "base/versions.h"

namespace sp::wire {

// Messages that have fields of a later version are encoded for the version that the connection has
// (Connection::protocol); for all others it does not matter.
constexpr uint8_t protocol_newest = Versions().protocol_newest;

// Ranges decide who may send what (checked by the receiver with the peer's authenticated role):
// 1-31 any role; 32-63 client or server to server; 64-95 server to server only; 96-127 service to
// beacon and back; 128-159 beacon to beacon only.
enum class MessageType : uint8_t {
  ping = 1,
  pong = 2,  // no body; a ping is answered by a pong with its request number
  // 32..: data requests (wire/data_messages.h)
  read = 32,
  read_reply = 33,
  write = 34,
  write_reply = 35,
  digest = 36,
  digest_reply = 37,
  ask_statistics = 38,
  statistics_reply = 39,
  // 64..: between the copies of a set
  begin_epoch = 64,
  begin_epoch_reply = 65,
  prepare = 66,
  prepare_reply = 67,
  decided = 68,
  fetch_undecided = 69,
  fetch_undecided_reply = 70,
  recover_begin = 71,
  recover_begin_reply = 72,
  recover_object = 73,
  recover_object_reply = 74,
  fetch_block = 75,
  fetch_block_reply = 76,
  ask_space = 77,
  ask_space_reply = 78,
  // 96..: services and their beacon (wire/member_messages.h)
  register_ = 96,
  map_full = 97,
  map_delta = 98,
  lease_request = 99,
  lease_grant = 100,
  command = 101,
  command_reply = 102,
  reports_query = 103,
  reports_reply = 104,
  confirmed = 105,
  register_refused = 106,
  // 128..: beacons among themselves (wire/beacon_messages.h)
  raft = 128,
  forward_command = 129,
  forward_reply = 130,
  node_lease_request = 131,
  node_lease_grant = 132,
  beacon_hello = 133,
  node_confirmed = 134,
  node_reports_query = 135,
  node_reports_reply = 136,
};

struct Message {
  MessageType type{};
  uint64_t request = 0;         // replies carry the request's number; 0 where there is no reply
  std::vector<std::byte> body;  // up to limits::message_body_bytes_max
  Buffer data;                  // up to limits::message_data_bytes_max; empty for most
};

// The message of type T that is exactly this body, or none; beside encode() of each.
template <class T>
std::optional<T> decode(Bytes body, uint8_t protocol = protocol_newest);

}  // namespace sp::wire
