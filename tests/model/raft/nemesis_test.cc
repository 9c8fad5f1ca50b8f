// Random runs of ten members under loss, doubling, reordering, partitions, crashes that lose what
// was not durable, lost logs, changes of members, transfers and tiny snapshots, on clocks that
// drift. After every step the invariants of group.h hold, and no lease that a leader may have
// handed out is alive while another leader acts.
#include <doctest/doctest.h>

#include <cstdlib>

#include "model/raft/group.h"

using namespace raft_test;

namespace {

constexpr int64_t ms = 1000000;
constexpr NodeId nodes_total = 10;

struct Clock {
  double rate = 1;
  int64_t offset = 0;
  int64_t local(int64_t world) const {
    return offset + static_cast<int64_t>(static_cast<double>(world) * rate);
  }
  int64_t world(int64_t local) const {
    return static_cast<int64_t>(static_cast<double>(local - offset) / rate);
  }
};

struct Acting {
  NodeId node;
  Term term;
  int64_t from;
};  // world time
struct Lease {
  NodeId node;
  Term term;
  int64_t from;
  int64_t end;
};

class Run {
 public:
  explicit Run(uint64_t seed) : dice_{seed}, one_entry_each_(seed % 2 == 0) {
    Config config;
    const NodeId voters = static_cast<NodeId>(1 + dice_.below(5));
    for (NodeId id = 1; id <= voters; ++id) config.members.push_back({id, log_id_of(id), true});
    for (NodeId id = 1; id <= nodes_total; ++id) {
      clocks_[id] = {1.0 + (static_cast<double>(dice_.below(391)) - 195) / 10000,
                     static_cast<int64_t>(dice_.below(1u << 30))};
      Restored restored;
      if (id <= voters) restored.base.config = config;
      group_.start(id, options(id), restored, local(id));
    }
  }

  void storm(int steps) {
    for (int i = 0; i < steps; ++i) {
      if (now_ >= next_mischief_) {
        mischief();
        next_mischief_ = now_ + static_cast<int64_t>(dice_.below(60)) * ms;
      }
      advance();
    }
  }

  // With everything up and connected the group has to come to agreement again.
  bool recovers() {
    calm_ = true;
    slow_answers_ = false;
    mute_ = 0;
    side_.clear();
    for (auto& [id, node] : group_.nodes)
      if (!node.raft || node.raft->role() == Role::stopped) revive(id);
    const int64_t end = now_ + 60'000 * ms;
    while (now_ < end) {
      advance();
      if (now_ >= next_mischief_) {
        next_mischief_ = now_ + 200 * ms;
        if (settled()) return true;
      }
    }
    return !quorum_possible();
  }

  Group group_;
  uint64_t leaders_seen() const { return group_.leaders.size(); }
  uint64_t caught_up_ = 0, installs_ = 0, confirmed_ = 0, transfers_ = 0, changes_ = 0;

 private:
  uint64_t log_id_of(NodeId id) { return 1000 * (wiped_[id] + 1) + id; }
  int64_t local(NodeId id) { return clocks_[id].local(now_); }
  Options options(NodeId id) {
    Options o;
    o.self = id;
    o.log_id = log_id_of(id);
    o.seed = dice_.number();
    o.snapshot_chunk_bytes = 7;
    o.append_bytes_max = one_entry_each_ ? 1 : 64;
    return o;
  }

  void after_step(NodeId id, const Output& out) {
    Node& node = group_.nodes.at(id);
    const Raft& raft = *node.raft;
    if (out.caught_up) ++caught_up_;
    if (out.persist && out.persist->install) ++installs_;
    if (out.round_confirmed_ns && local(id) >= raft.leases_before_end_ns()) {
      const int64_t sent = *out.round_confirmed_ns;
      const Lease lease{
          id, raft.term(), clocks_[id].world(sent),
          clocks_[id].world(sent + std::chrono::nanoseconds(limits::lease_length).count())};
      for (const Acting& a : acting_)
        require(a.node == lease.node || a.term < lease.term || a.from >= lease.end,
                "lease: handed out by a leader while a later one acts");
      leases_.push_back(lease);
      if (leases_.size() > 64) leases_.pop_front();
    }
    for (const Member& stranger : out.strangers) strangers_[stranger.node] = stranger.log_id;
    flush_outbox();
  }

