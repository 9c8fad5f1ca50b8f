// Raft: agreement on one log (Ongaro & Ousterhout 2014; Ongaro's thesis 2014: pre-vote,
// check-quorum, transfer, one membership change at a time). Pure: `step(now, event) -> Output`,
// with no clock, thread, callback or I/O; the same events give the same outputs. A value: it may be
// copied.
//
// Output is carried out in the order of its fields. Persist batches are written strictly in the
// order of their tickets; `Persisted{ticket}` says that this one and all before it are durable.
// Messages may be sent at once: whatever speaks of durable state (votes, acknowledgements, requests
// for votes) is held back inside until the batch it rests on is reported durable. A leader's own
// entries count only once durable, and nothing is handed out to apply before it is durable here.
// Nothing else needs to wait for the disk, and several batches may be under way.
//
// Time is the caller's monotonic clock in nanoseconds. A voter refuses votes and pre-votes for
// election_timeout_min after hearing a leader and after its start, so a round of heartbeats that a
// majority answered proves: nobody else is elected before its *sending* + election_timeout_min (but
// by transfer, after which the new leader waits, see leases_before_end_ns). Round numbers, answers
// and roles die with the process; nothing of them is durable.
//
// A voter that lost acknowledged entries but kept term and vote is started with Restored::abstain:
// it neither votes nor campaigns until a leader, confirmed by a majority after this start, has
// brought it level with that leader's whole log. With term or vote lost too, start a new log id.
#pragma once
#include <deque>
#include <map>
#include <optional>
#include <string>
#include <variant>

#include "base/limits.h"
#include "raft/bounds.h"
#include "raft/log.h"
#include "raft/message.h"
#include "raft/progress.h"

namespace sp::raft {

struct Options : Bounds {
  NodeId self = 0;
  uint64_t log_id = 0;
  uint64_t seed = 0;  // for the jitter of elections, and the incarnation; different on every start
  int64_t election_timeout_min_ns = std::chrono::nanoseconds(limits::election_timeout_min).count();
  int64_t election_timeout_max_ns = std::chrono::nanoseconds(limits::election_timeout_max).count();
  int64_t heartbeat_interval_ns = std::chrono::nanoseconds(limits::heartbeat_interval).count();
};

// What the durable log and the applied state hold at the start. A bootstrap is {base: {0, 0, config
// of this one voter}}, a joining node all empty.
struct Restored {
  HardState hard_state;
  Mark base;  // entries up to base.index are only in the applied state or snapshot
  std::vector<LogEntry> entries;  // base.index + 1 and on, without a gap
  Index applied = 0;              // at least base.index, at most the last entry
  bool abstain = false;
};

// Events.
struct Tick {};  // time passed; at the latest at deadline_ns()
struct Receive {
  Message message;
};
struct Propose {
  uint64_t tag = 0;
  std::vector<std::byte> command;
};
struct ChangeMembers {
  uint64_t tag = 0;
  MemberChange change;
};
struct Transfer {
  uint64_t tag = 0;
  NodeId to = 0;
};  // 0: the most advanced voter
struct ReadBarrier {
  uint64_t tag = 0;
};
struct Persisted {
  uint64_t ticket = 0;
};
struct Applied {
  Index index = 0;
};  // everything up to here has been applied
struct Compact {
  Index through = 0;
};  // applied state up to here is durable: forget these entries
struct SupplySnapshot {
  Index index = 0;
  SharedBytes bytes;
};  // as snapshot_wanted asked; state exactly as of `index`; ignored above raft_snapshot_bytes_max
struct DiskFailed {};  // stops this member for good
using Event = std::variant<Tick, Receive, Propose, ChangeMembers, Transfer, ReadBarrier, Persisted,
                           Applied, Compact, SupplySnapshot, DiskFailed>;

// One durable batch. To be done in the order of the fields; all of it belongs to the ticket.
struct Persist {
  uint64_t ticket = 0;  // 1, 2, 3 ...
  std::optional<HardState> hard_state;
  std::optional<Snapshot>
      install;  // replaces the applied state and the whole log; applied is then install.mark.index
  Index truncate_from = 0;  // not 0: entries from here on are dropped
  std::vector<LogEntry> entries;
  std::optional<Mark> compact;  // entries up to mark.index may go
};

struct Answer {
  enum class Outcome : uint8_t {
    accepted,   // proposal: it stands at {index, term}; committed exactly if an entry with both is
                // handed out to apply
    confirmed,  // read barrier: what is applied up to `index` is current; transfer: the successor
                // was told to campaign
    refused,    // not done, and it never will be; `error` says why
  };
  uint64_t tag = 0;
  Outcome outcome = Outcome::refused;
  Index index = 0;
  Term term = 0;
  NodeId leader = 0;           // hint where to ask, 0: unknown
  std::optional<Error> error;  // unreachable: not the leader; transient: ask again; invalid or
                               // refused: never this way
};

struct Output {
  std::optional<Persist> persist;
  std::vector<Message> messages;
  std::vector<LogEntry> apply;
  std::vector<Answer> answers;
  bool snapshot_wanted = false;     // a follower needs one: SupplySnapshot, of the state as applied
                                    // now; repeated until supplied
  bool leadership_changed = false;  // role(), leader() or term() differ from before the step
  bool config_changed = false;      // config() differs
  bool caught_up = false;           // abstention is over: make that durable, it may vote again
  std::optional<int64_t>
      round_confirmed_ns;         // a majority answered the round sent then: leases count from it
  std::vector<Member> strangers;  // a member's node spoke with another log, perhaps long ago: ask
                                  // it which it has now; if new, remove it and add it anew
};

enum class Role : uint8_t { follower, pre_candidate, candidate, leader, stopped };

class Raft {
 public:
  // now_ns: the time of the start; Restored must be consistent (asserted: raft_log checks it).
  Raft(const Options& options, Restored restored, int64_t now_ns);

