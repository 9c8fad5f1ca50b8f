// RaftLog: what a member of the agreement group must not forget, on one Disk: term and vote,
// entries, the mark where they begin, a snapshot that was received. Format: sp-raft-log(5).
//
// A batch is acknowledged after its writes and a flush behind them. Acknowledged bytes are never
// overwritten until a later acknowledged header no longer needs them. After each acknowledgement a
// header says, in a ring of its own, how far acknowledged entries reach; so at the next opening a
// torn tail (never acknowledged: dropped) differs from damage or loss below that point (reported,
// and the member must abstain). Nothing is dropped at a bad checksum silently: the mark "abstain"
// is durable before the first byte after the damage is written.
//
// Any error of the disk ends the log: every write then fails with it, and the member has to stop.
// Thread rule: one reactor. A completion must not destroy the RaftLog; destroying it elsewhere
// drops the completions.
#pragma once
#include <deque>
#include <memory>
#include <optional>
#include <vector>

#include "beacon/raft_log_format.h"
#include "io/disk.h"
#include "raft/raft.h"

namespace sp::beacon {

class RaftLog {
 public:
  using Done = Callback<void(Status)>;

  struct Opened {
    std::unique_ptr<RaftLog> log;
    RaftLogIdentity identity;
    // restored.applied is base.index: the caller raises it to what its state has applied. abstain
    // is set when entries were lost now or before.
    raft::Restored restored;
    // Received earlier and perhaps not taken over: to be installed first when the state has applied
    // less than snapshot->mark.index.
    std::optional<raft::Snapshot> snapshot;
    std::optional<Error> snapshot_error;  // one is kept, and damaged
    // Acknowledged entries [lost_from, lost_to] are gone (0: none).
    raft::Index lost_from = 0;
    raft::Index lost_to = 0;
  };

  // Makes a new, empty log that begins at `base`. Code::no_space when the disk is smaller than
  // identity.disk_bytes().
  static void format(io::Disk& disk, const RaftLogIdentity& identity, const raft::Mark& base,
                     Done done);
  // Code::damaged: no identity or no header can be read, so term and vote are lost: the member
  // needs a new log id, and to be added anew. Code::refused: the log of another cluster (0: any).
  // The opening ends without a word when what is returned is destroyed, which `done` must not do.
  [[nodiscard]] static std::shared_ptr<void> open(
      std::unique_ptr<io::Disk> disk, ClusterId cluster,
      Callback<void(Result<std::unique_ptr<Opened>>)> done);

  // Carries out one batch of raft::Output. In the order of calls; any number may be waiting. `done`
  // when durable. Code::no_space: the caller has not compacted in time (see frames_used_bytes).
  void write(raft::Persist batch, Done done);
  // The member has caught up: it may vote after the next start too.
  void end_abstention(Done done);
  // For a state that has applied more than the log still holds after a loss: the log goes on,
  // empty, from there.
  void rebase(raft::Mark base, Done done);

  uint64_t frames_used_bytes() const { return now_.end - now_.start; }
  uint64_t frames_total_bytes() const { return identity_.frames_bytes; }
  const RaftHeader& acknowledged() const { return acknowledged_; }

 private:
  struct Opening;
  struct Waiting {
    raft::Persist batch;
    Done done;
  };
  struct Frame {
    uint64_t position;
    uint64_t before;
    raft::Index last;
  };  // last: of its entries that are not truncated
  struct HeaderRequest {
    uint32_t copies;
    Done done;
  };

  RaftLog(std::unique_ptr<io::Disk> disk, const RaftLogIdentity& identity, RaftHeader header,
          std::deque<Frame> frames, uint32_t vote_slot);
  void pump();
  void start_group();
  uint64_t room_needed(const raft::Persist& batch) const;
  void add_to_group(raft::Persist& batch);
  void add_frame(RaftFrame frame);
  void put(uint64_t offset, Buffer bytes);
  void written();
  void flushed(Status status);
  void start_install();
  void install_chunk(uint64_t offset);
  void install_flushed(Status status);
  void forget_frames_before(const raft::Mark& base);
  void ask_header(uint32_t copies, Done done);
  void pump_header();
  void header_written(Status status);
  void fail(const Error& error);

  std::unique_ptr<io::Disk> disk_;
  RaftLogIdentity identity_;
  RaftHeader now_;  // with the group that is being written
  RaftHeader acknowledged_;
  uint64_t durable_start_;  // of the newest durable header: frames behind it may still be needed
  std::deque<Frame> frames_;
  std::deque<Waiting> queue_;
  std::vector<Done> group_;
  uint32_t writes_open_ = 0;
  uint32_t vote_slot_ = 0;  // holds the newest vote that is durable there
  bool vote_changed_ = false;
  bool busy_ = false;
  bool header_busy_ = false;
  uint64_t header_start_ = 0;
  uint32_t header_writes_open_ = 0;
  std::vector<HeaderRequest> header_waiting_;
  std::vector<HeaderRequest> header_group_;
  std::optional<Error> failed_;
};

}  // namespace sp::beacon
