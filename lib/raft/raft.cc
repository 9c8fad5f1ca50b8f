// Steps: the start, the events of the caller, and the order between what is durable and what is
// said.
#include "raft/raft.h"

#include <algorithm>

#include <fmt/core.h>

namespace sp::raft {

Raft::Raft(const Options& options, Restored restored, int64_t now_ns)
    : options_(options),
      hard_(restored.hard_state),
      log_(std::move(restored.base), std::move(restored.entries)),
      abstain_(restored.abstain),
      nonce_(mix64(options.seed) | 1),
      random_(mix64(options.seed ^ options.log_id)),
      now_ns_(now_ns),
      start_ns_(now_ns) {
  SP_ASSERT(options_.self != 0 && options_.log_id != 0);
  SP_ASSERT_OP(options_.election_timeout_min_ns, <=, options_.election_timeout_max_ns);
  SP_ASSERT_OP(options_.heartbeat_interval_ns, <, options_.election_timeout_min_ns);
  SP_ASSERT_OP(restored.applied, >=, log_.mark().index);
  SP_ASSERT_OP(restored.applied, <=, log_.last_index());
  SP_ASSERT_OP(log_.last_term(), <=, hard_.term);
  commit_ = applied_ = handed_out_ = restored.applied;
  durable_ = log_.last_index();
  reset_election_deadline();
}

Output Raft::step(int64_t now_ns, Event event) {
  SP_ASSERT_OP(now_ns, >=, now_ns_);
  now_ns_ = now_ns;
  out_ = Output();
  batch_open_ = false;
  if (role_ == Role::stopped) return std::exchange(out_, Output());
  const Role role = role_;
  const Term term = hard_.term;
  const NodeId leader = leader_;
  const Config config = log_.config();

  std::visit([this](auto&& e) { handle(std::forward<decltype(e)>(e)); }, std::move(event));
  if (role_ != Role::stopped) {
    hand_out_committed();
    answer_barriers();
  }
  out_.leadership_changed = role_ != role || hard_.term != term || leader_ != leader;
  out_.config_changed = log_.config() != config;
  return std::exchange(out_, Output());
}

void Raft::handle(Receive&& event) {
  Message& m = event.message;
  if (m.to != options_.self || m.from == options_.self || m.from == 0) return;
  if (m.to_log != 0 && m.to_log != options_.log_id) {
    if (m.type != MessageType::wrong_log) {
      Message answer{.type = MessageType::wrong_log, .to_log = m.from_log, .term = hard_.term};
      send(std::move(answer), m.from, After::hard_state);
    }
    return;
  }
  if (m.type == MessageType::wrong_log) return on_wrong_log(m);
  if (m.type == MessageType::pre_vote) return on_pre_vote(m);
  if (m.term > hard_.term && !on_higher_term(m)) return;
  if (m.term < hard_.term) return on_lower_term(m);
  switch (m.type) {
    case MessageType::append: return on_append(std::move(m));
    case MessageType::append_answer: return on_append_answer(m);
    case MessageType::heartbeat: return on_heartbeat(m);
    case MessageType::heartbeat_answer: return on_heartbeat_answer(m);
    case MessageType::vote: return on_vote(m);
    case MessageType::pre_vote_answer:
    case MessageType::vote_answer: return on_vote_answer(m);
    case MessageType::snapshot_chunk: return on_snapshot_chunk(std::move(m));
    case MessageType::snapshot_answer: return on_snapshot_answer(m);
    case MessageType::timeout_now:
      if (role_ == Role::follower && may_campaign() && m.from == leader_) campaign(true);
      return;
    case MessageType::caught_up: return on_caught_up(m);
    case MessageType::pre_vote:
    case MessageType::wrong_log: break;
  }
}

void Raft::handle(Propose&& event) {
  if (role_ != Role::leader)
    return refuse(event.tag, Code::unreachable,
                  "this node does not lead the group; ask the leader");
  if (moving_)
    return refuse(event.tag, Code::transient, "leadership is being transferred; ask again");
  if (event.command.size() > limits::raft_command_bytes_max)
    return refuse(event.tag, Code::invalid,
                  fmt::format("a command of {} bytes is larger than the limit of {}",
                              event.command.size(), limits::raft_command_bytes_max));
  if (log_.last_index() - commit_ >= options_.uncommitted_entries_max)
    return refuse(event.tag, Code::transient,
                  "too many commands wait for a majority; ask again later");
  const Index index = append_own(EntryKind::command, std::move(event.command));
  out_.answers.push_back(
      {event.tag, Answer::Outcome::accepted, index, hard_.term, options_.self, std::nullopt});
}

void Raft::handle(ReadBarrier&& event) {
  if (role_ != Role::leader)
    return refuse(event.tag, Code::unreachable,
                  "this node does not lead the group; ask the leader");
  if (barriers_.size() >= limits::raft_barriers_max)
    return refuse(event.tag, Code::transient,
                  "too many reads wait for a majority; ask again later");
  barriers_.push_back({event.tag, 0, 0});
}

// The batches are durable in order, so everything up to the ticket is.
void Raft::handle(Persisted&& event) {
  SP_ASSERT_OP(event.ticket, <=, last_ticket_);
  if (event.ticket <= persisted_ticket_) return;
  persisted_ticket_ = event.ticket;
  while (!pending_.empty() && pending_.front().ticket <= event.ticket) {
    durable_ = std::max(durable_, pending_.front().last);
    applied_ = std::max(applied_, pending_.front().installed);
    pending_.pop_front();
  }
  SP_ASSERT_OP(durable_, <=, log_.last_index());
  while (!held_.empty() && held_.front().ticket <= event.ticket) {
    out_.messages.push_back(std::move(held_.front().message));
    held_.pop_front();
  }
  if (role_ == Role::candidate && hard_state_ticket_ <= persisted_ticket_)
    count_vote(options_.self);
  if (role_ == Role::leader) update_commit();
}

void Raft::handle(Applied&& event) {
  SP_ASSERT_OP(event.index, <=, handed_out_);
  applied_ = std::max(applied_, event.index);
}

void Raft::handle(Compact&& event) {
  SP_ASSERT_OP(event.through, <=, applied_);
  Index through = event.through;
  // The entries after a snapshot that is on its way are what the follower needs next.
  if (snapshot_) through = std::min(through, snapshot_->mark.index);
  if (through <= log_.mark().index) return;
  log_.compact(through);
  batch().compact = log_.mark();
}

void Raft::handle(DiskFailed&&) {
  leader_ = 0;
  end_transfer("the disk of this node failed");
  for (const Barrier& barrier : barriers_)
    refuse(barrier.tag, Code::unreachable, "the disk of this node failed; ask another node");
  barriers_.clear();
  held_.clear();
  pending_.clear();
  progress_.clear();
  snapshot_.reset();
  incoming_.reset();
  role_ = Role::stopped;
}

Persist& Raft::batch() {
  if (!batch_open_) {
    batch_open_ = true;
    out_.persist.emplace();
    out_.persist->ticket = ++last_ticket_;
    pending_.push_back({last_ticket_, 0, 0});
  }
  return *out_.persist;
}

void Raft::set_hard_state(Term term, NodeId vote) {
  SP_ASSERT_OP(term, >=, hard_.term);
  SP_ASSERT(term > hard_.term || hard_.vote == 0 || hard_.vote == vote);
  hard_ = {term, vote};
  batch().hard_state = hard_;
  hard_state_ticket_ = last_ticket_;
}

Index Raft::append_own(EntryKind kind, std::vector<std::byte> data) {
  LogEntry entry{log_.last_index() + 1, hard_.term, kind, std::move(data)};
  const Index index = entry.index;
  batch().entries.push_back(entry);
  pending_.back().last = index;
  log_.append(std::move(entry));
  for (auto& [node, progress] : progress_) send_more(node, progress);
  return index;
}

void Raft::send(Message message, NodeId to, After after) {
  message.from = options_.self;
  message.from_log = options_.log_id;
  message.to = to;
  const bool answers_leader = message.type == MessageType::append_answer ||
                              message.type == MessageType::heartbeat_answer ||
                              message.type == MessageType::snapshot_answer;
  if (abstain_ && answers_leader) message.nonce = nonce_;
  if (message.to_log == 0)
    if (const Member* member = log_.config().find(to)) message.to_log = member->log_id;
  const uint64_t ticket = after == After::nothing      ? 0
                          : after == After::hard_state ? hard_state_ticket_
                                                       : last_ticket_;
  if (ticket <= persisted_ticket_) {
    out_.messages.push_back(std::move(message));
  } else {
    auto place = std::upper_bound(held_.begin(), held_.end(), ticket,
                                  [](uint64_t t, const Held& h) { return t < h.ticket; });
    held_.insert(place, Held{ticket, std::move(message)});
  }
}

void Raft::refuse(uint64_t tag, Code code, std::string message) {
  const NodeId hint = leader_;
  out_.answers.push_back(
      {tag, Answer::Outcome::refused, 0, 0, hint, Error(code, std::move(message))});
}

void Raft::hand_out_committed() {
  const Index upto = std::min({commit_, durable_, applied_ + options_.apply_ahead_max});
  while (handed_out_ < upto) out_.apply.push_back(log_.at(++handed_out_));
}

int64_t Raft::deadline_ns() const {
  if (role_ == Role::stopped) return INT64_MAX;
  if (role_ == Role::leader)
    return moving_ ? std::min(heartbeat_due_ns_, moving_->deadline_ns) : heartbeat_due_ns_;
  return may_campaign() || leader_ != 0 ? election_deadline_ns_ : INT64_MAX;
}

std::string Raft::describe() const {
  static constexpr const char* roles[] = {"follower", "pre-candidate", "candidate", "leader",
                                          "stopped"};
  std::string text = fmt::format(
      "{} term={} vote={} leader={} log=[{}..{}] durable={} commit={} handed={} applied={}{}",
      roles[static_cast<int>(role_)], hard_.term, hard_.vote, leader_, log_.mark().index,
      log_.last_index(), durable_, commit_, handed_out_, applied_, abstain_ ? " abstains" : "");
  const auto shown = log_.entries().last(std::min<size_t>(log_.entries().size(), 20));
  for (const LogEntry& entry : shown)
    text += fmt::format(" {}/{}", entry.term, static_cast<int>(entry.kind));
  for (const Member& m : config().members)
    text += fmt::format(" {}{}", m.voter ? "v" : "l", m.node);
  for (NodeId node : votes_) text += fmt::format(" from{}", node);
  for (const auto& [node, p] : progress_)
    text += fmt::format(" {}:{}/{}/{}/{}/{}", node, static_cast<int>(p.state), p.match, p.next,
                        p.in_flight.size(), p.probe_sent);
  for (const Held& held : held_)
    text += fmt::format(" held{}:{}>{}:{}", held.ticket, static_cast<int>(held.message.type),
                        held.message.to, held.message.index);
  return text;
}

}  // namespace sp::raft
