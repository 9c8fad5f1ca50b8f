// Admission of commands: which ones wait for leases to end, and who is evicted when a primary
// complains.
#include <algorithm>

#include "base/planted.h"
#include "base/probe.h"
#include "beacon/leader.h"
#include "map/set_rules.h"

namespace sp::beacon {

using wire::MessageType;

namespace {

constexpr uint64_t taken_kept = 4 * limits::beacon_commands_max;
constexpr auto report_fresh = std::chrono::milliseconds(1500);

}  // namespace

void Leader::forward(NodeId from, wire::ForwardCommand forward) {
  if (!leading() || consensus_.raft().term() != forward.term) {
    return refuse(from, forward, Code::unreachable, "this beacon does not lead in that term");
  }
  const CommandKey key{forward.origin, forward.origin_start, forward.number};
  if (taken_.count(key) != 0) return;  // it comes again: under way, or done
  auto command = map::decode(forward.command);
  if (!command)
    return refuse(from, forward, Code::invalid,
                  "the leading beacon does not know this command; upgrade the older node");
  if (held_.size() >= limits::raft_uncommitted_entries_max) {
    return refuse(from, forward, Code::transient,
                  "too many commands wait at the leading beacon; ask again later");
  }
  take(key);
  held_.push_back({from, std::move(forward), std::move(*command)});
  retry_held();
}

// Proposals are given up by their origins long before so many younger ones were taken.
void Leader::take(const CommandKey& key) {
  taken_.insert(key);
  const auto [origin, start, number] = key;
  if (number > taken_kept)
    taken_.erase(taken_.lower_bound({origin, 0, 0}),
                 taken_.lower_bound({origin, start, number - taken_kept}));
}

void Leader::retry_held() {
  if (!charged_ || !in_charge()) return;
  if (SP_BUGGIFY(leader_admits_late, host_)) return;  // the next look does
  // Whatever is proposed here may come back to us at once: work on what is there now.
  std::deque<Held> trying;
  trying.swap(held_);
  const uint64_t term = term_;
  for (Held& held : trying) {
    if (term_ != term) return;
    if (admit(held) == Verdict::wait) held_.push_back(std::move(held));
  }
}

Leader::Verdict Leader::admit(Held& held) {
  const CommandKey key{held.forward.origin, held.forward.origin_start, held.forward.number};
  if (auto* evict = std::get_if<map::SetEvict>(&held.command); evict != nullptr && !evict->lost) {
    apply_connectivity_rule(*evict);
    held.forward.command = map::encode(held.command);
  }
  if (const auto* down = std::get_if<map::NodeDown>(&held.command)) {
    const auto watch = nodes_.find(down->node);
    if (watch != nodes_.end() &&
        host_.clock.now() - watch->second.heard < limits::node_silent_after) {
      refuse(held.from, held.forward, Code::refused, "the node is heard again");
      return Verdict::refused;
    }
  }
  std::string why;
  if (const auto verdict = admit_node_command(held, why)) {
    if (*verdict == Verdict::wait) return Verdict::wait;
    // It stays taken: a copy of it that is still on its way must not be made after all.
    refuse(held.from, held.forward, Code::refused, std::move(why));
    return Verdict::refused;
  }
  if (must_wait(held)) return Verdict::wait;
  const uint64_t tag = ++last_tag_;
  if (const auto* down = std::get_if<map::NodeDown>(&held.command))
    departing_[key] = {down->node, std::nullopt, tag};
  if (const auto* down = std::get_if<map::ServiceDown>(&held.command))
    departing_[key] = {0, down->service, tag};
  if (const auto* up = std::get_if<map::ServiceUp>(&held.command))
    departing_[key] = {0, up->service.id, tag};
  Envelope envelope{held.forward.origin, held.forward.origin_start, held.forward.number,
                    std::move(held.forward.command)};
  auto& proposed = proposed_[tag];
  proposed.first = held.from;
  proposed.second = held.forward;
  proposed.second.command.clear();
  consensus_.submit(raft::Propose{tag, encode(envelope)});
  return Verdict::proposed;
}

bool Leader::must_wait(const Held& held) {
  const map::Map& map = consensus_.state().map();
  if (const auto* down = std::get_if<map::ServiceDown>(&held.command)) {
    const bool waits = !held.forward.gone && !lease_over(down->service);
    if (waits) SP_PROBE(leader_waits_for_lease_of_service);
    return waits;
  }
  if (const auto* up = std::get_if<map::ServiceUp>(&held.command)) {
    const auto before = map.services.find(up->service.id);
    const bool successor = before != map.services.end() && before->second.up &&
                           before->second.start_id != up->service.start_id;
    return successor && !lease_over(up->service.id);
  }
  if (const auto* down = std::get_if<map::NodeDown>(&held.command)) {
    return !node_leases_over(down->node);
  }
  if (const auto* activated = std::get_if<map::SetActivated>(&held.command)) {
    const auto dropped = dropped_.find(activated->set);
    if (dropped == dropped_.end()) return false;
    std::erase_if(dropped->second, [&](const Dropped& old) {
      return lease_over(old.server) || fenced_index(old.server) >= old.index;
    });
    if (!dropped->second.empty()) {
      SP_PROBE(leader_holds_activation_back);
      return !SP_PLANTED_BUG(leader_activates_beside_old_primary);
    }
    dropped_.erase(dropped);
  }
  return false;
}

// A primary that is cut off itself complains of everybody. When it misses at least two services, or
// more than half of the other servers, and the accused misses fewer, then the primary is the one
// that goes.
void Leader::apply_connectivity_rule(map::SetEvict& evict) const {
  const map::Map& map = consensus_.state().map();
  const auto set = map.sets.find(evict.set);
  if (set == map.sets.end() || set->second.acting.empty() ||
      set->second.acting.front() == evict.disk)
    return;
  const map::Service* primary = map.server_of(set->second.acting.front());
  const map::Service* accused = map.server_of(evict.disk);
  if (primary == nullptr || accused == nullptr || !accused->up || watched(primary->id) == nullptr ||
      watched(accused->id) == nullptr)
    return;
  const Service& accused_watch = *watched(accused->id);
  if (host_.clock.now() - accused_watch.reported > report_fresh) return;  // it may well be dead
  size_t other_servers = 0;
  for (const auto& [id, service] : map.services)
    other_servers += id.kind == ServiceKind::server && service.up && id != primary->id ? 1 : 0;
  const size_t primary_misses = unreachable_count(primary->id);
  const size_t accused_misses = unreachable_count(accused->id);
  const bool cut_off = primary_misses >= 2 || 2 * primary_misses > other_servers;
  if (!cut_off || accused_misses >= primary_misses) return;
  SP_PROBE(leader_evicts_complaining_primary);
  host_.log.warning("a primary complains that is itself cut off: it is evicted instead",
                    {{"primary", set->second.acting.front()},
                     {"accused", evict.disk},
                     {"misses", primary_misses}});
  evict.disk = set->second.acting.front();
}

size_t Leader::unreachable_count(ServiceId id) const {
  const Service* service = watched(id);
  if (service == nullptr) return 0;
  const map::Map& map = consensus_.state().map();
  return static_cast<size_t>(std::count_if(
      service->report.unreachable.begin(), service->report.unreachable.end(), [&](ServiceId other) {
        const auto row = map.services.find(other);
        return row != map.services.end() && row->second.up;  // a dead one is missed by everybody
      }));
}

bool Leader::lease_over(ServiceId service) const {
  const auto end = lease_end_.find(service);
  return end == lease_end_.end() || end->second <= host_.clock.now();
}

bool Leader::node_leases_over(NodeId node) const {
  return std::all_of(lease_end_.begin(), lease_end_.end(), [&](const auto& entry) {
    return entry.first.node != node || entry.second <= host_.clock.now();
  });
}

void Leader::refuse(NodeId from, const wire::ForwardCommand& forward, Code code, std::string text) {
  events_.send(from,
               {MessageType::forward_reply,
                0,
                encode(wire::ForwardReply{forward.number, forward.term, code, std::move(text)}),
                {}});
}

void Leader::learn_primaries() {
  const map::Map& map = consensus_.state().map();
  for (const auto& [id, set] : map.sets) {
    const map::Service* server = map.server_of(set.acting.front());
    primaries_[id] = Holder{set.acting.front(), server != nullptr ? server->id : ServiceId{}};
  }
}

void Leader::note_primaries(uint64_t index, const std::vector<map::Change>& changes) {
  const map::Map& map = consensus_.state().map();
  for (const map::Change& change : changes) {
    if (change.table != map::Table::set || !change.row) continue;
    map::Map row;
    if (!map::apply(row, change) || row.sets.empty()) continue;
    const map::DiskSet& set = row.sets.begin()->second;
    const map::Service* now = map.server_of(set.acting.front());
    const Holder holder{set.acting.front(), now != nullptr ? now->id : ServiceId{}};
    const Holder before = std::exchange(primaries_[set.id], holder);
    std::set<Holder>& untold = untold_[set.id];
    // Also of the same server: the promise that binds it is that of its very disk.
    if (before.server != ServiceId{} && before != holder) untold.insert(before);
    if (set.activated) untold.clear();  // all copies have promised, these among them
    std::erase_if(untold, [&](const Holder& old) {
      const map::Service* const still = map.server_of(old.disk);
      // As a copy of the set it is told by the new primary, if it stays one until the activation.
      if (still != nullptr && still->id == old.server &&
          std::find(set.acting.begin(), set.acting.end(), old.disk) != set.acting.end())
        return false;
      drop(set.id, old.server, index);
      return true;
    });
    if (SP_PLANTED_BUG(leader_forgets_untold_primaries)) untold.clear();
  }
}

void Leader::drop(SetId set, ServiceId server, uint64_t index) {
  // Up or down, with or without a lease now: it may ask for one before it knows of this.
  uint64_t& floor = fence_floor_[server];
  floor = std::max(floor, index);
  const auto row = consensus_.state().map().services.find(server);
  if (row != consensus_.state().map().services.end() && row->second.up)
    dropped_[set].push_back({server, index});
}

}  // namespace sp::beacon