  // now_ns never goes back between steps.
  Output step(int64_t now_ns, Event event);

  Role role() const { return role_; }
  Term term() const { return hard_.term; }
  NodeId leader() const { return leader_; }  // 0: unknown
  Index commit_index() const { return commit_; }
  Index last_index() const { return log_.last_index(); }
  Index durable_index() const { return durable_; }
  Index applied_index() const { return applied_; }
  const Config& config() const { return log_.config(); }  // the newest in the log, committed or not
  bool abstaining() const { return abstain_; }
  bool is_voter() const { return config().is_voter(options_.self, options_.log_id); }
  const Log& log() const { return log_; }
  const HardState& hard_state() const { return hard_; }

  // Leader: when the newest round that a majority answered was sent; nullopt before the first or
  // when not leading.
  std::optional<int64_t> round_confirmed_ns() const;
  // Leader: no lease handed out by an earlier leader is alive at or after this instant. Until then
  // hand out none, and evict nobody.
  int64_t leases_before_end_ns() const { return leases_before_end_ns_; }
  // Leader: an entry of its own term is committed, so its applied state holds all that earlier
  // leaders committed.
  bool established() const { return role_ == Role::leader && commit_ >= term_start_; }
  // When the next Tick is due, INT64_MAX when stopped.
  int64_t deadline_ns() const;
  const std::map<NodeId, Progress>& progress() const { return progress_; }  // leader: the followers
  std::string describe() const;  // one line for logs and traces: the state without its times

 private:
  enum class After : uint8_t {
    nothing,
    hard_state,
    everything
  };  // what must be durable before a message leaves
  struct Pending {
    uint64_t ticket;
    Index last;
    Index installed;
  };  // entries up to `last` are durable with this ticket
  struct Held {
    uint64_t ticket;
    Message message;
  };
  struct Barrier {
    uint64_t tag;
    Index index;
    uint64_t round;
  };  // round 0: waits for the first commit of this term
  struct Round {
    uint64_t number;
    int64_t sent_ns;
  };
  struct Incoming {
    Mark mark;
    uint64_t total;
    uint64_t checksum;
    std::vector<std::byte> data;
  };
  struct Moving {
    uint64_t tag;
    NodeId to;
    int64_t deadline_ns;
    bool told;
  };  // a transfer of leadership