  void note_acting() {
    for (auto& [id, node] : group_.nodes) {
      if (!node.raft || node.raft->role() != Role::leader || acting_term_[id] == node.raft->term())
        continue;
      if (local(id) < node.raft->leases_before_end_ns()) continue;
      acting_term_[id] = node.raft->term();
      const Acting a{id, node.raft->term(), now_};
      for (const Lease& lease : leases_)
        require(a.node == lease.node || a.term < lease.term || a.from >= lease.end,
                "lease: a leader acts while an earlier one's lease runs");
      acting_.push_back(a);
      if (acting_.size() > 64) acting_.pop_front();
    }
  }

  void step(NodeId id, Event event) {
    if (group_.nodes.at(id).raft) after_step(id, group_.step(id, local(id), std::move(event)));
  }

  void flush_outbox() {
    for (Message& m : group_.outbox) {
      auto decoded = Message::decode(m.encode());
      require(decoded.ok() && *decoded == m, "a message does not survive its encoding");
      const int copies = calm_ ? 1 : dice_.chance(loss_) ? 0 : dice_.chance(3) ? 2 : 1;
      for (int i = 0; i < copies; ++i) {
        const int64_t delay =
            calm_ ? 1 + static_cast<int64_t>(dice_.below(5))
                  : static_cast<int64_t>(dice_.below(dice_.chance(5) ? 900 : delay_max_ms_));
        const int64_t late = slow_answers_ && m.type == MessageType::heartbeat_answer
                                 ? 300 + static_cast<int64_t>(dice_.below(500))
                                 : 0;
        flights_.emplace(now_ + (delay + late) * ms + static_cast<int64_t>(dice_.below(1000)), m);
      }
    }
    group_.outbox.clear();
    for (auto& [id, node] : group_.nodes)
      while (queued_[id] < node.writes.size()) {
        ++queued_[id];
        const int64_t least = std::max(now_, disk_free_[id]);
        disk_free_[id] =
            least + static_cast<int64_t>(dice_.below(calm_ || dice_.chance(80) ? 4 : 200)) * ms +
            1000;
        disk_done_.emplace(disk_free_[id], std::pair(id, life_[id]));
      }
  }

  void advance() {
    int64_t next = now_ + 20 * ms;
    if (!flights_.empty()) next = std::min(next, flights_.begin()->first);
    if (!disk_done_.empty()) next = std::min(next, disk_done_.begin()->first);
    for (auto& [id, node] : group_.nodes)
      if (node.raft && node.raft->deadline_ns() != INT64_MAX)
        next = std::min(next, clocks_[id].world(node.raft->deadline_ns()) + 2);
    now_ = std::max(now_, next);
    note_acting();
    if (!flights_.empty() && flights_.begin()->first <= now_) {
      Message m = std::move(flights_.begin()->second);
      flights_.erase(flights_.begin());
      const bool apart =
          side_.count(m.from) != 0 && side_.count(m.to) != 0 && side_[m.from] != side_[m.to];
      if (!apart && m.from != mute_) step(m.to, Receive{std::move(m)});
      return;
    }
    if (!disk_done_.empty() && disk_done_.begin()->first <= now_) {
      const auto [id, life] = disk_done_.begin()->second;
      disk_done_.erase(disk_done_.begin());
      Node& node = group_.nodes.at(id);
      if (life != life_[id] || !node.raft || node.writes.empty()) return;
      --queued_[id];
      if (node.raft->role() == Role::stopped) return node.writes.pop_front();
      const Index before = node.app.applied;
      group_.persist(id, local(id));
      flush_outbox();
      acknowledge_applied(id, before);
      return;
    }
    for (auto& [id, node] : group_.nodes) {
      if (!node.raft || node.raft->deadline_ns() > local(id)) continue;
      step(id, Tick{});
    }
    housekeeping();
  }

  void acknowledge_applied(NodeId id, Index before) {
    Node& node = group_.nodes.at(id);
    if (node.app.applied > before && node.app.applied <= node.raft->commit_index())
      step(id, Applied{node.app.applied});
  }

