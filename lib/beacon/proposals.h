// Proposals: the commands that services of this node (or this beacon itself) want agreed, until
// their outcome is known.
//
// A proposal goes to the leader of one term; the leader proposes it in no other term. The outcome
// is seen in this node's own applied log, so it is known whoever led and whatever became of the
// leader. Once an entry of a later term was applied here without it, it can never be committed any
// more and is sent again: so nothing is lost, and nothing is done twice. Sending it again within a
// term is harmless: the leader knows the numbers it has taken. `done` runs when the State here has
// applied the command, or with Code::unreachable (nobody led in time, not done), Code::transient
// (outcome unknown), or what the leader or the State refused it for. Thread rule: one reactor.
#pragma once
#include <map>

#include "beacon/consensus.h"
#include "wire/beacon_messages.h"

namespace sp::beacon {

class Proposals {
 public:
  using Done = Callback<void(Result<uint64_t>)>;  // the index
  // send: to the leader, which may be this node.
  using Send = Callback<void(const wire::ForwardCommand&)>;
  Proposals(io::Host& host, NodeId self, uint64_t start_id, Send send);

  // gone: a ServiceDown of a process that is known to have ended.
  void propose(std::vector<std::byte> command, bool gone, Done done);
  void refused(const wire::ForwardReply& reply);
  void applied(const raft::LogEntry& entry, const Envelope* envelope,
               const state::Applied* applied);
  void restored();  // entries were skipped: what was under way has an unknown outcome
  void leader(NodeId leader, uint64_t term);  // 0: none known
  void tick();
  size_t count() const { return waiting_.size(); }

 private:
  struct Proposal {
    std::vector<std::byte> command;
    bool gone = false;
    Done done;
    io::Instant deadline;
    io::Instant send_again;
    uint64_t term = 0;   // it was sent to the leader of this term, 0: not sent
    uint32_t sends = 0;  // in this term
  };
  void send(uint64_t number, Proposal& proposal);

  io::Host& host_;
  NodeId self_;
  uint64_t start_id_;
  Send send_;
  NodeId leader_ = 0;
  uint64_t term_ = 0;
  uint64_t applied_term_ = 0;
  uint64_t last_number_ = 0;
  std::map<uint64_t, Proposal> waiting_;
};

}  // namespace sp::beacon
