// A group of members in one process: disks that complete when told, an application that is a
// running hash, and a checker that looks at every step. What is checked: one leader a term, equal
// entries at equal {index, term}, committed entries never differ or vanish, every new leader holds
// all that is committed, applied content is equal, read barriers see all that was committed before
// them. Breaking an invariant throws Violation, so that a test can print the seed or the path that
// led there.
#pragma once
#include <algorithm>
#include <deque>
#include <map>
#include <optional>
#include <set>
#include <stdexcept>
#include <string>
#include <vector>

#include "raft/raft.h"

namespace raft_test {

using namespace sp;
using namespace sp::raft;

struct Violation : std::runtime_error {
  using std::runtime_error::runtime_error;
};
inline void require(bool truth, const std::string& what) {
  if (!truth) throw Violation(what);
}

struct Dice {
  uint64_t state = 0;
  uint64_t number() { return mix64(state += 0x9e3779b97f4a7c15ull); }
  uint64_t below(uint64_t bound) { return number() % bound; }
  bool chance(uint64_t percent) { return below(100) < percent; }
};

inline uint64_t hash_of(const LogEntry& entry) {
  return crc64(entry.data, mix64(entry.term * 8 + static_cast<uint64_t>(entry.kind)));
}

struct Application {
  Index applied = 0;
  uint64_t hash = 0;
  bool operator==(const Application&) const = default;
  void apply(const LogEntry& entry) {
    require(entry.index == applied + 1, "applied out of order");
    applied = entry.index;
    hash = mix64(hash ^ hash_of(entry));
  }
  std::vector<std::byte> snapshot() const {  // several chunks of 7 bytes
    Writer out;
    out.number(applied).number(hash).number(mix64(hash));
    return std::move(out).take();
  }
  static Application from(Bytes bytes) {
    Reader in(bytes);
    Application app;
    app.applied = in.number<Index>();
    app.hash = in.number<uint64_t>();
    return app;
  }
};

// One member with its disk. `writes` are batches under way; a crash loses them, the last of them in
// part or in whole.
struct Node {
  Options options;
  Restored stored;         // what is durable
  Application stored_app;  // durable application state, at stored.applied
  std::deque<Persist> writes;
  std::optional<Raft> raft;  // none while crashed
  Application app;
  Index seen_commit = 0;
  Role seen_role = Role::follower;
  Term seen_term = 0;
  std::map<uint64_t, Index> barriers;  // tag: what was committed anywhere when it was asked
};

class Group {
 public:
  std::map<NodeId, Node> nodes;
  std::vector<Message> outbox;  // messages of the last steps, for the test to deliver or lose
  std::map<Index, uint64_t> committed;  // hash of each entry that any member held committed
  std::map<Index, Term> committed_term;
  std::map<Term, NodeId> leaders;
  std::map<std::pair<Index, Term>, std::pair<uint64_t, Term>>
      entries;  // content and term before it
  std::map<Index, uint64_t> app_hashes;
  std::vector<Answer> answers;
  std::set<NodeId> snapshot_wanted;

  void start(NodeId id, const Options& options, Restored restored, int64_t now_ns) {
    Node& node = nodes[id];
    node.options = options;
    node.stored = std::move(restored);
    boot(id, now_ns);
  }

  void crash(NodeId id) {
    Node& node = nodes.at(id);
    node.raft.reset();
    node.writes.clear();
    node.barriers.clear();
    snapshot_wanted.erase(id);
  }

  // Starts again from what is durable.
  void boot(NodeId id, int64_t now_ns) {
    Node& node = nodes.at(id);
    node.app = node.stored_app;
    node.raft.emplace(node.options, node.stored, now_ns);
    node.seen_commit = node.stored.applied;
    node.seen_role = Role::follower;
    node.seen_term = node.raft->term();
  }

  void save_application(Node& node) {
    node.stored_app = node.app;
    node.stored.applied = std::max(node.stored.applied, node.app.applied);
  }

  // Returns the output with messages, entries to apply and batches already taken care of.
  Output step(NodeId id, int64_t now_ns, Event event) {
    Node& node = nodes.at(id);
    if (const auto* barrier = std::get_if<ReadBarrier>(&event))
      node.barriers[barrier->tag] = committed.empty() ? 0 : committed.rbegin()->first;
    Output out = node.raft->step(now_ns, std::move(event));
    if (out.persist) {
      note_entries(node, *out.persist);
      node.writes.push_back(*out.persist);
    }
    check_commit(node);
    for (const LogEntry& entry : out.apply) apply(node, entry);
    for (Message& m : out.messages) outbox.push_back(std::move(m));
    for (const Answer& answer : out.answers) check_answer(node, answer);
    if (out.snapshot_wanted) snapshot_wanted.insert(id);
    if (out.caught_up) node.stored.abstain = false;
    check_role(id, node);
    return out;
  }