  // What a beacon does: applied progress, compaction, snapshots on demand, replacing members with a
  // new log.
  void housekeeping() {
    for (auto& [id, node] : group_.nodes) {
      if (!node.raft || node.raft->role() == Role::stopped) continue;
      if (node.app.applied > node.raft->applied_index()) step(id, Applied{node.app.applied});
      if (dice_.chance(calm_ ? 0 : 2) && node.raft->applied_index() == node.app.applied) {
        group_.save_application(node);
        const Index keep = dice_.below(4);
        if (node.app.applied > keep) step(id, Compact{node.app.applied - keep});
      }
      if (group_.snapshot_wanted.erase(id) != 0 && node.app.applied == node.raft->applied_index())
        step(id, SupplySnapshot{node.app.applied,
                                std::make_shared<std::vector<std::byte>>(node.app.snapshot())});
      if (node.raft->role() == Role::leader && !strangers_.empty()) {
        const NodeId stranger = strangers_.begin()->first;
        const Member* member = node.raft->config().find(stranger);
        if (member != nullptr && member->log_id == log_id_of(stranger))
          strangers_.erase(stranger);
        else if (member != nullptr)
          step(id, ChangeMembers{0, {MemberChange::Kind::remove, stranger, 0}});
        else
          step(id,
               ChangeMembers{0, {MemberChange::Kind::add_learner, stranger, log_id_of(stranger)}});
      }
    }
  }

  void crash(NodeId id) {
    group_.crash(id);
    queued_[id] = 0;
    ++life_[id];
    disk_free_[id] = now_;
  }

  void revive(NodeId id) {
    Node& node = group_.nodes.at(id);
    crash(id);
    node.options = options(id);
    group_.boot(id, local(id));
  }

  // Acknowledged entries of one voter are damaged: it comes back abstaining, with what is left.
  void lose_entries(NodeId id) {
    Node& node = group_.nodes.at(id);
    for (const auto& [other, n] : group_.nodes)
      if (n.stored.abstain) return;
    if (node.stored.entries.empty()) return;
    crash(id);
    const size_t least = node.stored.applied - node.stored.base.index;
    const size_t keep = least + dice_.below(node.stored.entries.size() - least + 1);
    node.stored.entries.resize(std::min(node.stored.entries.size(), keep));
    node.stored.abstain = true;
    revive(id);
  }

  void wipe(NodeId id) {
    for (const auto& [other, count] : wiped_)
      if (count != 0) return;  // one lost log a run
    crash(id);
    ++wiped_[id];
    Node& node = group_.nodes.at(id);
    node.stored = {};
    node.stored_app = {};
    revive(id);
  }

  void mischief() {
    if (calm_) return;
    const NodeId id = static_cast<NodeId>(1 + dice_.below(nodes_total));
    Node& node = group_.nodes.at(id);
    const uint64_t tag = ++tags_;
    switch (dice_.below(22)) {
      case 0: return crash(id);
      case 1:
      case 2:
      case 3:
        if (!node.raft || node.raft->role() == Role::stopped) revive(id);
        return;
      case 4:
        for (NodeId n = 1; n <= nodes_total; ++n) side_[n] = dice_.below(2);
        return;
      case 5:
        mute_ = 0;
        slow_answers_ = dice_.chance(25);
        return side_.clear();
      case 6:
        loss_ = dice_.chance(50) ? 1 : dice_.below(20);
        delay_max_ms_ = dice_.chance(60) ? 8 : 2 + dice_.below(300);
        return;
      case 7:
        if (dice_.chance(30)) lose_entries(id);
        return;
      case 8:
        if (dice_.chance(5)) wipe(id);
        return;
      case 9:
        if (dice_.chance(20)) step(id, DiskFailed{});
        return;
      case 10:
      case 11: change_members(); return;
      case 12:
      case 13:
        if (NodeId l = leader()) {
          ++transfers_;
          step(l, Transfer{tag, dice_.chance(50) ? id : NodeId{0}});
        }
        return;
      case 14:
        if (node.raft) {
          step(id, ReadBarrier{tag});
        }
        return;
      case 16:
        if (dice_.chance(30)) mute_ = leader();
        return;
      case 15:
        if (NodeId l = leader()) step(l, ReadBarrier{tag});
        return;
      default: break;
    }
    for (auto& [n, leading] : group_.nodes)
      if (leading.raft && leading.raft->role() == Role::leader) {
        Writer out;
        step(n, Propose{tag, std::move(out.number(tag)).take()});
      }
  }

  NodeId leader() {
    NodeId best = 0;
    Term term = 0;
    for (auto& [id, node] : group_.nodes)
      if (node.raft && node.raft->role() == Role::leader && node.raft->term() > term)
        best = id, term = node.raft->term();
    return best;
  }

