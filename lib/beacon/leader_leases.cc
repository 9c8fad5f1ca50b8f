// Leases: one round of heartbeats answers all that have asked before it began.
#include <algorithm>

#include "base/planted.h"
#include "base/probe.h"
#include "beacon/leader.h"

namespace sp::beacon {

using wire::MessageType;

namespace {
constexpr auto client_report_kept = std::chrono::milliseconds(1500);
}  // namespace

void Leader::lease_request(NodeId from, wire::NodeLeaseRequest request) {
  if (!leading()) return;
  const io::Instant now = host_.clock.now();
  NodeWatch& watch = nodes_[from];
  watch.heard = now;
  watch.feature_level = request.feature_level;
  LeaseAsk ask{from, request.sent_ns, now, {}};
  std::map<ServiceId, Service> services;
  for (wire::NodeService& service : request.services) {
    if (service.wants_lease) ask.services.emplace_back(service.service, service.start_id);
    services[service.service] = {service.start_id, std::move(service.report), now};
  }
  // One request does not take all clients of a node that has many: they come in turns.
  for (auto& [id, service] : watch.services)
    if (id.kind == ServiceKind::client && now - service.reported < client_report_kept)
      services.try_emplace(id, std::move(service));
  watch.services = std::move(services);
  if (charged_) raise_confirmed();
  if (charged_) close_cuts();
  if (!held_.empty()) retry_held();
  if (!leading()) return;
  if (asking_.size() >= limits::nodes_max * 4) asking_.pop_front();
  asking_.push_back(std::move(ask));
  start_round();
}

void Leader::start_round() {
  if (round_tag_ != 0 || asking_.empty()) return;
  const io::Instant now = host_.clock.now();
  io::Instant due = round_started_ + io::Duration(limits::lease_round_interval);
  if (const uint32_t draw = SP_BUGGIFY(leader_rounds_late, host_); draw != 0 && due > now)
    due = due + std::chrono::milliseconds(draw % 200);
  if (round_started_.ns != INT64_MIN && due > now) {
    if (!round_timer_.armed()) round_timer_.arm(due - now, [this] { start_round(); });
    return;
  }
  round_started_ = now;
  in_round_.assign(std::make_move_iterator(asking_.begin()),
                   std::make_move_iterator(asking_.end()));
  asking_.clear();
  round_tag_ = ++last_tag_;
  round_index_ = 0;
  consensus_.submit(raft::ReadBarrier{round_tag_});
}

void Leader::finish_round() {
  if (round_index_ == 0 || consensus_.processed() < round_index_ || !charged_ || !in_charge())
    return;
  const std::vector<LeaseAsk> asks = std::move(in_round_);
  in_round_.clear();
  round_tag_ = round_index_ = 0;
  const auto confirmed_round = consensus_.raft().round_confirmed_ns();
  const auto length = static_cast<uint64_t>(io::Duration(limits::lease_length).count());
  for (const LeaseAsk& ask : asks) {
    // The barrier promises it; a lease on anything older could outlive the next election.
    if (!confirmed_round || *confirmed_round < ask.received.ns) continue;
    wire::NodeLeaseGrant grant;
    grant.sent_ns = ask.sent_ns;
    grant.length_ns = length;
    grant.confirmed_index = confirmed_;
    for (const auto& [service, start_id] : ask.services) {
      if (!may_serve(service, start_id)) continue;
      grant.granted.push_back(service);
      const io::Instant granted_end = ask.received + lease_bound();
      const auto [end, first] = lease_end_.try_emplace(service, granted_end);
      if (!first && !SP_PLANTED_BUG(leader_forgets_renewed_leases))
        end->second = std::max(end->second, granted_end);
    }
    events_.send(ask.node, {MessageType::node_lease_grant, 0, encode(grant), {}});
  }
  raise_confirmed();
  start_round();
}

bool Leader::may_serve(ServiceId id, uint64_t start_id) const {
  const map::Map& map = consensus_.state().map();
  const auto row = map.services.find(id);
  const auto node = map.nodes.find(id.node);
  if (row == map.services.end() || !row->second.up || row->second.start_id != start_id)
    return false;
  if (node == map.nodes.end() || !node->second.up) return false;
  for (const auto& [key, departing] : departing_) {
    if (departing.node == id.node || departing.service == id) return false;
  }
  for (const Held& held : held_) {
    const auto* down = std::get_if<map::ServiceDown>(&held.command);
    const auto* up = std::get_if<map::ServiceUp>(&held.command);
    if ((down != nullptr && down->service == id) || (up != nullptr && up->service.id == id))
      return false;
  }
  if (id.kind != ServiceKind::server) return true;
  const Service* service = watched(id);
  if (service == nullptr || service->start_id != start_id) return false;
  const auto floor = fence_floor_.find(id);
  const uint64_t least = std::max(confirmed_, floor != fence_floor_.end() ? floor->second : 0);
  return service->report.fenced_index >= least;
}

const Leader::Service* Leader::watched(ServiceId id) const {
  // A service registers with the beacon of its own node, and with no other.
  const auto watch = nodes_.find(id.node);
  if (watch == nodes_.end()) return nullptr;
  const auto found = watch->second.services.find(id);
  return found == watch->second.services.end() ? nullptr : &found->second;
}

// What the process that is up has put in force; another one of the same number does not speak for
// it.
uint64_t Leader::fenced_index(ServiceId id) const {
  const Service* const service = watched(id);
  const auto row = consensus_.state().map().services.find(id);
  const bool same = service != nullptr && row != consensus_.state().map().services.end() &&
                    row->second.start_id == service->start_id;
  return same ? service->report.fenced_index : 0;
}

// Everything that may be serving has put the map up to here in force.
void Leader::raise_confirmed() {
  if (!in_charge()) return;
  const map::Map& map = consensus_.state().map();
  uint64_t least = map.index;
  for (const auto& [id, end] : lease_end_) {
    if (id.kind != ServiceKind::server || end <= host_.clock.now()) continue;
    if (SP_PLANTED_BUG(leader_confirms_unfenced)) continue;
    least = std::min(least, fenced_index(id));
  }
  if (least <= confirmed_) return;
  confirmed_ = least;
  for (const auto& [node, watch] : nodes_) {
    events_.send(node,
                 {MessageType::node_confirmed, 0, encode(wire::NodeConfirmed{confirmed_}), {}});
  }
}

}  // namespace sp::beacon
