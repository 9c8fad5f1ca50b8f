#include "beacon/raft_log_format.h"

#include <algorithm>

#include "base/checksum.h"
#include "base/limits.h"

namespace sp::beacon {

namespace {

constexpr uint64_t identity_magic = 0x31474f4c54464152;  // "RAFTLOG1"
constexpr uint64_t vote_magic = 0x3145544f56464152;      // "RAFVOTE1"
constexpr uint64_t header_magic = 0x3144414548464152;    // "RAFHEAD1"
constexpr uint64_t frame_magic = 0x31454d4152464152;     // "RAFRAME1"
constexpr size_t crc_offset = 8;                         // in all of them: magic, crc64, fields

constexpr uint8_t frame_kind_entries = 1;
constexpr uint8_t frame_kind_skip = 2;

void write_vote(Writer& out, const RaftVote& vote) {
  out.number(vote.sequence).number(vote.state.term).number(uint64_t{vote.state.vote});
}

RaftVote read_vote(Reader& in) {
  RaftVote vote;
  vote.sequence = in.number<uint64_t>();
  vote.state.term = in.number<uint64_t>();
  vote.state.vote = static_cast<NodeId>(in.number<uint64_t>());
  return vote;
}

uint64_t crc_without_itself(Bytes bytes) {
  const uint64_t zero = 0;
  uint64_t crc = crc64(bytes.first(crc_offset));
  crc = crc64(struct_bytes(zero), crc);
  return crc64(bytes.subspan(crc_offset + sizeof zero), crc);
}

// Pads to whole pages and fills in the crc.
Buffer seal(const Writer& out, uint64_t* hash = nullptr) {
  const size_t size = (out.size() + raft_page_bytes - 1) / raft_page_bytes * raft_page_bytes;
  Buffer buffer = Buffer::zeroed(size);
  std::memcpy(buffer.data(), out.view().data(), out.size());
  const uint64_t crc = crc_without_itself(buffer.bytes());
  std::memcpy(buffer.data() + crc_offset, &crc, sizeof crc);
  if (hash != nullptr) *hash = crc;
  return buffer;
}

// The fields after magic and crc, when both are right.
std::optional<Reader> unseal(Bytes bytes, uint64_t magic) {
  if (bytes.size() < raft_page_bytes || load<uint64_t>(bytes.first(8)) != magic)
    return std::nullopt;
  if (load<uint64_t>(bytes.subspan(crc_offset, 8)) != crc_without_itself(bytes))
    return std::nullopt;
  return Reader(bytes.subspan(crc_offset + 8));
}

Writer begin(uint64_t magic) {
  Writer out;
  out.number(magic).number(uint64_t{0});
  return out;
}

}  // namespace

Buffer encode_identity(const RaftLogIdentity& identity) {
  Writer out = begin(identity_magic);
  out.number(identity.cluster).number(identity.log_id).number(uint64_t{identity.node});
  out.number(identity.frames_bytes).number(identity.snapshot_bytes);
  return seal(out);
}

std::optional<RaftLogIdentity> decode_identity(Bytes page) {
  auto in = unseal(page, identity_magic);
  if (!in) return std::nullopt;
  RaftLogIdentity identity;
  identity.cluster = in->number<uint64_t>();
  identity.log_id = in->number<uint64_t>();
  identity.node = static_cast<NodeId>(in->number<uint64_t>());
  identity.frames_bytes = in->number<uint64_t>();
  identity.snapshot_bytes = in->number<uint64_t>();
  constexpr uint64_t bytes_max = uint64_t{1} << 40;
  const bool sane = identity.log_id != 0 && identity.frames_bytes % raft_page_bytes == 0 &&
                    identity.snapshot_bytes % raft_page_bytes == 0 &&
                    identity.frames_bytes >= 2 * uint64_t{raft_frame_bytes_max} &&
                    identity.frames_bytes <= bytes_max && identity.snapshot_bytes <= bytes_max;
  if (!sane) return std::nullopt;
  return identity;
}

Buffer encode_vote(const RaftVote& vote, uint64_t log_id) {
  Writer out = begin(vote_magic);
  out.number(log_id);
  write_vote(out, vote);
  return seal(out);
}

std::optional<RaftVote> decode_vote(Bytes page, uint64_t log_id) {
  auto in = unseal(page, vote_magic);
  if (!in || in->number<uint64_t>() != log_id) return std::nullopt;
  return read_vote(*in);
}

Buffer encode_header(const RaftHeader& header, uint64_t log_id) {
  Writer out = begin(header_magic);
  out.number(log_id).number(header.sequence).number(header.opening);
  out.number(header.start)
      .number(header.start_hash)
      .number(header.end)
      .number(header.end_hash)
      .number(header.last_index);
  write_vote(out, header.vote);
  out.number(uint32_t{header.abstain}).number(header.snapshot_region).number(header.snapshot_size);
  out.number(header.snapshot_checksum).number(header.snapshot_index);
  out.number(header.base.index).number(header.base.term);
  header.base.config.encode(out);
  return seal(out);
}

std::optional<RaftHeader> decode_header(Bytes page, uint64_t log_id) {
  auto in = unseal(page, header_magic);
  if (!in || in->number<uint64_t>() != log_id) return std::nullopt;
  RaftHeader header;
  header.sequence = in->number<uint64_t>();
  header.opening = in->number<uint64_t>();
  header.start = in->number<uint64_t>();
  header.start_hash = in->number<uint64_t>();
  header.end = in->number<uint64_t>();
  header.end_hash = in->number<uint64_t>();
  header.last_index = in->number<uint64_t>();
  header.vote = read_vote(*in);
  header.abstain = in->number<uint32_t>() != 0;
  header.snapshot_region = in->number<uint32_t>();
  header.snapshot_size = in->number<uint64_t>();
  header.snapshot_checksum = in->number<uint64_t>();
  header.snapshot_index = in->number<uint64_t>();
  header.base.index = in->number<uint64_t>();
  header.base.term = in->number<uint64_t>();
  auto config = raft::Config::decode(*in);
  const bool aligned = header.start % raft_page_bytes == 0 && header.end % raft_page_bytes == 0 &&
                       header.start <= header.end;
  if (!config.ok() || !aligned || header.snapshot_region > 1) return std::nullopt;
  header.base.config = std::move(config).value();
  return header;
}

uint64_t frame_entry_bytes(const raft::LogEntry& entry) {
  return 8 + 8 + 4 + 4 + entry.data.size();
}

EncodedFrame encode_frame(const RaftFrame& frame) {
  uint64_t payload = 0;
  for (const raft::LogEntry& entry : frame.entries) payload += frame_entry_bytes(entry);
  const uint64_t size =
      (raft_frame_head_bytes + payload + raft_page_bytes - 1) / raft_page_bytes * raft_page_bytes;
  SP_ASSERT_OP(size, <=, raft_frame_bytes_max);
  Writer out = begin(frame_magic);
  out.number(frame.log_id).number(frame.position).number(frame.before).number(frame.opening);
  write_vote(out, frame.vote);
  out.number(frame.truncate_from);
  out.number(static_cast<uint32_t>(size)).number(static_cast<uint32_t>(frame.entries.size()));
  out.number(uint64_t{frame.skip ? frame_kind_skip : frame_kind_entries});
  SP_ASSERT_OP(out.size(), ==, raft_frame_head_bytes);
  for (const raft::LogEntry& entry : frame.entries) {
    out.number(entry.index)
        .number(entry.term)
        .number(static_cast<uint32_t>(entry.kind))
        .number(static_cast<uint32_t>(entry.data.size()));
    out.raw(entry.data);
  }
  EncodedFrame encoded;
  encoded.bytes = seal(out, &encoded.hash);
  return encoded;
}

uint32_t frame_size(Bytes page, uint64_t log_id, uint64_t position) {
  Reader in(page);
  const bool ours = in.number<uint64_t>() == frame_magic &&
                    (in.number<uint64_t>(), in.number<uint64_t>()) == log_id &&
                    in.number<uint64_t>() == position;
  in.raw(8 + 8 + 24 + 8);
  const auto size = in.number<uint32_t>();
  const bool sane = ours && !in.failed() && size >= raft_page_bytes &&
                    size <= raft_frame_bytes_max && size % raft_page_bytes == 0;
  return sane ? size : 0;
}

std::optional<DecodedFrame> decode_frame(Bytes bytes) {
  auto in = unseal(bytes, frame_magic);
  if (!in) return std::nullopt;
  DecodedFrame decoded;
  RaftFrame& frame = decoded.frame;
  decoded.hash = load<uint64_t>(bytes.subspan(crc_offset, 8));
  frame.log_id = in->number<uint64_t>();
  frame.position = in->number<uint64_t>();
  frame.before = in->number<uint64_t>();
  frame.opening = in->number<uint64_t>();
  frame.vote = read_vote(*in);
  frame.truncate_from = in->number<uint64_t>();
  const auto size = in->number<uint32_t>();
  const auto count = in->number<uint32_t>();
  const auto kind = in->number<uint64_t>();
  frame.skip = kind == frame_kind_skip;
  if (size != bytes.size() || (kind != frame_kind_entries && kind != frame_kind_skip))
    return std::nullopt;
  for (uint32_t i = 0; i < count && !in->failed(); ++i) {
    raft::LogEntry entry;
    entry.index = in->number<uint64_t>();
    entry.term = in->number<uint64_t>();
    const auto entry_kind = in->number<uint32_t>();
    if (entry_kind < 1 || entry_kind > 3) return std::nullopt;
    entry.kind = static_cast<raft::EntryKind>(entry_kind);
    const Bytes data = in->raw(in->count(limits::raft_command_bytes_max));
    entry.data.assign(data.begin(), data.end());
    frame.entries.push_back(std::move(entry));
  }
  if (in->failed()) return std::nullopt;
  return decoded;
}

}  // namespace sp::beacon
