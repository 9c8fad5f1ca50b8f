// How a disk set changes: pure functions from the row and an event to the new row. State applies
// them when commands are applied, so every node computes the same; tests/model/map explores them
// exhaustively together with the protocol below. After PacificA (Lin et al., 2008), with recovery
// members as its joiners.
//
// Words: *complete* copy: holds every decided write of the set, decided or still as an undecided
// record. Invariants, checked after every step:
//  1. acting is a subset of base; every member of base is complete. acting is never empty and has
//  no duplicates; acting[0] is the primary.
//  2. recovering is disjoint from acting, and all of it is up. All of acting is up, or nobody in
//  base is and acting has one member.
//  3. epoch never falls, and rises whenever acting changes or a member of acting restarts;
//  activated is false after each rise. revision rises with every change.
// What the protocol (module serve) owes to these rules, and why each keeps completeness:
//  - A write is decided only while `may_decide`, and only when durable on all of acting (and on a
//  copy being promoted). An activation with at least min_copies
//    makes base = acting: whoever is not in it may miss decided writes and has to recover. The row
//    alone says so: min_copies may change in between.
//  - A copy that answers the primary of an epoch first records that epoch durably, and from then on
//  refuses those before it.
//  - An activation with fewer than min_copies leaves base as it was: nothing is decided then, and a
//  returning member of base acts again at once. An undecided
//    record that such a member brings back is decided later: so a primary confirms a fence only
//    while it may decide.
//  - A copy drops its undecided records only when recovery starts under an *activated* primary
//  whose row has it outside base. While in base it keeps them, also
//    in `recovering`: it is complete, and can be promoted as soon as it is reached. Under each new
//    epoch, recovery starts (and drops) anew.
//  - A recovering copy is promoted by the primary when it holds everything decided and all
//  undecided records of the primary; from the moment of asking the
//    primary counts its acknowledgements and does not start the recovery anew, until it sees a row
//    of another revision. It may repeat the request, which is valid at one revision only: once the
//    copy restarted, it may have missed writes although the epoch is the same.
//  - Acting members are ordered as in target (others behind), so the primary follows placement.
//  Once all of target acts, others do not.
#pragma once
#include <functional>

#include "map/map.h"

namespace sp::map {

using DiskUp = std::function<bool(DiskId)>;

struct SetEvent {
  DiskSet set;           // the new row
  bool changed = false;  // false: the event does not concern it, or is refused
};

// A new set: acting = base = target (not empty), then as if every disk that is not up went down.
DiskSet new_set(SetId id, std::vector<DiskId> target, const DiskUp& up);
// The disk, or its server, is gone (`up` does not count it any more). Acting loses it; when it was
// the last member, the members of base that are up act (copies that were evicted just now), or if
// there are none the set waits with it as its only member.
SetEvent disk_down(const DiskSet& set, DiskId disk, const DiskUp& up);
// The disk is back (its server has registered it; disk_down was applied before). In base: acts
// again (alone if nobody in acting is up). Else, when in target: recovers.
SetEvent disk_up(const DiskSet& set, DiskId disk, const DiskUp& up);
// The primary reports that all acting copies agree. Refused unless epoch is current and not
// activated yet, and all of acting is up: a primary that was declared down by mistake registers
// first. Otherwise it could become the only member of base, or gain others, while nobody watches
// whether it lives.
SetEvent activated(const DiskSet& set, uint32_t epoch, uint32_t min_copies, const DiskUp& up);
// The primary reports that a recovering copy is complete. Refused unless the row is unchanged
// since, and activated. Members outside target are dropped, the last first, while more than
// `copies` act.
SetEvent promote(const DiskSet& set, uint64_t revision, DiskId disk, uint32_t copies);
// A live copy is taken out of acting (complaint of the primary, or the primary itself is evicted).
// Refused when fewer than min_copies would act. The disk, being up and in target, recovers.
SetEvent evict(const DiskSet& set, uint32_t epoch, DiskId disk, uint32_t min_copies);
// The primary has found that a copy of base, alive, lacks what it acknowledged: the acting ones
// hold it. It is complete no more; being up and in target it recovers. Refused when nobody else
// acts.
SetEvent lost_copy(const DiskSet& set, uint32_t epoch, DiskId disk, const DiskUp& up);
// Placement wants other disks (target not empty).
SetEvent retarget(const DiskSet& set, std::vector<DiskId> target, const DiskUp& up,
                  uint32_t copies);
// The template's min_copies became this: an epoch that was activated below the old one is activated
// anew when it would be enough now.
SetEvent min_copies_changed(const DiskSet& set, uint32_t min_copies);
// The disk will never come back. Refused when no other complete copy is known.
SetEvent forget(const DiskSet& set, DiskId disk, const DiskUp& up);
// Under the disk's id there is another disk now, which holds nothing (disk_down was applied
// before). It stays in target and is complete no more: once up, it recovers. Refused when no other
// complete copy is known.
SetEvent replaced(const DiskSet& set, DiskId disk, const DiskUp& up);

// The primary of this row may decide writes: the epoch is activated, all of base acts, and enough
// act. When it may not, writes wait and reads go on.
bool may_decide(const DiskSet& set, uint32_t min_copies);

// Empty when the row is sound; else what is wrong (for assertions and tests).
std::string check_set(const DiskSet& set);

}  // namespace sp::map
