// Replication: appends, commitment, rounds of heartbeats and what is proven by them.
#include <algorithm>
#include <functional>

#include "base/planted.h"
#include "base/probe.h"
#include "raft/raft.h"

namespace sp::raft {

// The value that a majority of the voters reaches. The own one counts only for a leader that is a
// voter itself.
template <class Value>
Value Raft::quorum_value(Value own, Value (*of)(const Progress&)) const {
  std::vector<Value> values;
  for (const Member& member : config().members) {
    if (!member.voter) continue;
    if (member.node == options_.self && member.log_id == options_.log_id) {
      values.push_back(own);
    } else {
      const auto found = progress_.find(member.node);
      const Value value = found == progress_.end() ? Value{} : of(found->second);
      if (SP_PLANTED_BUG(raft_majority_of_those_heard) && value == Value{}) continue;
      values.push_back(value);
    }
  }
  SP_ASSERT(!values.empty());
  std::sort(values.begin(), values.end(), std::greater<>());
  return values[values.size() / 2];
}

Progress* Raft::progress_of(const Message& answer) {
  if (role_ != Role::leader) return nullptr;
  const auto found = progress_.find(answer.from);
  if (found == progress_.end()) return nullptr;
  if (found->second.log_id != answer.from_log) {
    out_.strangers.push_back({answer.from, answer.from_log, false});
    return nullptr;
  }
  found->second.heard_ns = now_ns_;
  return &found->second;
}

void Raft::hear_leader(const Message& m) {
  if (role_ != Role::follower) become_follower(hard_.term, m.from);
  leader_ = m.from;
  heard_leader_ = true;
  heard_leader_ns_ = now_ns_;
  reset_election_deadline();
}

void Raft::on_append(Message&& m) {
  if (role_ == Role::leader || (leader_ != 0 && leader_ != m.from))
    return;  // a term has one leader: this is not from one
  hear_leader(m);
  Message answer{.type = MessageType::append_answer, .to_log = m.from_log, .term = hard_.term};
  const Index end = m.index + m.entries.size();
  if (end < commit_ || (m.index < commit_ && end == commit_)) {
    answer.index = commit_;
    return send(std::move(answer), m.from, After::everything);
  }
  const bool matches = log_.matches(m.index, m.log_term) ||
                       (SP_PLANTED_BUG(raft_match_unchecked) && m.index <= log_.last_index());
  if (m.index >= commit_ && !matches) {
    const Index hint = log_.agreement_hint(m.index - 1, m.log_term);
    answer.refused = true;
    answer.offset = m.index;
    answer.index = hint;
    answer.log_term = log_.term_at(hint);
    return send(std::move(answer), m.from, After::hard_state);
  }
  for (LogEntry& entry : m.entries) {
    if (entry.index <= commit_ || log_.term_at(entry.index) == entry.term) continue;
    if (entry.index <= log_.last_index()) {
      SP_PROBE(raft_conflict_truncated);
      log_.truncate_from(entry.index);
      for (Pending& pending : pending_) pending.last = std::min(pending.last, entry.index - 1);
      durable_ = std::min(durable_, entry.index - 1);
      batch().truncate_from = entry.index;
    }
    batch().entries.push_back(entry);
    pending_.back().last = entry.index;
    log_.append(std::move(entry));
  }
  // What lies after `end` here is not known to agree with the leader's log.
  commit_to(SP_PLANTED_BUG(raft_commit_beyond_agreed) ? m.commit : std::min(m.commit, end));
  answer.index = end;
  const bool early = SP_PLANTED_BUG(raft_append_answered_before_durable);
  send(std::move(answer), m.from, early ? After::nothing : After::everything);
}

void Raft::on_append_answer(const Message& m) {
  Progress* p = progress_of(m);
  if (p == nullptr) return;
  watch_abstainer(m, *p);
  if (m.refused) {
    const bool stale =
        m.nonce == 0 &&
        (m.offset <= p->match || (p->state == Progress::State::probe && m.offset != p->next - 1));
    if (stale || p->state == Progress::State::snapshot || m.offset == 0) return;
    const Index hint = std::min(log_.agreement_hint(m.index, m.log_term), m.offset - 1);
    if (m.nonce != 0) p->match = std::min(p->match, hint);  // it lost what it had acknowledged
    p->to_probe(std::max(hint, p->match) + 1);
    return send_append(m.from, *p, true);
  }
  if (m.index > log_.last_index()) return;
  p->match = std::max(p->match, m.index);
  while (!p->in_flight.empty() && p->in_flight.front() <= m.index) p->in_flight.pop_front();
  const bool joins = p->state == Progress::State::probe ||
                     (p->state == Progress::State::snapshot && p->match >= log_.mark().index);
  if (joins) {
    p->to_probe(p->match + 1);
    p->state = Progress::State::replicate;
  }
  p->next = std::max(p->next, p->match + 1);
  update_commit();
  if (role_ != Role::leader) return;
  send_more(m.from, *p);
  drive_transfer();
}

void Raft::on_heartbeat(const Message& m) {
  if (role_ == Role::leader || (leader_ != 0 && leader_ != m.from)) return;
  hear_leader(m);
  // The leader means what it believes to be here. What an abstaining member has may be what an
  // entry that it lost had replaced.
  if (!abstain_) commit_to(std::min(m.commit, log_.last_index()));
  Message answer{.type = MessageType::heartbeat_answer,
                 .to_log = m.from_log,
                 .term = hard_.term,
                 .round = m.round};
  send(std::move(answer), m.from, After::hard_state);
}

void Raft::on_heartbeat_answer(const Message& m) {
  Progress* p = progress_of(m);
  if (p == nullptr || m.refused || m.round > round_) return;
  watch_abstainer(m, *p);
  p->answered_round = std::max(p->answered_round, m.round);
  update_round();
  p->probe_sent = false;
  if (p->sent_round + 1 < m.round) {  // what was sent two rounds ago is lost, or as good as lost
    p->chunk_sent = false;
    if (!p->in_flight.empty()) p->to_probe(p->match + 1);
  }
  send_more(m.from, *p);
}

void Raft::send_append(NodeId node, Progress& p, bool even_if_empty) {
  const Index before = p.next - 1;
  if (before < log_.mark().index) return send_snapshot(node, p);
  if (p.next > log_.last_index() && !even_if_empty) return;
  Message m{.type = MessageType::append,
            .term = hard_.term,
            .index = before,
            .log_term = log_.term_at(before),
            .commit = commit_};
  size_t bytes = 0;
  Index index = p.next;
  for (; index <= log_.last_index() && m.entries.size() < options_.append_entries_max; ++index) {
    const LogEntry& entry = log_.at(index);
    bytes += entry.data.size() + 13;
    if (!m.entries.empty() && bytes > options_.append_bytes_max) break;
    m.entries.push_back(entry);
  }
  p.sent_round = round_;
  p.sent_commit = commit_;
  if (p.state == Progress::State::probe) {
    p.probe_sent = true;
  } else if (!m.entries.empty()) {
    p.next = index;
    p.in_flight.push_back(index - 1);
  }
  send(std::move(m), node, After::nothing);
}

void Raft::send_more(NodeId node, Progress& p) {
  if (p.state == Progress::State::snapshot) {
    if (!p.chunk_sent) send_snapshot(node, p);
  } else if (p.state == Progress::State::probe) {
    if (!p.probe_sent && p.match < log_.last_index()) send_append(node, p, true);
  } else {
    while (p.state == Progress::State::replicate && p.next <= log_.last_index() &&
           p.in_flight.size() < options_.appends_in_flight_max)
      send_append(node, p, false);
  }
}

void Raft::start_round() {
  ++round_;
  rounds_.push_back({round_, now_ns_});
  heard_leader_ = true;
  heard_leader_ns_ = now_ns_;
  heartbeat_due_ns_ = now_ns_ + options_.heartbeat_interval_ns;
  for (const auto& [node, p] : progress_) {
    Message m{.type = MessageType::heartbeat,
              .term = hard_.term,
              .commit = std::min(p.match, commit_),
              .round = round_};
    send(std::move(m), node, After::nothing);
  }
  drop_snapshot_if_unused();
  update_round();
}

void Raft::update_round() {
  const uint64_t confirmed =
      quorum_value<uint64_t>(round_, [](const Progress& p) { return p.answered_round; });
  if (confirmed <= confirmed_round_) return;
  confirmed_round_ = confirmed;
  while (rounds_.front().number < confirmed) rounds_.pop_front();
  if (SP_PLANTED_BUG(raft_lease_from_answer)) rounds_.front().sent_ns = now_ns_;
  out_.round_confirmed_ns = rounds_.front().sent_ns;
}

std::optional<int64_t> Raft::round_confirmed_ns() const {
  if (role_ != Role::leader || confirmed_round_ == 0) return std::nullopt;
  return rounds_.front().sent_ns;
}

// Counting replicas commits entries of the own term only, and with them all before (Raft
// paper, 5.4.2).
void Raft::update_commit() {
  const Index reached = quorum_value<Index>(durable_, [](const Progress& p) { return p.match; });
  const bool own_term =
      log_.term_at(reached) == hard_.term || SP_PLANTED_BUG(raft_old_term_committed_by_counting);
  if (reached <= commit_ || !own_term) return;
  commit_ = reached;
  for (auto& [node, p] : progress_)
    if (p.state == Progress::State::replicate && p.sent_commit < commit_ &&
        p.next > log_.last_index())
      send_append(node, p, true);
  if (log_.config_index() <= commit_ && !is_voter())
    become_follower(hard_.term, 0);  // it has committed its own removal
}

void Raft::commit_to(Index index) {
  commit_ = std::max(commit_, std::min(index, log_.last_index()));
}

void Raft::check_quorum() {
  const int64_t contact =
      quorum_value<int64_t>(now_ns_, [](const Progress& p) { return p.heard_ns; });
  if (now_ns_ - contact <= options_.election_timeout_max_ns) return;
  SP_PROBE(raft_check_quorum_stepped_down);
  become_follower(hard_.term, 0);
}

// A barrier is answered by a round that started after it came (Ongaro's thesis, 6.4); those that
// come meanwhile share the next round.
void Raft::answer_barriers() {
  if (barriers_.empty() || !established()) return;
  for (Barrier& barrier : barriers_)
    if (barrier.round == 0)
      barrier = {barrier.tag, commit_,
                 SP_PLANTED_BUG(raft_barrier_by_old_round) ? round_ : round_ + 1};
  if (barriers_.back().round > round_ && confirmed_round_ == round_) start_round();
  while (!barriers_.empty() && barriers_.front().round <= confirmed_round_) {
    const Barrier& done = barriers_.front();
    out_.answers.push_back({done.tag, Answer::Outcome::confirmed, done.index, hard_.term,
                            options_.self, std::nullopt});
    barriers_.pop_front();
  }
}

}  // namespace sp::raft