  // raft.cc: events, durability, answers
  void handle(Tick&&);
  void handle(Receive&& event);
  void handle(Propose&& event);
  void handle(ChangeMembers&& event);
  void handle(Transfer&& event);
  void handle(ReadBarrier&& event);
  void handle(Persisted&& event);
  void handle(Applied&& event);
  void handle(Compact&& event);
  void handle(SupplySnapshot&& event);
  void handle(DiskFailed&&);
  Persist& batch();
  void set_hard_state(Term term, NodeId vote);
  Index append_own(EntryKind kind, std::vector<std::byte> data);
  void send(Message message, NodeId to, After after);
  void refuse(uint64_t tag, Code code, std::string message);
  void hand_out_committed();
  // election.cc
  bool refuses_votes() const;
  bool may_campaign() const;
  void reset_election_deadline();
  void become_follower(Term term, NodeId leader);
  void become_leader();
  void pre_campaign();
  void campaign(bool transfer);
  void ask_for_votes(MessageType type, Term term, bool transfer);
  void count_vote(NodeId node);
  bool log_is_up_to_date(const Message& message) const;
  void on_vote(const Message& message);
  void on_pre_vote(const Message& message);
  void on_vote_answer(const Message& message);
  void on_lower_term(const Message& message);
  bool on_higher_term(const Message& message);  // false: drop the message
  // replication.cc
  void hear_leader(const Message& message);
  void on_append(Message&& message);
  void on_append_answer(const Message& message);
  void on_heartbeat(const Message& message);
  void on_heartbeat_answer(const Message& message);
  void send_append(NodeId node, Progress& progress, bool even_if_empty);
  void send_more(NodeId node, Progress& progress);
  void start_round();
  void update_round();
  void update_commit();
  void commit_to(Index index);
  void check_quorum();
  void answer_barriers();
  template <class Value>
  Value quorum_value(Value own, Value (*of)(const Progress&)) const;
  Progress* progress_of(const Message& answer);
  // membership.cc
  void apply_config_to_progress();
  Result<Config> changed_config(const MemberChange& change) const;
  void drive_transfer();
  void end_transfer(const char* why);
  void watch_abstainer(const Message& answer, Progress& progress);
  void on_caught_up(const Message& message);
  void on_wrong_log(const Message& message);
  // snapshot.cc
  void send_snapshot(NodeId node, Progress& progress);
  void on_snapshot_chunk(Message&& message);
  void on_snapshot_answer(const Message& message);
  void install(const Message& message);
  void drop_snapshot_if_unused();

  Options options_;
  HardState hard_;
  Log log_;
  Role role_ = Role::follower;
  NodeId leader_ = 0;
  bool abstain_ = false;
  uint64_t nonce_ = 0;  // this incarnation, never 0
  uint64_t random_ = 0;
  int64_t now_ns_ = 0;
  Index commit_ = 0;
  Index durable_ = 0;
  Index applied_ = 0;
  Index handed_out_ = 0;

  std::deque<Pending> pending_;
  std::deque<Held> held_;
  uint64_t last_ticket_ = 0;
  uint64_t persisted_ticket_ = 0;
  uint64_t hard_state_ticket_ = 0;
  bool batch_open_ = false;
  Output out_;  // of the step being made

  int64_t start_ns_ = 0;
  int64_t heard_leader_ns_ = 0;  // also the leader's own last round: it is a voter like the others
  bool heard_leader_ = false;
  int64_t election_deadline_ns_ = 0;
  std::vector<NodeId> votes_;  // granted in this campaign, own vote included once durable
  bool campaign_by_transfer_ = false;

  std::map<NodeId, Progress> progress_;
  Index term_start_ = 0;  // index of the no-op that opened the leader's term
  int64_t leases_before_end_ns_ = 0;
  int64_t heartbeat_due_ns_ = 0;
  uint64_t round_ = 0;
  std::deque<Round> rounds_;  // from the newest confirmed one on
  uint64_t confirmed_round_ = 0;
  std::deque<Barrier> barriers_;
  std::optional<Moving> moving_;
  std::optional<Snapshot> snapshot_;  // being sent
  uint64_t snapshot_asked_round_ = 0;
  uint64_t snapshot_checksum_ = 0;
  std::optional<Incoming> incoming_;  // being received
};

}  // namespace sp::raft
