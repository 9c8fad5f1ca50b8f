#include "map/set_rules.h"

#include <algorithm>

#include "base/assert.h"
#include "base/planted.h"

namespace sp::map {
namespace {

using Disks = std::vector<DiskId>;

bool contains(const Disks& disks, DiskId disk) {
  return std::find(disks.begin(), disks.end(), disk) != disks.end();
}

void erase(Disks& disks, DiskId disk) {
  disks.erase(std::remove(disks.begin(), disks.end(), disk), disks.end());
}

// Stable: members of target in its order, then the others in the order that they have.
void order_by_target(Disks& disks, const Disks& target) {
  const auto rank = [&target](DiskId disk) {
    return std::find(target.begin(), target.end(), disk) - target.begin();
  };
  std::stable_sort(disks.begin(), disks.end(),
                   [&rank](DiskId a, DiskId b) { return rank(a) < rank(b); });
}

// Those of `disks` that are up, but for one.
Disks up_of(const Disks& disks, DiskId except, const DiskUp& up) {
  Disks found;
  for (const DiskId disk : disks)
    if (disk != except && up(disk)) found.push_back(disk);
  return found;
}

void start_epoch(DiskSet& set) {
  SP_ASSERT_OP(set.epoch, <, Version::epoch_max);
  ++set.epoch;
  set.activated = false;
}

// Acting members outside target are not needed once all of target acts, or while there are more
// than `copies`.
void drop_outside_target(DiskSet& set, uint32_t copies) {
  const auto acts = [&set](DiskId disk) { return contains(set.acting, disk); };
  const bool all_act = std::all_of(set.target.begin(), set.target.end(), acts);
  while (set.acting.size() > 1 && !contains(set.target, set.acting.back()) &&
         (all_act || set.acting.size() > copies))
    set.acting.pop_back();
}

// Every event ends here: puts acting in order without those that are not needed any more, raises
// epoch and revision as invariant 3 asks, and checks the row.
SetEvent finish(const DiskSet& before, DiskSet set, bool restarted = false) {
  order_by_target(set.acting, set.target);
  drop_outside_target(set, limits::disks_max);
  if (restarted || set.acting != before.acting) start_epoch(set);
  const bool changed = set.epoch != before.epoch || set.activated != before.activated ||
                       set.recovering != before.recovering || set.base != before.base ||
                       set.target != before.target;
  if (changed) set.revision = before.revision + 1;
  SP_ASSERT_OP(check_set(set), ==, std::string());
  return {std::move(set), changed};
}

// What the disk held is gone. False when it was the only complete copy.
bool lose_copy(DiskSet& set, DiskId disk, const DiskUp& up) {
  erase(set.base, disk);
  if (set.base.empty()) return false;
  erase(set.recovering, disk);
  erase(set.acting, disk);
  if (set.acting.empty()) {
    set.acting = up_of(set.base, disk, up);
    for (const DiskId acts : set.acting) erase(set.recovering, acts);
  }
  if (set.acting.empty()) set.acting.push_back(set.base.front());
  return true;
}

SetEvent unchanged(const DiskSet& set) { return {set, false}; }

}  // namespace

DiskSet new_set(SetId id, std::vector<DiskId> target, const DiskUp& up) {
  SP_ASSERT(!target.empty());
  DiskSet set;
  set.id = id;
  set.base = target;
  set.acting = up_of(target, 0, up);
  if (set.acting.empty()) set.acting.push_back(target.front());
  set.target = std::move(target);
  SP_ASSERT_OP(check_set(set), ==, std::string());
  return set;
}

SetEvent disk_down(const DiskSet& set, DiskId disk, const DiskUp& up) {
  DiskSet next = set;
  erase(next.recovering, disk);
  if (!contains(set.acting, disk)) return finish(set, std::move(next));
  erase(next.acting, disk);
  if (next.acting.empty()) {
    next.acting = up_of(set.base, disk, up);
    for (const DiskId acts : next.acting) erase(next.recovering, acts);
  }
  if (next.acting.empty()) next.acting.push_back(disk);
  return finish(set, std::move(next), true);
}

SetEvent disk_up(const DiskSet& set, DiskId disk, const DiskUp& up) {
  DiskSet next = set;
  if (!contains(set.base, disk)) {
    const bool recovers = contains(set.target, disk) && !contains(set.recovering, disk);
    if (recovers) next.recovering.push_back(disk);
    return finish(set, std::move(next));
  }
  next.acting = up_of(set.acting, disk, up);
  next.acting.push_back(disk);
  erase(next.recovering, disk);
  return finish(set, std::move(next), true);
}

SetEvent activated(const DiskSet& set, uint32_t epoch, uint32_t min_copies, const DiskUp& up) {
  if (epoch != set.epoch || set.activated) return unchanged(set);
  if (up_of(set.acting, 0, up).size() != set.acting.size()) return unchanged(set);
  DiskSet next = set;
  next.activated = true;
  if (next.acting.size() >= min_copies && !SP_PLANTED_BUG(map_forgets_outdated))
    next.base = next.acting;
  return finish(set, std::move(next));
}

SetEvent promote(const DiskSet& set, uint64_t revision, DiskId disk, uint32_t copies) {
  if (revision != set.revision || !set.activated || !contains(set.recovering, disk))
    return unchanged(set);
  DiskSet next = set;
  erase(next.recovering, disk);
  next.acting.push_back(disk);
  if (!contains(next.base, disk)) next.base.push_back(disk);
  order_by_target(next.acting, next.target);
  drop_outside_target(next, copies);
  return finish(set, std::move(next));
}

SetEvent evict(const DiskSet& set, uint32_t epoch, DiskId disk, uint32_t min_copies) {
  const bool refused = epoch != set.epoch || !contains(set.acting, disk) ||
                       set.acting.size() <= std::max(min_copies, 1u);
  if (refused) return unchanged(set);
  DiskSet next = set;
  erase(next.acting, disk);
  if (contains(next.target, disk)) next.recovering.push_back(disk);
  return finish(set, std::move(next));
}

SetEvent lost_copy(const DiskSet& set, uint32_t epoch, DiskId disk, const DiskUp& up) {
  DiskSet next = set;
  erase(next.acting, disk);
  if (epoch != set.epoch || !contains(set.base, disk) || next.acting.empty()) return unchanged(set);
  erase(next.base, disk);
  const bool recovers = contains(next.target, disk) && !contains(next.recovering, disk) && up(disk);
  if (recovers) next.recovering.push_back(disk);
  return finish(set, std::move(next));
}

SetEvent retarget(const DiskSet& set, std::vector<DiskId> target, const DiskUp& up,
                  uint32_t copies) {
  SP_ASSERT(!target.empty());
  DiskSet next = set;
  next.target = std::move(target);
  for (const DiskId disk : set.recovering)
    if (!contains(next.target, disk)) erase(next.recovering, disk);
  for (const DiskId disk : next.target)
    if (up(disk) && !contains(next.acting, disk) && !contains(next.recovering, disk))
      next.recovering.push_back(disk);
  order_by_target(next.acting, next.target);
  drop_outside_target(next, copies);
  return finish(set, std::move(next));
}

SetEvent min_copies_changed(const DiskSet& set, uint32_t min_copies) {
  const bool enough_now =
      set.activated && set.base.size() > set.acting.size() && set.acting.size() >= min_copies;
  return enough_now ? finish(set, set, true) : unchanged(set);
}

SetEvent forget(const DiskSet& set, DiskId disk, const DiskUp& up) {
  DiskSet next = set;
  if (!lose_copy(next, disk, up)) return unchanged(set);
  if (next.target.size() > 1) erase(next.target, disk);
  return finish(set, std::move(next));
}

SetEvent replaced(const DiskSet& set, DiskId disk, const DiskUp& up) {
  DiskSet next = set;
  if (!lose_copy(next, disk, up)) return unchanged(set);
  return finish(set, std::move(next));
}

bool may_decide(const DiskSet& set, uint32_t min_copies) {
  return set.activated && set.acting.size() == set.base.size() && set.acting.size() >= min_copies;
}

std::string check_set(const DiskSet& set) {
  const auto has_duplicates = [](Disks disks) {
    std::sort(disks.begin(), disks.end());
    return std::adjacent_find(disks.begin(), disks.end()) != disks.end();
  };
  const auto in_base = [&set](DiskId disk) { return contains(set.base, disk); };
  const auto acts = [&set](DiskId disk) { return contains(set.acting, disk); };
  if (set.acting.empty()) return "nobody acts";
  if (set.target.empty()) return "no target";
  if (set.epoch == 0 || set.epoch > Version::epoch_max) return "epoch out of range";
  for (const Disks* disks : {&set.acting, &set.recovering, &set.base, &set.target})
    if (has_duplicates(*disks)) return "a disk twice in one list";
  if (!std::all_of(set.acting.begin(), set.acting.end(), in_base))
    return "an acting copy is not in base";
  if (std::any_of(set.recovering.begin(), set.recovering.end(), acts))
    return "a copy acts and recovers";
  Disks ordered = set.acting;
  order_by_target(ordered, set.target);
  if (ordered != set.acting) return "acting is not in the order of target";
  return {};
}

}  // namespace sp::map
