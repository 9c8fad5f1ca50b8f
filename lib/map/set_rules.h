// How a disk set changes: pure functions from the row and an event to the new row. State applies them when commands are applied, so every node computes the
// same; the simulator and exhaustive tests drive them alone. After PacificA (Lin et al., 2008), with recovery members as in its reconfiguration of joiners.
//
// Words: *complete* copy: holds every decided write of the set, decided or still as an undecided record. Invariants, checked after every step:
//  1. acting is a subset of base; every member of base is complete. acting is never empty and has no duplicates; acting[0] is the primary.
//  2. recovering is disjoint from acting and base's members that act.
//  3. epoch never falls, and rises whenever acting changes or a member of acting restarts; activated is false after each rise.
// Why each rule keeps completeness:
//  - A write is decided only in an epoch recorded as activated with at least min_copies acting, and only when durable on all of acting. So at that
//    activation base becomes acting: whoever is not in it may miss decided writes and has to recover.
//  - Below min_copies nothing is decided: an activation with fewer leaves base as it was, and a returning member of base may act again at once.
//  - A recovering copy is promoted by the primary when it holds everything decided and all undecided records of the primary; from the moment of asking the
//    primary counts its acknowledgements. So it is complete when the promotion is agreed, and joins acting and base together.
//  - Acting members are ordered as in target (others behind), so the primary follows placement.
#pragma once
#include <functional>

#include "map/map.h"

namespace sp::map {

using DiskUp = std::function<bool(DiskId)>;

struct SetEvent {
  DiskSet set;           // the new row
  bool changed = false;  // false: the event does not concern it, or is refused
};

// A new set: acting = base = target, then as if every disk that is not up went down.
DiskSet new_set(SetId id, std::vector<DiskId> target, const DiskUp& up);
// The disk, or its server, is gone. Acting loses it unless it is the last member (the set then waits for a member of base).
SetEvent disk_down(const DiskSet& set, DiskId disk);
// The disk is back (its server has registered it; disk_down was applied before). In base: acts again (alone if nobody in acting is up).
// Else, when in target: recovers.
SetEvent disk_up(const DiskSet& set, DiskId disk, const DiskUp& up);
// The primary reports that all acting copies agree. Refused unless epoch is current and not activated yet.
SetEvent activated(const DiskSet& set, uint32_t epoch, uint32_t min_copies);
// The primary reports that a recovering copy is complete. Members outside target are dropped once enough of target acts.
SetEvent promote(const DiskSet& set, uint32_t epoch, DiskId disk, uint32_t copies);
// A live copy is taken out of acting (complaint of the primary, or the primary itself is evicted). Refused when fewer than min_copies would act. The
// disk, being up and in target, recovers.
SetEvent evict(const DiskSet& set, uint32_t epoch, DiskId disk, uint32_t min_copies);
// Placement wants other disks.
SetEvent retarget(const DiskSet& set, std::vector<DiskId> target, const DiskUp& up, uint32_t copies);

// Empty when the row is sound; else what is wrong (for assertions and tests).
std::string check_set(const DiskSet& set);

}  // namespace sp::map
