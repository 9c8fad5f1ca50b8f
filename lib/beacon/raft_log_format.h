// The records of a raft log on its disk, in memory and as bytes. sp-raft-log(5) is the page of this
// format; keep both equal. Everything is in units of 4096 bytes, little-endian, and carries the
// crc64 of itself with the crc field as zero. Decoding never trusts a length before it has compared
// it with its bound, and yields nothing (rather than an error) for bytes that are not a whole
// record.
#pragma once
#include <optional>

#include "base/buffer.h"
#include "base/ids.h"
#include "raft/types.h"

namespace sp::beacon {

constexpr uint32_t raft_page_bytes = 4096;
constexpr uint64_t raft_vote_page = 2;    // two of them
constexpr uint64_t raft_header_page = 4;  // the ring
constexpr uint64_t raft_header_count = 8;
constexpr uint64_t raft_frames_page = 16;  // then the frames, then two snapshot regions
constexpr uint32_t raft_frame_bytes_max = 4u << 20;
constexpr uint32_t raft_frame_head_bytes = 96;

// Pages 0 and 1, written once.
struct RaftLogIdentity {
  ClusterId cluster = 0;
  NodeId node = 0;
  uint64_t log_id = 0;
  uint64_t frames_bytes = 128u << 20;
  uint64_t snapshot_bytes = 256u << 20;  // each of two
  bool operator==(const RaftLogIdentity&) const = default;

  uint64_t frames_offset() const { return raft_frames_page * raft_page_bytes; }
  uint64_t snapshot_offset(uint32_t region) const {
    return frames_offset() + frames_bytes + region * snapshot_bytes;
  }
  uint64_t disk_bytes() const { return snapshot_offset(2); }
};

// A term and its vote with the count of changes that led to it: the highest one found is the truth.
struct RaftVote {
  uint64_t sequence = 0;
  raft::HardState state;
  bool operator==(const RaftVote&) const = default;
};

// What was acknowledged. One page of the ring each; the highest sequence counts.
struct RaftHeader {
  uint64_t sequence = 0;
  uint64_t opening = 0;     // count of openings: frames of two openings never look alike
  raft::Mark base;          // entries up to base.index are not in the frames, or not needed there
  uint64_t start = 0;       // position of the first frame
  uint64_t start_hash = 0;  // what that frame names as the one before it
  uint64_t end = 0;         // position behind the last acknowledged frame
  uint64_t end_hash = 0;    // of that frame
  raft::Index last_index = 0;  // of the acknowledged log
  RaftVote vote;
  bool abstain = false;
  uint32_t snapshot_region = 0;
  uint64_t snapshot_size = 0;  // with snapshot_index 0: none is kept
  uint64_t snapshot_checksum = 0;
  raft::Index snapshot_index = 0;
  bool operator==(const RaftHeader&) const = default;
};

// A batch of entries. Positions only grow; a frame lies at position modulo the size of the frames,
// and never wraps around its end.
struct RaftFrame {
  uint64_t log_id = 0;
  uint64_t opening = 0;
  uint64_t position = 0;
  uint64_t before = 0;            // hash (the crc64) of the frame before this one
  RaftVote vote;                  // in force when the frame was written
  raft::Index truncate_from = 0;  // not 0: first drop the entries from here on
  bool skip = false;              // the frames go on at the begin of the area; holds no entries
  std::vector<raft::LogEntry> entries;
};

Buffer encode_identity(const RaftLogIdentity& identity);
std::optional<RaftLogIdentity> decode_identity(Bytes page);
Buffer encode_vote(const RaftVote& vote, uint64_t log_id);
std::optional<RaftVote> decode_vote(Bytes page, uint64_t log_id);
Buffer encode_header(const RaftHeader& header, uint64_t log_id);
std::optional<RaftHeader> decode_header(Bytes page, uint64_t log_id);

uint64_t frame_entry_bytes(const raft::LogEntry& entry);  // what an entry takes in a frame
struct EncodedFrame {
  Buffer bytes;
  uint64_t hash = 0;
};
EncodedFrame encode_frame(const RaftFrame& frame);
// The size that the first page of a frame claims: 0 when it is no frame of this log at this
// position, else 4096 to raft_frame_bytes_max.
uint32_t frame_size(Bytes page, uint64_t log_id, uint64_t position);
struct DecodedFrame {
  RaftFrame frame;
  uint64_t hash = 0;
};
std::optional<DecodedFrame> decode_frame(Bytes bytes);

}  // namespace sp::beacon