  void change_members() {
    const NodeId l = leader();
    if (l == 0) return;
    const NodeId id = static_cast<NodeId>(1 + dice_.below(nodes_total));
    const Member* member = group_.nodes.at(l).raft->config().find(id);
    MemberChange change{MemberChange::Kind::add_learner, id, log_id_of(id)};
    if (member != nullptr)
      change.kind = member->voter || dice_.chance(20) ? MemberChange::Kind::remove
                                                      : MemberChange::Kind::promote;
    const Index before = group_.nodes.at(l).raft->log().config_index();
    step(l, ChangeMembers{++tags_, change});
    if (group_.nodes.at(l).raft->log().config_index() != before) ++changes_;
  }

  bool settled() {
    const NodeId l = leader();
    if (l == 0) return false;
    const Raft& raft = *group_.nodes.at(l).raft;
    if (!raft.established() || raft.commit_index() != raft.last_index()) return false;
    for (const Member& m : raft.config().members) {
      const Node& node = group_.nodes.at(m.node);
      if (m.log_id != node.options.log_id) return false;
      if (node.app.applied != raft.commit_index() || (m.voter && node.raft->abstaining()))
        return false;
    }
    return true;
  }

  // Every configuration that may be in force has a majority that can vote: otherwise waiting is
  // right.
  bool quorum_possible() {
    Index best = 0;
    for (auto& [id, node] : group_.nodes) best = std::max(best, node.raft->commit_index());
    for (auto& [id, node] : group_.nodes) {
      if (node.raft->last_index() < best) continue;
      const Config& config = node.raft->config();
      uint32_t able = 0;
      for (const Member& m : config.members) {
        const Node& other = group_.nodes.at(m.node);
        if (m.voter && m.log_id == other.options.log_id && !other.raft->abstaining()) ++able;
      }
      if (able <= config.voter_count() / 2) return false;
    }
    return true;
  }

  Dice dice_;
  bool one_entry_each_;  // one entry an append, so that an old entry arrives without the no-op
                         // after it
  NodeId mute_ = 0;      // what it sends is lost, what it is sent arrives
  bool slow_answers_ = false;  // of heartbeats
  int64_t now_ = 1000 * ms;
  int64_t next_mischief_ = 0;
  bool calm_ = false;
  uint64_t loss_ = 2, delay_max_ms_ = 8, tags_ = 0;
  std::map<NodeId, Clock> clocks_;
  std::map<NodeId, uint64_t> wiped_, life_;
  std::map<NodeId, size_t> queued_;
  std::map<NodeId, int64_t> disk_free_;
  std::map<NodeId, uint64_t> side_, strangers_;
  std::map<NodeId, Term> acting_term_;
  std::multimap<int64_t, Message> flights_;
  std::multimap<int64_t, std::pair<NodeId, uint64_t>> disk_done_;
  std::deque<Lease> leases_;
  std::deque<Acting> acting_;
};

}  // namespace

TEST_CASE(
    "ten members keep every invariant under random faults, and agree again when the faults end") {
  const char* chosen = std::getenv("RAFT_SEED");
  const uint64_t first = chosen != nullptr ? std::strtoull(chosen, nullptr, 10) : 1;
  const char* many = std::getenv("RAFT_SEEDS");
  const uint64_t count = chosen != nullptr ? 1
                         : many != nullptr ? std::strtoull(many, nullptr, 10)
                                           : 400;
  uint64_t leaders = 0, committed = 0, caught_up = 0, installs = 0, transfers = 0, changes = 0;
  for (uint64_t seed = first; seed < first + count; ++seed) {
    CAPTURE(seed);
    Run run(seed);
    try {
      run.storm(6000);
      if (!run.recovers())
        FAIL("seed " << seed << ": no agreement after the faults ended\n" << run.group_.describe());
    } catch (const Violation& violation) {
      FAIL("seed " << seed << ": " << std::string(violation.what()) << "\n"
                   << run.group_.describe());
    }
    leaders += run.leaders_seen();
    committed += run.group_.committed.size();
    caught_up += run.caught_up_;
    installs += run.installs_;
    transfers += run.transfers_;
    changes += run.changes_;
  }
  MESSAGE("leaders " << leaders << ", committed " << committed << ", caught up after loss "
                     << caught_up << ", snapshots installed " << installs << ", transfers "
                     << transfers << ", member changes " << changes);
  if (count >= 100) {
    CHECK(leaders > 2 * count);
    CHECK(committed > 20 * count);
    CHECK(caught_up > 10);
    CHECK(installs > count);
    CHECK(changes > count);
  }
}
