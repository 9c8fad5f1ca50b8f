// Consensus: drives lib/raft: feeds it time, messages, proposals and durability, carries out what
// it wants, and keeps the State equal to what was agreed. Owns the agreement log, the snapshot file
// and the State. Events of Raft are queued and stepped one after the other, so everything here may
// be called from inside the events below.
//
// Start: the State is made anew from the newest snapshot and the log, which are all that was made
// durable; the database of the last run is never read. A log that cannot be identified (wiped,
// lost) is made anew with another log id: this node is then a stranger to its group and comes back
// as a learner. Any error of log or snapshot file is final: `failed`, and no event after it. Thread
// rule: one reactor.
#pragma once
#include <deque>
#include <memory>
#include <string>
#include <vector>

#include "base/versions.h"
#include "beacon/raft_log.h"
#include "beacon/snapshot_file.h"
#include "io/host.h"
#include "raft/raft.h"
#include "state/state.h"
#include "wire/message.h"

namespace sp::beacon {

// How a command stands in the log: who proposed it, so that the proposer recognises it whoever led.
struct Envelope {
  NodeId origin = 0;
  uint64_t origin_start = 0;
  uint64_t number = 0;
  std::vector<std::byte> command;  // map::encode
};
std::vector<std::byte> encode(const Envelope& envelope);
std::optional<Envelope> decode_envelope(Bytes bytes);

class Consensus {
 public:
  struct Options {
    NodeId self = 0;
    ClusterId cluster = 0;
    std::string log_path, snapshot_path, state_path;
    bool bootstrap =
        false;  // make a new cluster of this one voter; refused when there is a log already
    uint64_t log_frames_bytes = 128u << 20;
    uint64_t snapshot_bytes = 256u << 20;
    uint32_t log_entries_kept = limits::beacon_log_entries_kept;
    raft::Bounds raft;
    uint32_t feature_level_newest = Versions().feature_level_newest;
  };
  struct Events {
    Callback<void()> started;  // raft() and state() are there
    Callback<void(const Error&)> failed;
    Callback<void(NodeId, wire::Message)> send;
    Callback<void(const raft::LogEntry&, const Envelope*, const state::Applied*)>
        applied;                // nullptrs: not a command
    Callback<void()> restored;  // the State was replaced by a snapshot
    Callback<void(const raft::Answer&)> answered;
    Callback<void(const raft::Member&)> stranger;
    Callback<void()> settled;  // after each bundle of the events above
  };
  Consensus(io::Host& host, Options options, Events events);

  bool running() const { return raft_ != nullptr && !failed_; }
  const raft::Raft& raft() const { return *raft_; }
  const state::State& state() const { return *state_; }
  uint64_t log_id() const { return log_id_; }
  raft::Index processed() const {
    return processed_;
  }  // entries that the State has taken, or that do not concern it

  // In order; carried out at once unless called from inside an event, then after it.
  void submit(raft::Event event);
  void tick();  // every 100 ms or so: compaction, stalled disk

 private:
  // consensus_start.cc
  void open_log();
  void log_opened(Result<std::unique_ptr<RaftLog::Opened>> opened);
  void format_log();
  bool may_come_back();
  void open_snapshot();
  Status restore(Bytes snapshot);
  Status make_state(const std::optional<SnapshotFile::Found>& own);
  void start_raft();
  // consensus.cc
  void carry_out(raft::Output output);
  void persist(raft::Persist batch);
  void apply(const raft::LogEntry& entry);
  void compact();
  void look_at_database();
  void fail(Error error);
  void arm();

  io::Host& host_;
  Options options_;
  Events events_;
  io::Timer timer_;
  int64_t armed_for_ns_ = 0;
  io::Timer late_timer_;  // of what the simulator holds back
  uint64_t log_id_ = 0;
  bool formatted_ = false;  // this start made the log
  std::unique_ptr<io::Disk> formatting_;
  std::shared_ptr<void> opening_;
  std::unique_ptr<RaftLog::Opened> opened_;
  std::unique_ptr<RaftLog> log_;
  std::unique_ptr<SnapshotFile> snapshots_;
  std::unique_ptr<state::State> state_;
  std::unique_ptr<raft::Raft> raft_;
  std::deque<raft::Event> queue_;
  bool stepping_ = false;
  bool failed_ = false;
  bool compacting_ = false;
  raft::Index processed_ =
      0;  // newest entry that the State has taken or that is none of its affairs
  std::deque<std::pair<uint64_t, io::Instant>> writing_;  // tickets not yet durable
  bool moving_away_ = false;
  bool database_behind_ = false;
};

}  // namespace sp::beacon
