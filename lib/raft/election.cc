// Elections: pre-vote, vote, and the waits that make a leader's lease safe.
#include <algorithm>

#include "base/planted.h"
#include "base/probe.h"
#include "raft/raft.h"

namespace sp::raft {

void Raft::handle(Tick&&) {
  if (role_ == Role::leader) {
    check_quorum();
    if (role_ == Role::leader && now_ns_ >= heartbeat_due_ns_) start_round();
    if (role_ == Role::leader && moving_ && now_ns_ >= moving_->deadline_ns)
      end_transfer("the successor did not take over in time");
    return;
  }
  if (now_ns_ < election_deadline_ns_) return;
  if (may_campaign()) return pre_campaign();
  leader_ = 0;
  reset_election_deadline();
}

// A leader answers its own rounds: it is bound by them as any other voter is, also after it has
// stepped down.
bool Raft::refuses_votes() const {
  if (abstain_) return true;
  if (now_ns_ < start_ns_ + options_.election_timeout_min_ns &&
      !SP_PLANTED_BUG(raft_vote_soon_after_start))
    return true;
  return heard_leader_ && now_ns_ < heard_leader_ns_ + options_.election_timeout_min_ns;
}

// Also while its own removal is in the log uncommitted: it may be the only one that has that entry
// (Ongaro's thesis, 4.2.2).
bool Raft::may_campaign() const {
  return !abstain_ &&
         (is_voter() || log_.config_at(commit_).is_voter(options_.self, options_.log_id));
}

void Raft::reset_election_deadline() {
  const auto span =
      static_cast<uint64_t>(options_.election_timeout_max_ns - options_.election_timeout_min_ns);
  random_ = mix64(random_);
  const uint64_t jitter = span == 0 ? 0 : random_ % (span + 1);
  election_deadline_ns_ = now_ns_ + options_.election_timeout_min_ns + static_cast<int64_t>(jitter);
}

void Raft::become_follower(Term term, NodeId leader) {
  if (term > hard_.term) set_hard_state(term, 0);
  if (role_ == Role::leader) {
    end_transfer("this node no longer leads the group");
    for (const Barrier& barrier : barriers_)
      refuse(barrier.tag, Code::unreachable, "this node no longer leads the group; ask the leader");
    barriers_.clear();
    progress_.clear();
    rounds_.clear();
    snapshot_.reset();
  }
  if (role_ != Role::follower) reset_election_deadline();
  role_ = Role::follower;
  leader_ = leader;
  votes_.clear();
}

void Raft::pre_campaign() {
  role_ = Role::pre_candidate;
  leader_ = 0;
  votes_.clear();
  reset_election_deadline();
  ask_for_votes(MessageType::pre_vote, hard_.term + 1, false);
  if (!refuses_votes()) count_vote(options_.self);
}

// The own vote counts when it is durable: see handle(Persisted).
void Raft::campaign(bool transfer) {
  role_ = Role::candidate;
  leader_ = 0;
  votes_.clear();
  campaign_by_transfer_ = transfer;
  reset_election_deadline();
  set_hard_state(hard_.term + 1, options_.self);
  ask_for_votes(MessageType::vote, hard_.term, transfer);
}

void Raft::ask_for_votes(MessageType type, Term term, bool transfer) {
  for (const Member& member : config().members) {
    if (!member.voter || member.node == options_.self) continue;
    Message request{.type = type,
                    .term = term,
                    .index = log_.last_index(),
                    .log_term = log_.last_term(),
                    .transfer = transfer};
    send(std::move(request), member.node, After::everything);
  }
}

void Raft::count_vote(NodeId node) {
  if (std::find(votes_.begin(), votes_.end(), node) == votes_.end()) votes_.push_back(node);
  uint32_t granted = 0;
  for (const Member& member : config().members)
    if (member.voter && std::find(votes_.begin(), votes_.end(), member.node) != votes_.end())
      ++granted;
  if (granted <= config().voter_count() / 2) return;
  if (role_ == Role::pre_candidate) return campaign(false);
  if (role_ == Role::candidate) become_leader();
}

void Raft::become_leader() {
  SP_ASSERT(role_ == Role::candidate);
  SP_ASSERT_OP(hard_.vote, ==, options_.self);
  SP_ASSERT_OP(hard_state_ticket_, <=, persisted_ticket_);
  role_ = Role::leader;
  leader_ = options_.self;
  votes_.clear();
  incoming_.reset();
  // Voters that were asked by transfer did not wait for the lease of the leader before; so the new
  // leader does.
  if (campaign_by_transfer_) SP_PROBE(raft_lease_waited_out);
  const bool waits = campaign_by_transfer_ && !SP_PLANTED_BUG(raft_old_lease_not_waited_out);
  leases_before_end_ns_ = waits ? now_ns_ + options_.election_timeout_min_ns : now_ns_;
  round_ = confirmed_round_ = 0;
  rounds_.clear();
  snapshot_asked_round_ = UINT64_MAX;
  progress_.clear();
  apply_config_to_progress();
  term_start_ = log_.last_index() + 1;
  append_own(EntryKind::noop, {});
  start_round();
}

bool Raft::log_is_up_to_date(const Message& m) const {
  return SP_PLANTED_BUG(raft_votes_for_any_log) || m.log_term > log_.last_term() ||
         (m.log_term == log_.last_term() && m.index >= log_.last_index());
}

void Raft::on_vote(const Message& m) {
  if (refuses_votes() && !(m.transfer && !abstain_)) return;
  const bool twice = SP_PLANTED_BUG(raft_votes_twice) && role_ == Role::follower;
  const bool free = hard_.vote == 0 || hard_.vote == m.from || twice;
  const bool grant = free && leader_ == 0 && log_is_up_to_date(m);
  Message answer{.type = MessageType::vote_answer,
                 .to_log = m.from_log,
                 .term = hard_.term,
                 .refused = !grant};
  if (grant) {
    SP_ASSERT(role_ == Role::follower ||
              role_ == Role::pre_candidate);  // the others have voted for themselves
    if (role_ != Role::follower) become_follower(hard_.term, 0);
    if (hard_.vote != m.from && !(twice && hard_.vote != 0)) set_hard_state(hard_.term, m.from);
    reset_election_deadline();
  }
  const bool early = SP_PLANTED_BUG(raft_vote_before_durable);
  send(std::move(answer), m.from, early ? After::nothing : After::everything);
}

void Raft::on_pre_vote(const Message& m) {
  if (abstain_) return;
  const bool grant = m.term > hard_.term && !refuses_votes() && log_is_up_to_date(m);
  Message answer{.type = MessageType::pre_vote_answer,
                 .to_log = m.from_log,
                 .term = grant ? m.term : hard_.term,
                 .refused = !grant};
  send(std::move(answer), m.from, After::hard_state);
}

void Raft::on_vote_answer(const Message& m) {
  const bool wanted =
      m.type == MessageType::vote_answer ? role_ == Role::candidate : role_ == Role::pre_candidate;
  if (!wanted || m.refused || !config().is_voter(m.from, m.from_log)) return;
  count_vote(m.from);
}

// Returns whether the message goes on to its handler.
bool Raft::on_higher_term(const Message& m) {
  switch (m.type) {
    case MessageType::pre_vote_answer:
      // Granted: for the term that this node asked for, which is not its own yet.
      if (!m.refused) {
        if (m.term == hard_.term + 1) on_vote_answer(m);
        return false;
      }
      break;
    case MessageType::vote:
      if (refuses_votes() && !(m.transfer && !abstain_)) return false;
      break;
    default: break;
  }
  become_follower(m.term, 0);
  return true;
}

void Raft::on_lower_term(const Message& m) {
  switch (m.type) {
    case MessageType::append:
    case MessageType::heartbeat:
    case MessageType::snapshot_chunk: {
      // Tells a leader that is over to step down.
      Message answer{.type = MessageType::heartbeat_answer,
                     .to_log = m.from_log,
                     .term = hard_.term,
                     .refused = true};
      return send(std::move(answer), m.from, After::hard_state);
    }
    case MessageType::vote: {
      Message answer{.type = MessageType::vote_answer,
                     .to_log = m.from_log,
                     .term = hard_.term,
                     .refused = true};
      return send(std::move(answer), m.from, After::hard_state);
    }
    default: return;
  }
}

}  // namespace sp::raft
