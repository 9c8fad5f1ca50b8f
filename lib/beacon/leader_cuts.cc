// Cuts: when a snapshot that is being taken is whole, and when it is given up.
//
// Why a cut that is closed as taken is one: at one moment each set of the group is activated and
// may decide, its primary is the one that the applied state shows, and that one has said, under a
// map that has the cut and all changes of sets up to this moment, that no write of the volumes is
// undecided there and that it holds newer ones. It goes on to hold them until it sees the cut
// closed; who leads the set after it has a later map, and so the cut as well. A set that may decide
// has no copy outside that could bring a write back. So from this moment on the layers of the
// volumes do not change any more, whatever happens before the command is applied.
#include <algorithm>

#include "base/planted.h"
#include "base/probe.h"
#include "beacon/leader.h"
#include "map/set_rules.h"

namespace sp::beacon {

namespace {

constexpr auto propose_again_after = std::chrono::milliseconds(500);

}  // namespace

// A report made under an older map may be about other sets than those that its server leads now.
void Leader::note_cut_floor(uint64_t index, const std::vector<map::Change>& changes) {
  for (const map::Change& change : changes) {
    switch (change.table) {
      case map::Table::set:
      case map::Table::cut:
      case map::Table::disk:
      case map::Table::service: cut_floor_ = index; return;
      default: break;
    }
  }
}

void Leader::close_cuts() {
  const map::Map& map = consensus_.state().map();
  if (map.cuts.empty()) return cuts_.clear();
  const io::Instant now = host_.clock.now();
  std::erase_if(cuts_, [&](const auto& known) { return map.cuts.count(known.first) == 0; });
  for (const auto& [id, cut] : map.cuts) {
    CutWatch& watch =
        cuts_.try_emplace(id, CutWatch{now, io::Instant{INT64_MIN / 2}}).first->second;
    if (now - watch.proposed < propose_again_after) continue;
    const bool taken = is_settled(cut);
    if (!taken && now - watch.seen < limits::cut_open_max) continue;
    if (taken)
      SP_PROBE(leader_closes_cut);
    else
      SP_PROBE(leader_gives_cut_up);
    watch.proposed = now;
    events_.propose(map::CloseCut{id, taken});
  }
}

bool Leader::is_settled(const map::Cut& cut) const {
  if (SP_PLANTED_BUG(leader_closes_cut_unsettled)) return true;
  const map::Map& map = consensus_.state().map();
  std::set<GroupId> groups;
  for (const VolumeId volume : cut.volumes) groups.insert(map.volumes.at(volume).group);
  const auto settled_at = [&](DiskId primary) {
    const map::Service* const server = map.disk_serves(primary) ? map.server_of(primary) : nullptr;
    const Service* const known = server == nullptr ? nullptr : watched(server->id);
    return known != nullptr && known->start_id == server->start_id &&
           known->report.settled_index >= cut_floor_;
  };
  for (const GroupId group : groups) {
    const uint32_t min_copies = map.groups.at(group).min_copies;
    for (auto at = map.sets.lower_bound({group, 0});
         at != map.sets.end() && at->first.group == group; ++at) {
      const map::DiskSet& row = at->second;
      if (!row.activated || !map::may_decide(row, min_copies) || !settled_at(row.acting.front()))
        return false;
    }
  }
  return true;
}

}  // namespace sp::beacon
