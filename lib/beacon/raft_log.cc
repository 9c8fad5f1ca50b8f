// The writing half of RaftLog: groups of batches, received snapshots, and the ring of headers.
// Opening is in raft_log_open.cc.
#include "beacon/raft_log.h"

#include <algorithm>

#include "base/checksum.h"
#include "base/planted.h"

namespace sp::beacon {

namespace {
constexpr size_t group_bytes_max = 4u << 20;  // batches that share one flush
constexpr uint64_t page_up(uint64_t bytes) {
  return (bytes + raft_page_bytes - 1) / raft_page_bytes * raft_page_bytes;
}
}  // namespace

RaftLog::RaftLog(std::unique_ptr<io::Disk> disk, const RaftLogIdentity& identity, RaftHeader header,
                 std::deque<Frame> frames, uint32_t vote_slot)
    : disk_(std::move(disk)),
      identity_(identity),
      now_(header),
      acknowledged_(std::move(header)),
      durable_start_(now_.start),
      frames_(std::move(frames)),
      vote_slot_(vote_slot) {}

void RaftLog::write(raft::Persist batch, Done done) {
  queue_.push_back({std::move(batch), std::move(done)});
  pump();
}

// Errors, too, come later than the call.
void RaftLog::pump() {
  if (busy_ || queue_.empty()) return;
  busy_ = true;
  if (failed_) return disk_->flush([this](Status) { fail(*failed_); });
  if (queue_.front().batch.install) return start_install();
  start_group();
}

// An upper bound: pages of the frames, and the rest of the area that a wrap may skip.
uint64_t RaftLog::room_needed(const raft::Persist& batch) const {
  if (batch.entries.empty() && batch.truncate_from == 0) return 0;
  uint64_t bytes = raft_frame_head_bytes;
  uint64_t largest = bytes;
  for (const raft::LogEntry& entry : batch.entries) {
    bytes += frame_entry_bytes(entry);
    largest = std::max(largest, raft_frame_head_bytes + frame_entry_bytes(entry));
  }
  const uint64_t frames = 1 + bytes / (raft_frame_bytes_max / 2);
  return page_up(bytes) + frames * 2 * raft_page_bytes +
         std::max(page_up(largest), std::min<uint64_t>(page_up(bytes), raft_frame_bytes_max));
}

void RaftLog::start_group() {
  size_t bytes = 0;
  SP_ASSERT(group_.empty());
  writes_open_ = 1;  // held until all are issued
  vote_changed_ = false;
  while (!queue_.empty() && !queue_.front().batch.install && bytes < group_bytes_max) {
    Waiting& next = queue_.front();
    const uint64_t need = room_needed(next.batch);
    const uint64_t first = SP_PLANTED_BUG(raft_log_room_reused_early) ? now_.start : durable_start_;
    if (now_.end - first + need > identity_.frames_bytes) {
      if (!group_.empty()) break;
      // Room that a compaction gave becomes usable once a header says so.
      if (now_.start != durable_start_) {
        return ask_header(1, [this](Status status) {
          busy_ = false;
          if (!status.ok()) fail(status.error());
          pump();
        });
      }
      return fail(
          Error(Code::no_space, "the agreement log is full; compact it, or make a larger one"));
    }
    bytes += need;
    add_to_group(next.batch);
    group_.push_back(std::move(next.done));
    queue_.pop_front();
  }
  // The slot of the newest acknowledged vote stays as it is; within a group only the last vote
  // counts.
  if (vote_changed_) {
    vote_slot_ = 1 - vote_slot_;
    put((raft_vote_page + vote_slot_) * raft_page_bytes, encode_vote(now_.vote, identity_.log_id));
  }
  written();
}

void RaftLog::add_to_group(raft::Persist& batch) {
  if (batch.hard_state) {
    ++now_.vote.sequence;  // frames of one group may carry several
    now_.vote.state = *batch.hard_state;
    vote_changed_ = true;
  }
  if (batch.truncate_from != 0) {
    SP_ASSERT_OP(batch.truncate_from, >, now_.base.index);
    now_.last_index = std::min(now_.last_index, batch.truncate_from - 1);
    for (Frame& frame : frames_) frame.last = std::min(frame.last, batch.truncate_from - 1);
  }
  if (!batch.entries.empty() || batch.truncate_from != 0) {
    RaftFrame frame;
    frame.truncate_from = batch.truncate_from;
    uint64_t bytes = raft_frame_head_bytes;
    for (raft::LogEntry& entry : batch.entries) {
      const uint64_t entry_bytes = frame_entry_bytes(entry);
      if (!frame.entries.empty() && bytes + entry_bytes > raft_frame_bytes_max / 2) {
        add_frame(std::move(frame));
        frame = RaftFrame();
        bytes = raft_frame_head_bytes;
      }
      bytes += entry_bytes;
      SP_ASSERT_OP(entry.index, ==, now_.last_index + 1);
      now_.last_index = entry.index;
      frame.entries.push_back(std::move(entry));
    }
    add_frame(std::move(frame));
  }
  if (batch.compact) forget_frames_before(*batch.compact);
}

void RaftLog::add_frame(RaftFrame frame) {
  frame.log_id = identity_.log_id;
  frame.opening = now_.opening;
  frame.vote = now_.vote;
  frame.before = now_.end_hash;
  frame.position = now_.end;
  EncodedFrame encoded = encode_frame(frame);
  const uint64_t to_end = identity_.frames_bytes - now_.end % identity_.frames_bytes;
  if (encoded.bytes.size() > to_end) {
    RaftFrame skip;
    skip.skip = true;
    skip.log_id = identity_.log_id;
    skip.opening = now_.opening;
    skip.vote = now_.vote;
    skip.before = now_.end_hash;
    skip.position = now_.end;
    EncodedFrame marker = encode_frame(skip);
    put(identity_.frames_offset() + now_.end % identity_.frames_bytes, std::move(marker.bytes));
    frames_.push_back({now_.end, now_.end_hash, 0});
    now_.end += to_end;
    now_.end_hash = marker.hash;
    return add_frame(std::move(frame));
  }
  frames_.push_back(
      {frame.position, frame.before, frame.entries.empty() ? 0 : frame.entries.back().index});
  const uint64_t offset = identity_.frames_offset() + now_.end % identity_.frames_bytes;
  now_.end += encoded.bytes.size();
  now_.end_hash = encoded.hash;
  put(offset, std::move(encoded.bytes));
}

void RaftLog::put(uint64_t offset, Buffer bytes) {
  ++writes_open_;
  const Bytes view = bytes.bytes();
  disk_->write(offset, view, [this, keep = std::move(bytes)](Status status) {
    if (!status.ok() && !failed_) failed_ = std::move(status).error();
    written();
  });
}

void RaftLog::written() {
  if (--writes_open_ != 0) return;
  if (failed_) return fail(*failed_);
  if (SP_PLANTED_BUG(raft_log_acknowledged_unflushed)) return flushed({});
  disk_->flush([this](Status status) { flushed(std::move(status)); });
}

void RaftLog::flushed(Status status) {
  if (!status.ok()) return fail(status.error());
  acknowledged_ = now_;
  std::vector<Done> done = std::exchange(group_, {});
  busy_ = false;
  ask_header(1, nullptr);
  for (Done& each : done) each.call_once(Status());
  pump();
}

// A frame goes once none of its entries is needed; frames behind a needed one stay with it.
void RaftLog::forget_frames_before(const raft::Mark& base) {
  now_.base = base;
  now_.last_index = std::max(now_.last_index, base.index);
  if (now_.snapshot_index < base.index) now_.snapshot_index = now_.snapshot_size = 0;
  while (!frames_.empty() && frames_.front().last <= base.index) frames_.pop_front();
  now_.start = frames_.empty() ? now_.end : frames_.front().position;
  now_.start_hash = frames_.empty() ? now_.end_hash : frames_.front().before;
}

void RaftLog::start_install() {
  const raft::Snapshot& snapshot = *queue_.front().batch.install;
  SP_ASSERT(queue_.front().batch.entries.empty() && queue_.front().batch.truncate_from == 0 &&
            !queue_.front().batch.compact);
  if (snapshot.bytes->size() > identity_.snapshot_bytes)
    return fail(Error(Code::no_space,
                      "a snapshot of the agreed state is larger than its place in the agreement "
                      "log; make a larger log"));
  install_chunk(0);
}

// The region of the snapshot before this one stays as it is until the header names the new one.
void RaftLog::install_chunk(uint64_t offset) {
  const raft::Snapshot& snapshot = *queue_.front().batch.install;
  const Bytes rest = Bytes(*snapshot.bytes).subspan(offset);
  if (rest.empty())
    return disk_->flush([this](Status status) { install_flushed(std::move(status)); });
  const size_t size = std::min<size_t>(rest.size(), raft_frame_bytes_max);
  Buffer buffer = Buffer::zeroed(page_up(size));
  std::memcpy(buffer.data(), rest.data(), size);
  const Bytes view = buffer.bytes();
  disk_->write(identity_.snapshot_offset(1 - now_.snapshot_region) + offset, view,
               [this, next = offset + size, keep = std::move(buffer)](Status status) {
                 if (!status.ok()) return fail(status.error());
                 install_chunk(next);
               });
}

void RaftLog::install_flushed(Status status) {
  if (!status.ok()) return fail(status.error());
  Waiting waiting = std::move(queue_.front());
  queue_.pop_front();
  const raft::Snapshot& snapshot = *waiting.batch.install;
  if (waiting.batch.hard_state) {
    ++now_.vote.sequence;
    now_.vote.state = *waiting.batch.hard_state;
  }
  frames_.clear();
  now_.last_index = 0;
  forget_frames_before(snapshot.mark);
  now_.snapshot_region = 1 - now_.snapshot_region;
  now_.snapshot_size = snapshot.bytes->size();
  now_.snapshot_checksum = crc64(*snapshot.bytes);
  now_.snapshot_index = snapshot.mark.index;
  acknowledged_ = now_;  // by the header that is written now
  group_.push_back(std::move(waiting.done));
  ask_header(2, [this](Status result) {
    if (!result.ok()) return;
    std::vector<Done> done = std::exchange(group_, {});
    busy_ = false;
    for (Done& each : done) each.call_once(Status());
    pump();
  });
}

void RaftLog::end_abstention(Done done) {
  now_.abstain = acknowledged_.abstain = false;
  ask_header(2, std::move(done));
}

void RaftLog::rebase(raft::Mark base, Done done) {
  SP_ASSERT(!busy_ && queue_.empty());
  SP_ASSERT_OP(base.index, >=, now_.last_index);
  frames_.clear();
  forget_frames_before(base);
  acknowledged_ = now_;
  ask_header(2, std::move(done));
}

// Headers are written one group at a time, each followed by a flush of its own, beside the frames:
// no batch waits for them.
void RaftLog::ask_header(uint32_t copies, Done done) {
  header_waiting_.push_back({copies, std::move(done)});
  pump_header();
}

void RaftLog::pump_header() {
  if (header_busy_ || header_waiting_.empty()) return;
  header_busy_ = true;
  header_group_ = std::exchange(header_waiting_, {});
  uint32_t copies = 0;
  for (const HeaderRequest& request : header_group_) copies = std::max(copies, request.copies);
  header_start_ = acknowledged_.start;
  header_writes_open_ = copies;
  for (uint32_t i = 0; i < copies; ++i) {
    now_.sequence = ++acknowledged_.sequence;
    Buffer page = encode_header(acknowledged_, identity_.log_id);
    const Bytes view = page.bytes();
    const uint64_t offset =
        (raft_header_page + acknowledged_.sequence % raft_header_count) * raft_page_bytes;
    disk_->write(offset, view, [this, keep = std::move(page)](Status status) {
      header_written(std::move(status));
    });
  }
}

void RaftLog::header_written(Status status) {
  if (!status.ok() && !failed_) failed_ = std::move(status).error();
  if (--header_writes_open_ != 0) return;
  disk_->flush([this](Status flush) {
    if (!flush.ok() && !failed_) failed_ = std::move(flush).error();
    header_busy_ = false;
    if (!failed_) durable_start_ = header_start_;
    std::vector<HeaderRequest> done = std::exchange(header_group_, {});
    for (HeaderRequest& each : done)
      if (each.done) each.done.call_once(failed_ ? Status(*failed_) : Status());
    if (failed_) return fail(*failed_);
    pump_header();
  });
}

// A write or flush that failed may or may not have happened: nothing is tried again.
void RaftLog::fail(const Error& error) {
  if (!failed_) failed_ = error;
  busy_ = false;
  std::vector<Done> done = std::exchange(group_, {});
  for (Waiting& waiting : std::exchange(queue_, {})) done.push_back(std::move(waiting.done));
  for (HeaderRequest& request : std::exchange(header_waiting_, {}))
    if (request.done) done.push_back(std::move(request.done));
  for (Done& each : done) each.call_once(Status(Error(*failed_).with("agreement log")));
}

}  // namespace sp::beacon
