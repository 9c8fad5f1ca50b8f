// Members: one change at a time, transfer of leadership, and the way back for voters that lost
// entries.
#include <algorithm>

#include <fmt/core.h>

#include "base/planted.h"
#include "base/probe.h"
#include "raft/raft.h"

namespace sp::raft {

void Raft::apply_config_to_progress() {
  for (const Member& member : config().members) {
    if (member.node == options_.self) continue;
    Progress& p = progress_[member.node];
    if (p.log_id == member.log_id) continue;
    p = Progress();
    p.log_id = member.log_id;
    p.heard_ns = now_ns_;
    p.next = log_.last_index() + 1;
  }
  std::erase_if(progress_,
                [this](const auto& entry) { return config().find(entry.first) == nullptr; });
}

void Raft::handle(ChangeMembers&& event) {
  if (role_ != Role::leader)
    return refuse(event.tag, Code::unreachable,
                  "this node does not lead the group; ask the leader");
  if (moving_)
    return refuse(event.tag, Code::transient, "leadership is being transferred; ask again");
  if (!established() && !SP_PLANTED_BUG(raft_change_before_own_commit))
    return refuse(event.tag, Code::transient,
                  "the leader has not committed an entry of its term yet; ask again");
  if (log_.config_index() > commit_ && !SP_PLANTED_BUG(raft_two_changes_at_once))
    return refuse(event.tag, Code::transient, "another change of members is under way; ask again");
  auto changed = changed_config(event.change);
  if (!changed.ok()) return refuse(event.tag, changed.error().code(), changed.error().message());
  const Index index = append_own(EntryKind::configuration, changed->encoded());
  apply_config_to_progress();
  for (auto& [node, progress] : progress_) send_more(node, progress);
  out_.answers.push_back(
      {event.tag, Answer::Outcome::accepted, index, hard_.term, options_.self, std::nullopt});
}

Result<Config> Raft::changed_config(const MemberChange& change) const {
  Config config = log_.config();
  const auto at = std::find_if(config.members.begin(), config.members.end(),
                               [&](const Member& m) { return m.node >= change.node; });
  const bool present = at != config.members.end() && at->node == change.node;
  switch (change.kind) {
    case MemberChange::Kind::add_learner:
      if (change.node == 0 || change.node > limits::nodes_max || change.log_id == 0)
        return Error(
            Code::invalid,
            fmt::format("node {} cannot be a member: node ids are 1 to {}, and its log needs an id",
                        change.node, limits::nodes_max));
      if (present)
        return Error(Code::exists,
                     fmt::format("node {} is a member already; remove it first if its log is new",
                                 change.node));
      config.members.insert(at, Member{change.node, change.log_id, false});
      return config;
    case MemberChange::Kind::promote: {
      if (!present)
        return Error(
            Code::not_found,
            fmt::format("node {} is not a member; add it as a learner first", change.node));
      if (at->voter)
        return Error(Code::exists, fmt::format("node {} is a voter already", change.node));
      const auto p = progress_.find(change.node);
      if (p == progress_.end() ||
          p->second.match + limits::raft_promote_lag_max < log_.last_index())
        return Error(
            Code::transient,
            fmt::format("node {} has not caught up with the log yet; ask again", change.node));
      at->voter = true;
      return config;
    }
    case MemberChange::Kind::remove:
      if (!present)
        return Error(Code::not_found, fmt::format("node {} is not a member", change.node));
      if (at->voter && config.voter_count() == 1)
        return Error(
            Code::refused,
            fmt::format("node {} is the last voter; promote another one first", change.node));
      config.members.erase(at);
      return config;
  }
  return Error(Code::invalid, "an unknown change of members");
}

void Raft::handle(Transfer&& event) {
  if (role_ != Role::leader)
    return refuse(event.tag, Code::unreachable,
                  "this node does not lead the group; ask the leader");
  if (moving_)
    return refuse(event.tag, Code::transient, "leadership is being transferred already; ask again");
  NodeId to = event.to;
  if (to == 0) {
    Index best = 0;
    for (const auto& [node, p] : progress_) {
      const bool alive = now_ns_ - p.heard_ns <= options_.election_timeout_min_ns && p.nonce == 0;
      if (!config().is_voter(node, p.log_id) || !alive || p.match < best) continue;
      best = p.match;
      to = node;
    }
    if (to == 0)
      return refuse(event.tag, Code::transient, "no other voter answers; ask again when one does");
  }
  const auto p = progress_.find(to);
  if (p == progress_.end() || !config().is_voter(to, p->second.log_id))
    return refuse(event.tag, Code::invalid,
                  fmt::format("node {} is not another voter of the group", to));
  if (p->second.nonce != 0)
    return refuse(event.tag, Code::transient,
                  fmt::format("node {} lost entries and has not caught up; ask again", to));
  moving_ = Moving{event.tag, to, now_ns_ + options_.election_timeout_max_ns, false};
  drive_transfer();
}

void Raft::drive_transfer() {
  if (!moving_ || moving_->told) return;
  const auto p = progress_.find(moving_->to);
  if (p == progress_.end()) return end_transfer("the successor is no longer a member");
  if (p->second.match < log_.last_index()) return;
  send(Message{.type = MessageType::timeout_now, .term = hard_.term}, moving_->to, After::nothing);
  moving_->told = true;
  SP_PROBE(raft_successor_told);
  out_.answers.push_back({moving_->tag, Answer::Outcome::confirmed, log_.last_index(), hard_.term,
                          moving_->to, std::nullopt});
}

void Raft::end_transfer(const char* why) {
  if (moving_ && !moving_->told)
    refuse(moving_->tag, Code::transient, fmt::format("leadership was not transferred: {}", why));
  moving_.reset();
}

// An abstaining voter lost entries that it had acknowledged, perhaps in this very term. It may vote
// again once it holds everything that this log held when its new incarnation was first seen, if
// this leader was still the leader after that (a round sent later is confirmed): then whatever its
// lost acknowledgements helped to commit, or may yet help to commit, is in its log again.
void Raft::watch_abstainer(const Message& m, Progress& p) {
  if (m.nonce == 0) {
    p.nonce = 0;
    return;
  }
  if (p.nonce != m.nonce) {
    p.nonce = m.nonce;
    p.catch_up_target = log_.last_index();
    p.catch_up_round = round_ + 1;
    p.match = 0;
    p.to_probe(log_.last_index() + 1);
    return;
  }
  if (confirmed_round_ < p.catch_up_round || p.match < p.catch_up_target ||
      log_.term_at(p.match) == 0)
    return;
  Message done{.type = MessageType::caught_up,
               .term = hard_.term,
               .index = p.match,
               .log_term = log_.term_at(p.match),
               .nonce = m.nonce};
  send(std::move(done), m.from, After::nothing);
}

// The leader's idea of what this node holds may rest on answers from before the loss: only the own
// log is believed.
void Raft::on_caught_up(const Message& m) {
  if (!abstain_ || m.nonce != nonce_ || role_ != Role::follower || m.from != leader_) return;
  if (!log_.matches(m.index, m.log_term) || durable_ < m.index) return;
  SP_PROBE(raft_abstention_over);
  abstain_ = false;
  out_.caught_up = true;
}

void Raft::on_wrong_log(const Message& m) {
  const Member* member = config().find(m.from);
  if (role_ == Role::leader && member != nullptr && member->log_id != m.from_log)
    out_.strangers.push_back({m.from, m.from_log, false});
}

}  // namespace sp::raft
