// What an agreement log holds, as a value, and the verbs that change it, for tests that crash it at
// every I/O.
//
// `states` are what the log has been since it was known for certain, one for each batch (or part of
// one that may be durable alone); those before `acked` are over. A compaction is durable with a
// later header, so it may be undone: where the entries begin is not part of a state, but has to be
// one of `marks`.
#pragma once
#include <doctest/doctest.h>

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "beacon/raft_log.h"
#include "crash/fake_machine.h"

namespace sp::test {

enum class LogVerb {
  append,
  append_large,
  append_frames,
  vote,
  vote_and_append,
  truncate,
  replace_tail,
  burst,
  compact_some,
  compact_all,
  install,
  reopen,
  caught_up,
  count
};
constexpr const char* log_verb_names[] = {
    "append", "append_large", "append_frames", "vote",    "vote_and_append", "truncate", "replace",
    "burst",  "compact_some", "compact_all",   "install", "reopen",          "caught_up"};
static_assert(std::size(log_verb_names) == static_cast<size_t>(LogVerb::count));

struct LogState {
  raft::HardState hard;
  bool abstain = false;
  raft::Mark floor;                     // entries up to here are gone for good
  std::vector<raft::LogEntry> entries;  // floor.index + 1 and on
  raft::SharedBytes snapshot;           // received, at floor

  raft::Index last() const { return floor.index + entries.size(); }
  raft::Mark mark_at(raft::Index index) const;
  void carry_out(const raft::Persist& batch);
};

struct LogWorld {
  std::vector<LogState> states{1};
  size_t acked = 0;
  std::vector<raft::Mark> marks;  // of compactions since the floor; the first one is durable
  uint64_t next = 1;              // number of the next step: what its entries are made of
  LogState& now() { return states.back(); }
  void settle() {
    states.erase(states.begin(), states.end() - 1);
    acked = 0;
  }
};

// A log on a machine of its own.
class LogRig {
 public:
  explicit LogRig(PagedMedium& medium) : medium_(medium), machine_(1) {}
  ~LogRig() {
    machine_.reactor.drop_all();
    opening_.reset();
    log.reset();
  }
  static beacon::RaftLogIdentity identity();
  static PagedMedium formatted();

  // An Error of Code::interrupted when the device stopped first.
  Status open();
  Status wait(const std::optional<Status>& outcome);
  // False when the device stopped first.
  bool run_until(const std::function<bool()>& condition) {
    return machine_.reactor.run_until(condition);
  }
  // Until nothing moves any more: the lazy header is durable.
  void settle() {
    while (machine_.reactor.step()) {
    }
  }

  std::unique_ptr<beacon::RaftLog::Opened> opened;
  std::unique_ptr<beacon::RaftLog> log;

 private:
  PagedMedium& medium_;
  FakeMachine machine_;
  std::shared_ptr<void> opening_;
};

// Runs one verb, and returns when all of it is acknowledged; false when the device stopped in it.
class LogRunner {
 public:
  LogRunner(LogRig& rig, LogWorld& world) : rig_(rig), world_(world) {}
  bool run(LogVerb verb);
  // Appends and compacts until the frames end there.
  bool fill_to(uint64_t position);

 private:
  bool acknowledged();  // waits for what was handed over
  raft::LogEntry entry(raft::Index index, size_t size_bytes);
  raft::Persist append(size_t count, size_t size_bytes);
  void hand_over(raft::Persist batch);
  void compact(raft::Index through);
  void install();
  bool reopen();
  bool end_abstention();

  LogRig& rig_;
  LogWorld& world_;
  uint64_t n_ = 0;
};

// Why the log as opened is none of what it may be; empty when it is. If it is, the world becomes
// what was found.
std::string log_contradicts(const beacon::RaftLog::Opened& opened, LogWorld& world);

}  // namespace sp::test
