// Disk sets: what their disks' coming and going does to them, what their primaries report, and
// where placement wants them.
#include <algorithm>

#include "base/planted.h"
#include "base/probe.h"
#include "map/placement.h"
#include "map/set_rules.h"
#include "state/apply.h"

namespace sp::state {
namespace {

using namespace sp::map;

DiskUp up_in(const Draft& draft) {
  return [&draft](DiskId disk) {
    const Disk* row = draft.find<Disk>(disk);
    return row != nullptr && row->up;
  };
}

bool mentions(const DiskSet& set, DiskId disk) {
  const auto has = [disk](const std::vector<DiskId>& list) {
    return std::find(list.begin(), list.end(), disk) != list.end();
  };
  return has(set.base) || has(set.target) || has(set.recovering);
}

template <class Event>
void tell_sets(Draft& draft, const std::set<DiskId>& disks, Event event) {
  if (disks.empty()) return;
  std::vector<DiskSet> changed;
  for (const auto& [id, set] : draft.map().sets) {
    SetEvent last{set, false};
    bool any = false;
    for (const DiskId disk : disks) {
      if (!mentions(last.set, disk)) continue;
      last = event(last.set, disk);
      any = any || last.changed;
    }
    if (any) changed.push_back(std::move(last.set));
  }
  for (DiskSet& set : changed) {
    const SetId id = set.id;
    draft.edit<DiskSet>(id) = std::move(set);
  }
}

Result<const DiskSet*> find_set(const Draft& draft, SetId id) {
  const DiskSet* set = draft.find<DiskSet>(id);
  if (set == nullptr)
    return Error(Code::not_found, text(id) + " does not exist; its template may have been deleted");
  return set;
}

Error stale(const DiskSet& set) {
  return {Code::stale, text(set.id) + " is in epoch " + std::to_string(set.epoch) + ", revision " +
                           std::to_string(set.revision) + "; read its row again"};
}

std::vector<PlacementDisk> candidates(const Draft& draft, const std::string& placement_group) {
  std::vector<PlacementDisk> out;
  const PlacementGroup* group = draft.find<PlacementGroup>(placement_group);
  if (group == nullptr) return out;
  for (const DiskId id : group->disks) {
    const Disk* disk = draft.find<Disk>(id);
    if (disk == nullptr) continue;
    const Node* node = draft.find<Node>(disk->server.node);
    // A node of its own: the space keeps it apart from every name that people can give.
    const std::string own = " " + std::to_string(disk->server.node);
    out.push_back({id, disk->capacity_bytes, disk->server.node,
                   node == nullptr || node->fault_set.empty() ? own : node->fault_set});
  }
  return out;
}

}  // namespace

void disks_went_down(Draft& draft, const std::set<DiskId>& disks) {
  const DiskUp up = up_in(draft);
  tell_sets(draft, disks,
            [&up](const DiskSet& set, DiskId disk) { return disk_down(set, disk, up); });
}

void disks_came_up(Draft& draft, const std::set<DiskId>& disks) {
  const DiskUp up = up_in(draft);
  tell_sets(draft, disks,
            [&up](const DiskSet& set, DiskId disk) { return disk_up(set, disk, up); });
}

std::string replace_disk(Draft& draft, DiskId disk) {
  const DiskUp up = up_in(draft);
  std::vector<DiskSet> changed;
  std::optional<SetId> lost;
  uint32_t lost_count = 0;
  for (const auto& [id, set] : draft.map().sets) {
    if (!mentions(set, disk)) continue;
    SetEvent event = replaced(set, disk, up);
    if (std::find(event.set.base.begin(), event.set.base.end(), disk) != event.set.base.end()) {
      if (lost_count++ == 0) lost = id;
    } else if (event.changed) {
      changed.push_back(std::move(event.set));
    }
  }
  if (lost) {
    SP_PROBE(state_replaced_disk_is_lost);
    const std::string others = " and " + std::to_string(lost_count - 1) + " more";
    return text(*lost) + (lost_count > 1 ? others : "");
  }
  SP_PROBE(state_disk_replaced);
  for (DiskSet& set : changed) {
    const SetId id = set.id;
    draft.edit<DiskSet>(id) = std::move(set);
  }
  return {};
}

std::set<std::string> placement_groups_of(const Template& row) {
  std::set<std::string> names;
  for (const std::string* name : {&row.place_all, &row.place_tail, &row.place_head})
    if (!name->empty()) names.insert(*name);
  return names;
}

void place_group(Draft& draft, GroupId id) {
  const AllocationGroup group = *draft.find<AllocationGroup>(id);
  const Template& row = *draft.find<Template>(group.template_name);
  PlacementRequest request;
  request.set_count = group.set_count;
  request.copies = group.copies;
  request.group = id;
  request.all = candidates(draft, row.place_all);
  request.tail = candidates(draft, row.place_tail.empty() ? row.place_all : row.place_tail);
  request.head = candidates(draft, row.place_head.empty() ? row.place_all : row.place_head);
  for (uint32_t index = 0; index < group.set_count; ++index) {
    const DiskSet* set = draft.find<DiskSet>({id, static_cast<uint16_t>(index)});
    if (set != nullptr) request.current.push_back(set->target);
  }
  const PlacementResult result = place(request);
  const DiskUp up = up_in(draft);
  for (uint32_t index = 0; index < group.set_count; ++index) {
    const SetId set_id{id, static_cast<uint16_t>(index)};
    const DiskSet* set = draft.find<DiskSet>(set_id);
    const auto& target = result.sets[index];
    if (target.empty() || (set != nullptr && set->target == target)) continue;
    DiskSet next =
        set == nullptr ? new_set(set_id, target, up) : retarget(*set, target, up, group.copies).set;
    draft.edit<DiskSet>(set_id) = std::move(next);
  }
  if (result.warning != group.warning) draft.edit<AllocationGroup>(id).warning = result.warning;
}

void place_groups_of(Draft& draft, const std::set<std::string>& placement_groups) {
  std::set<GroupId> groups;
  for (const auto& [name, row] : draft.map().templates)
    for (const std::string& used : placement_groups_of(row))
      if (placement_groups.contains(used)) groups.insert(row.group);
  for (const GroupId id : groups) place_group(draft, id);
}

void place_all_groups(Draft& draft) {
  std::vector<GroupId> groups;
  for (const auto& [id, group] : draft.map().groups) groups.push_back(id);
  for (const GroupId id : groups) place_group(draft, id);
}

Status apply_one(Draft& draft, const SetActivated& command) {
  SP_TRY(const DiskSet* set, find_set(draft, command.set));
  const bool any_epoch = SP_PLANTED_BUG(state_activates_stale_epoch);
  if (command.epoch != set->epoch && !any_epoch) return stale(*set);
  if (set->activated) return {};  // told twice
  const SetEvent event =
      activated(*set, any_epoch ? set->epoch : command.epoch,
                draft.find<AllocationGroup>(command.set.group)->min_copies, up_in(draft));
  if (!event.changed)
    return Error(Code::transient,
                 text(command.set) +
                     ": its only acting disk is registered as down; its server registers first");
  draft.edit<DiskSet>(command.set) = event.set;
  return {};
}

Status apply_one(Draft& draft, const SetPromote& command) {
  SP_TRY(const DiskSet* set, find_set(draft, command.set));
  const bool any_revision = SP_PLANTED_BUG(state_promotes_at_any_revision);
  if (command.revision != set->revision && !any_revision) return stale(*set);
  const SetEvent event =
      promote(*set, any_revision ? set->revision : command.revision, command.disk,
              draft.find<AllocationGroup>(command.set.group)->copies);
  if (!event.changed)
    return Error(Code::refused, "disk " + std::to_string(command.disk) +
                                    " is not recovering in an activated epoch of " +
                                    text(command.set));
  draft.edit<DiskSet>(command.set) = event.set;
  return {};
}

Status apply_one(Draft& draft, const SetEvict& command) {
  SP_TRY(const DiskSet* set, find_set(draft, command.set));
  if (command.epoch != set->epoch) return stale(*set);
  if (command.lost) {
    const SetEvent event = lost_copy(*set, command.epoch, command.disk, up_in(draft));
    if (!event.changed)
      return Error(Code::refused, text(command.set) + ": disk " + std::to_string(command.disk) +
                                      " does not count as complete, or nobody else acts");
    draft.edit<DiskSet>(command.set) = event.set;
    return {};
  }
  const uint32_t min_copies = draft.find<AllocationGroup>(command.set.group)->min_copies;
  const SetEvent event = evict(*set, command.epoch, command.disk,
                               SP_PLANTED_BUG(state_evicts_below_min_copies) ? 1 : min_copies);
  if (!event.changed)
    return Error(Code::refused, text(command.set) + ": disk " + std::to_string(command.disk) +
                                    " does not act, or too few would without it (" +
                                    std::to_string(min_copies) + " are the least)");
  draft.edit<DiskSet>(command.set) = event.set;
  return {};
}

}  // namespace sp::state