  // The oldest batch under way becomes durable.
  void persist(NodeId id, int64_t now_ns) {
    Node& node = nodes.at(id);
    Persist batch = std::move(node.writes.front());
    node.writes.pop_front();
    store(node, batch);
    step(id, now_ns, Persisted{batch.ticket});
  }

  std::string describe() const {
    std::string text;
    for (const auto& [id, node] : nodes)
      text += std::to_string(id) + ": " +
              (node.raft ? node.raft->describe() : std::string("down")) +
              " writes=" + std::to_string(node.writes.size()) + "\n";
    return text;
  }

 private:
  void store(Node& node, const Persist& batch) {
    Restored& s = node.stored;
    if (batch.hard_state) s.hard_state = *batch.hard_state;
    if (batch.install) {
      s.base = batch.install->mark;
      s.entries.clear();
      node.app = Application::from(*batch.install->bytes);
      require(node.app.applied == s.base.index, "a snapshot holds another index than it says");
      check_app(node);
      save_application(node);
    }
    if (batch.truncate_from != 0) {
      require(batch.truncate_from > s.base.index, "truncated into the snapshot");
      s.entries.resize(std::min<size_t>(s.entries.size(), batch.truncate_from - s.base.index - 1));
    }
    for (const LogEntry& entry : batch.entries) {
      require(entry.index == s.base.index + s.entries.size() + 1, "a gap in the durable log");
      s.entries.push_back(entry);
    }
    if (batch.compact) {
      if (node.stored_app.applied < batch.compact->index) save_application(node);
      const auto gone = static_cast<ptrdiff_t>(batch.compact->index - s.base.index);
      s.entries.erase(s.entries.begin(), s.entries.begin() + gone);
      s.base = *batch.compact;
    }
  }

  void note_entries(const Node& node, const Persist& batch) {
    for (const LogEntry& entry : batch.entries) {
      const std::pair<uint64_t, Term> content{hash_of(entry),
                                              node.raft->log().term_at(entry.index - 1)};
      const auto [at, fresh] = entries.emplace(std::pair(entry.index, entry.term), content);
      require(fresh || at->second.first == content.first,
              "log matching: two entries of one index and term differ");
      // After a compaction the term before the first entry is still known as the mark's.
      require(fresh || at->second.second == content.second,
              "log matching: logs differ before an equal entry");
    }
  }

  void check_commit(Node& node) {
    const Index commit = node.raft->commit_index();
    require(commit >= node.seen_commit, "the commit index went back");
    for (Index i = std::max(node.seen_commit, node.raft->log().mark().index) + 1; i <= commit;
         ++i) {
      const uint64_t hash = hash_of(node.raft->log().at(i));
      const auto [at, fresh] = committed.emplace(i, hash);
      require(fresh || at->second == hash,
              "state machine safety: different entries committed at " + std::to_string(i));
      committed_term.emplace(i, node.raft->log().term_at(i));
    }
    node.seen_commit = commit;
  }

  void apply(Node& node, const LogEntry& entry) {
    node.app.apply(entry);
    require(entry.index <= node.stored.base.index + node.stored.entries.size(),
            "applied before it was durable");
    check_app(node);
  }
  void check_app(const Node& node) {
    const auto [at, fresh] = app_hashes.emplace(node.app.applied, node.app.hash);
    require(fresh || at->second == node.app.hash,
            "applied content differs at " + std::to_string(node.app.applied));
  }

  void check_answer(Node& node, const Answer& answer) {
    answers.push_back(answer);
    const auto barrier = node.barriers.find(answer.tag);
    if (barrier == node.barriers.end()) return;
    if (answer.outcome == Answer::Outcome::confirmed)
      require(answer.index >= barrier->second,
              "a read barrier misses what was committed before it");
    node.barriers.erase(barrier);
  }

  void check_role(NodeId id, Node& node) {
    const Raft& raft = *node.raft;
    require(raft.term() >= node.seen_term, "the term went back");
    const bool began = raft.role() == Role::leader &&
                       (node.seen_role != Role::leader || node.seen_term != raft.term());
    node.seen_role = raft.role();
    node.seen_term = raft.term();
    if (!began) return;
    const auto [at, fresh] = leaders.emplace(raft.term(), id);
    require(fresh, "election safety: term " + std::to_string(raft.term()) + " has leaders " +
                       std::to_string(at->second) + " and " + std::to_string(id));
    for (const auto& [index, term] : committed_term) {
      if (index < raft.log().mark().index) continue;
      require(raft.log().term_at(index) == term,
              "leader completeness: leader " + std::to_string(id) + " lacks committed entry " +
                  std::to_string(index));
    }
  }
};

}  // namespace raft_test
