#include "beacon/leader.h"

namespace sp::beacon {

using wire::MessageType;

namespace {

constexpr size_t reports_piece_bytes = 512u << 10;

}  // namespace

io::Duration lease_bound() {
  const auto length = static_cast<double>(io::Duration(limits::lease_length).count());
  return io::Duration(static_cast<int64_t>(length * (1 + 2 * limits::clock_drift_max)) + 1);
}

Leader::Leader(io::Host& host, Consensus& consensus, Peers& peers, Options options, Events events)
    : host_(host),
      consensus_(consensus),
      peers_(peers),
      options_(std::move(options)),
      events_(std::move(events)),
      round_timer_(host.reactor) {}

bool Leader::in_charge() const {
  return leading() && consensus_.raft().role() == raft::Role::leader &&
         consensus_.raft().established() &&
         consensus_.processed() >= consensus_.raft().commit_index() &&
         host_.clock.now().ns >= consensus_.raft().leases_before_end_ns();
}

void Leader::begin() {
  end();
  term_ = consensus_.raft().term();
  // Everybody gets a full time to be heard from here on, but for the last leader: it speaks all the
  // time, and its silence brought us here.
  for (const auto& [id, node] : consensus_.state().map().nodes)
    nodes_[id].heard = id == leader_before_ ? leader_before_heard_ : host_.clock.now();
  nodes_[options_.self].heard = host_.clock.now();
  host_.log.info("leading", {{"term", term_}});
}

void Leader::end() {
  if (leading()) host_.log.info("no longer leading", {{"term", term_}});
  term_ = 0;
  charged_ = false;
  nodes_.clear();
  lease_end_.clear();
  fence_floor_.clear();
  confirmed_ = 0;
  asking_.clear();
  in_round_.clear();
  round_tag_ = round_index_ = 0;
  round_timer_.cancel();
  taken_.clear();
  proposed_.clear();
  departing_.clear();
  leaving_.reset();
  held_.clear();
  primaries_.clear();
  dropped_.clear();
  cuts_.clear();
  untold_.clear();
  members_changed_ = put_nodes_at_ = handed_over_ = {INT64_MIN};
}

void Leader::settled() {
  const bool leads = consensus_.raft().role() == raft::Role::leader;
  if (leads && term_ != consensus_.raft().term()) begin();
  if (!leads && leading()) end();
  if (!leads && consensus_.raft().leader() != 0 && consensus_.raft().leader() != leader_before_) {
    leader_before_ = consensus_.raft().leader();
    leader_before_heard_ = host_.clock.now();
  }
  if (!leading()) return;
  if (!charged_ && in_charge()) {
    charged_ = true;
    // What an earlier leader has confirmed lies in what it had committed, so in this: no server
    // that is behind it may serve.
    confirmed_ = cut_floor_ = consensus_.state().map().index;
    learn_primaries();
  }
  finish_round();
  if (!held_.empty()) retry_held();
}

void Leader::tick() {
  if (!leading()) return;
  settled();
  if (!charged_) return;
  raise_confirmed();
  close_cuts();
  watch_nodes();
  keep_nodes();
  keep_members();
}

void Leader::heard(NodeId node) {
  if (leading()) nodes_[node].heard = host_.clock.now();
  if (node == leader_before_) leader_before_heard_ = host_.clock.now();
}

void Leader::answered(const raft::Answer& answer) {
  if (answer.tag == round_tag_ && round_tag_ != 0) {
    if (answer.outcome == raft::Answer::Outcome::confirmed) {
      round_index_ = std::max<raft::Index>(answer.index, 1);
    } else {
      round_tag_ = 0;
      in_round_.clear();  // the nodes ask again
    }
    return;
  }
  const auto it = proposed_.find(answer.tag);
  if (it == proposed_.end()) return;
  const auto [from, forward] = std::move(it->second);
  proposed_.erase(it);
  if (answer.outcome != raft::Answer::Outcome::refused) return;
  const CommandKey key{forward.origin, forward.origin_start, forward.number};
  taken_.erase(key);
  departing_.erase(key);
  if (leaving_ == key) leaving_.reset();
  refuse(from, forward, answer.error->code(), answer.error->message());
}

void Leader::applied(const raft::LogEntry& entry, const Envelope* envelope,
                     const state::Applied* applied) {
  if (!leading() || envelope == nullptr) return;
  if (leaving_ == CommandKey{envelope->origin, envelope->origin_start, envelope->number})
    leaving_.reset();
  if (const auto it = departing_.find({envelope->origin, envelope->origin_start, envelope->number});
      it != departing_.end()) {
    // What is down has no lease any more: it was waited for, or the process is gone.
    const map::Map& map = consensus_.state().map();
    std::erase_if(lease_end_, [&](const auto& lease) {
      const auto row = map.services.find(lease.first);
      return (it->second.node == lease.first.node || it->second.service == lease.first) &&
             (row == map.services.end() || !row->second.up);
    });
    departing_.erase(it);
  }
  if (!charged_) return;
  note_primaries(entry.index, applied->changes);
  note_cut_floor(entry.index, applied->changes);
}

void Leader::reports_query(NodeId from, uint64_t request) {
  wire::NodeReportsReply reply;
  if (!charged_) {
    reply.code = Code::unreachable;
    reply.text = "this beacon does not lead (any more); ask again";
    events_.send(from, {MessageType::node_reports_reply, request, encode(reply), {}});
    return;
  }
  reply.ok = true;
  reply.last = false;
  size_t bytes = 0;
  const auto flush = [&] {
    events_.send(from, {MessageType::node_reports_reply, request, encode(reply), {}});
    reply.reports.clear();
    bytes = 0;
  };
  const io::Instant now = host_.clock.now();
  for (const auto& [node, watch] : nodes_) {
    for (const auto& [id, service] : watch.services) {
      const auto age_ms =
          std::chrono::duration_cast<std::chrono::milliseconds>(now - service.reported).count();
      reply.reports.push_back({id, service.report, static_cast<uint64_t>(age_ms)});
      bytes += encode(service.report).size();
      if (bytes > reports_piece_bytes) flush();
    }
  }
  reply.last = true;
  flush();
}

}  // namespace sp::beacon
