#include "wire/frame.h"

#include "base/checksum.h"

namespace sp::wire {

namespace {

constexpr size_t header_crc_covers = offsetof(FrameHeader, header_crc);
constexpr size_t crc_covers = offsetof(FrameHeader, crc);

uint64_t frame_crc(const FrameHeader& header, Bytes body) {
  return crc64(body, crc64(struct_bytes(header).first(crc_covers)));
}

Error bad(std::string what) { return {Code::invalid, "bad frame: " + std::move(what)}; }

}  // namespace

FrameHeader frame_header(const Message& message, uint64_t sequence, uint8_t protocol) {
  SP_ASSERT_OP(message.body.size(), <=, limits::message_body_bytes_max);
  SP_ASSERT_OP(message.data ? message.data.size() : 0, <=, limits::message_data_bytes_max);
  FrameHeader header;
  header.version = protocol;
  header.type = static_cast<uint8_t>(message.type);
  header.body_bytes = static_cast<uint32_t>(message.body.size());
  header.data_bytes = message.data ? static_cast<uint32_t>(message.data.size()) : 0;
  header.request = message.request;
  header.sequence = sequence;
  header.header_crc = crc32c(struct_bytes(header).first(header_crc_covers));
  header.crc = frame_crc(header, message.body);
  return header;
}

Result<FrameHeader> parse_header(Bytes bytes, uint64_t sequence, uint8_t protocol) {
  SP_ASSERT_OP(bytes.size(), >=, sizeof(FrameHeader));
  const auto header = load<FrameHeader>(bytes);
  if (header.magic != frame_magic)
    return bad("the magic number is wrong; the peer is not speaking this protocol");
  if (header.version != protocol) {
    return bad("protocol version " + std::to_string(header.version) +
               ", the handshake has chosen " + std::to_string(protocol));
  }
  if (header.header_crc != crc32c(bytes.first(header_crc_covers)))
    return bad("the header's checksum does not match");
  if (header.reserved != 0 || header.reserved_too != 0) return bad("a reserved field is not zero");
  if (header.body_bytes > limits::message_body_bytes_max)
    return bad("body of " + std::to_string(header.body_bytes) + " bytes");
  if (header.data_bytes > limits::message_data_bytes_max)
    return bad("data of " + std::to_string(header.data_bytes) + " bytes");
  if (header.sequence != sequence) {
    return bad("frame " + std::to_string(header.sequence) + " came where " +
               std::to_string(sequence) + " was due");
  }
  return header;
}

bool body_matches(const FrameHeader& header, Bytes body) {
  return body.size() == header.body_bytes && frame_crc(header, body) == header.crc;
}

bool may_say(ServiceKind sender, ServiceKind receiver, uint8_t type) {
  const auto serves_data = [](ServiceKind kind) {
    return kind == ServiceKind::server || kind == ServiceKind::client;
  };
  const bool to_beacon = receiver == ServiceKind::beacon;
  const bool from_beacon = sender == ServiceKind::beacon;
  if (type >= 1 && type <= 31) return true;
  if (type >= 32 && type <= 63) {
    return serves_data(sender) && serves_data(receiver) &&
           (sender == ServiceKind::server || receiver == ServiceKind::server);
  }
  if (type >= 64 && type <= 95)
    return sender == ServiceKind::server && receiver == ServiceKind::server;
  if (type >= 96 && type <= 127) return to_beacon != from_beacon;
  if (type >= 128 && type <= 159) return to_beacon && from_beacon;
  return false;
}

}  // namespace sp::wire
