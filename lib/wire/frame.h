// Frame: how one message lies on a connection: a header of 48 bytes, the body, the block data.
// Offsets and a worked example: sp-protocol(7).
//
// The header has a checksum of its own (header_crc), so that no length is believed, waited for or
// allocated before it is known to be what was sent; `crc` then covers header and body. Block data
// is covered end to end by the checksums of its blocks, which travel in the body. `sequence` counts
// the frames of one direction from 0: a frame that was lost, doubled or moved by a faulty path ends
// the connection. Pure: no I/O.
#pragma once
#include <cstddef>
#include <cstdint>

#include "base/bytes.h"
#include "base/ids.h"
#include "base/limits.h"
#include "base/result.h"
#include "wire/message.h"

namespace sp::wire {

constexpr uint32_t frame_magic = 0x4d465053;  // "SPFM"

struct FrameHeader {
  uint32_t magic = frame_magic;
  uint16_t version = 0;  // of the protocol, as the handshake has chosen it
  uint8_t type = 0;
  uint8_t reserved = 0;
  uint32_t body_bytes = 0;
  uint32_t data_bytes = 0;
  uint64_t request = 0;
  uint64_t sequence = 0;
  uint32_t header_crc = 0;  // crc32c of the 32 bytes before
  uint32_t reserved_too = 0;
  uint64_t crc = 0;  // crc64 of the 40 bytes before, then of the body
};
static_assert(sizeof(FrameHeader) == 48);
static_assert(offsetof(FrameHeader, type) == 6);
static_assert(offsetof(FrameHeader, body_bytes) == 8);
static_assert(offsetof(FrameHeader, data_bytes) == 12);
static_assert(offsetof(FrameHeader, request) == 16);
static_assert(offsetof(FrameHeader, sequence) == 24);
static_assert(offsetof(FrameHeader, header_crc) == 32);
static_assert(offsetof(FrameHeader, crc) == 40);
static_assert(std::is_trivially_copyable_v<FrameHeader> && alignof(FrameHeader) == 8);

// The header of `message` as frame number `sequence`; asserts that the message keeps to the limits.
FrameHeader frame_header(const Message& message, uint64_t sequence, uint8_t protocol);

// The first sizeof(FrameHeader) bytes of a frame. Code::invalid when they are not an acceptable
// header or not frame number `sequence`.
Result<FrameHeader> parse_header(Bytes bytes, uint64_t sequence, uint8_t protocol);

// Whether `body` is the body that belongs to the header.
bool body_matches(const FrameHeader& header, Bytes body);

// Roles are kinds of services. May a peer of kind `sender` say `type` to a service of kind
// `receiver`?
bool may_say(ServiceKind sender, ServiceKind receiver, uint8_t type);

}  // namespace sp::wire
