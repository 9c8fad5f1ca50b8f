#include "beacon/proposals.h"

#include "base/planted.h"
#include "base/probe.h"

namespace sp::beacon {

Proposals::Proposals(io::Host& host, NodeId self, uint64_t start_id, Send send)
    : host_(host), self_(self), start_id_(start_id), send_(std::move(send)) {}

void Proposals::propose(std::vector<std::byte> command, bool gone, Done done) {
  const uint64_t number = ++last_number_;
  Proposal& proposal = waiting_[number];
  proposal.command = std::move(command);
  proposal.gone = gone;
  proposal.done = std::move(done);
  proposal.deadline = host_.clock.now() + limits::command_connect_timeout;
  send(number, proposal);
}

void Proposals::send(uint64_t number, Proposal& proposal) {
  if (leader_ == 0 || proposal.term > term_) return;
  // Sent in an earlier term: only when that one is over for this node can it not be committed any
  // more.
  const bool earlier = proposal.term != 0 && proposal.term != term_;
  if (earlier && applied_term_ <= proposal.term && !SP_PLANTED_BUG(proposal_sent_in_two_terms))
    return;
  if (earlier) SP_PROBE(proposal_sent_again_in_later_term);
  if (proposal.term != term_) proposal.sends = 0;
  ++proposal.sends;
  proposal.term = term_;
  proposal.send_again = host_.clock.now() + limits::command_retry;
  send_({self_, start_id_, number, term_, proposal.gone, proposal.command});
  if (!SP_BUGGIFY(beacon_forwards_twice, host_)) return;
  ++proposal.sends;
  send_({self_, start_id_, number, term_, proposal.gone, proposal.command});
}

void Proposals::refused(const wire::ForwardReply& reply) {
  const auto it = waiting_.find(reply.number);
  if (it == waiting_.end() || it->second.term != reply.term) return;
  if (reply.code == Code::unreachable) {  // not the leader (any more)
    // Sent once, it was certainly not proposed. Sent twice, the first one may have been: wait for
    // the next term.
    if (it->second.sends == 1) it->second.term = 0;
    it->second.send_again = host_.clock.now() + limits::heartbeat_interval;
    return;
  }
  Done done = std::move(it->second.done);
  waiting_.erase(it);
  done(Error(reply.code, reply.text));
}

void Proposals::applied(const raft::LogEntry& entry, const Envelope* envelope,
                        const state::Applied* applied) {
  if (entry.term > applied_term_) applied_term_ = entry.term;
  if (envelope == nullptr || envelope->origin != self_ || envelope->origin_start != start_id_)
    return;
  const auto it = waiting_.find(envelope->number);
  if (it == waiting_.end()) return;
  Done done = std::move(it->second.done);
  waiting_.erase(it);
  if (applied->status.ok())
    done(entry.index);
  else
    done(Error(applied->status.error()));
}

void Proposals::restored() {
  std::vector<Done> unknown;
  for (auto it = waiting_.begin(); it != waiting_.end();) {
    if (it->second.term == 0) {
      ++it;
      continue;
    }
    SP_PROBE(proposal_outcome_skipped_by_snapshot);
    unknown.push_back(std::move(it->second.done));
    it = waiting_.erase(it);
  }
  for (Done& done : unknown)
    done(Error(
        Code::transient,
        "this node was brought up to date meanwhile: the outcome is unknown, look at the map"));
}

void Proposals::leader(NodeId leader, uint64_t term) {
  if (leader == leader_ && term == term_) return;
  leader_ = leader;
  term_ = term;
  for (auto& [number, proposal] : waiting_) send(number, proposal);
}

void Proposals::tick() {
  const io::Instant now = host_.clock.now();
  std::vector<std::pair<Done, bool>> late;
  for (auto it = waiting_.begin(); it != waiting_.end();) {
    Proposal& proposal = it->second;
    if (proposal.deadline <= now) {
      late.emplace_back(std::move(proposal.done), proposal.term != 0);
      it = waiting_.erase(it);
      continue;
    }
    if (proposal.send_again <= now) send(it->first, proposal);
    ++it;
  }
  for (auto& [done, sent] : late) {
    if (sent) SP_PROBE(proposal_outcome_unknown);
    if (sent)
      done(Error(Code::transient,
                 "no majority of the beacons has answered in time: the outcome is unknown, look at "
                 "the map"));
    else
      done(Error(Code::unreachable,
                 "no beacon leads: too few of the voting nodes reach each other"));
  }
}

}  // namespace sp::beacon
