// Placement groups and templates.
#include <algorithm>

#include "map/set_rules.h"
#include "state/apply.h"

namespace sp::state {
namespace {

using namespace sp::map;

Error no_group(const std::string& name) {
  return {Code::not_found, "placement group '" + name + "' does not exist"};
}

void rename_group(Draft& draft, const std::string& from, const std::string& to) {
  PlacementGroup row = *draft.find<PlacementGroup>(from);
  row.name = to;
  draft.erase<PlacementGroup>(from);
  draft.edit<PlacementGroup>(to) = std::move(row);
  std::vector<std::string> users;
  for (const auto& [name, user] : draft.map().templates)
    if (placement_groups_of(user).contains(from)) users.push_back(name);
  for (const std::string& name : users) {
    Template& user = draft.edit<Template>(name);
    for (std::string* field : {&user.place_all, &user.place_tail, &user.place_head})
      if (*field == from) *field = to;
  }
}

// 32 sets per disk: shares come within 2 %, and a lost disk has many partners to be recovered from.
uint32_t chosen_set_count(const Draft& draft, const Template& row) {
  std::set<DiskId> disks;
  for (const std::string& name : placement_groups_of(row)) {
    const auto& members = draft.find<PlacementGroup>(name)->disks;
    disks.insert(members.begin(), members.end());
  }
  uint32_t count = 64;
  while (count < 4096 && count < 32 * disks.size()) count *= 2;
  return count;
}

Status check_template(const Draft& draft, const PutTemplate& command) {
  const Template& row = command.row;
  const std::string who = "template '" + row.name + "'";
  SP_CHECK(check_name("template", row.name, NameStyle::plain));
  if (row.copies == 0 || row.copies > limits::copies_max)
    return Error(Code::invalid, who + ": copies must be 1 to 3");
  if (row.min_copies == 0 || row.min_copies > row.copies)
    return Error(Code::invalid, who + ": the least number of copies must be 1 to copies");
  if (row.place_all.empty())
    return Error(Code::invalid, who + ": name the placement group of its copies (placeAll)");
  for (const std::string& name : placement_groups_of(row)) {
    const PlacementGroup* group = draft.find<PlacementGroup>(name);
    if (group == nullptr) return no_group(name);
    const auto has_room = [&draft](DiskId id) { return draft.find<Disk>(id)->capacity_bytes > 0; };
    if (std::none_of(group->disks.begin(), group->disks.end(), has_room))
      return Error(Code::refused,
                   who + ": placement group '" + name + "' has no disks; add some first");
  }
  if (row.size_bytes != 0) SP_CHECK(check_size(who, row.size_bytes));
  const uint32_t count = command.set_count;
  if (count > limits::sets_per_group_max || (count & (count - 1)) != 0)
    return Error(Code::invalid,
                 who + ": the number of disk sets must be a power of two, at most 32768");
  return {};
}

Status create_template(Draft& draft, const PutTemplate& command) {
  if (draft.find<Template>(command.row.name) != nullptr)
    return Error(Code::exists, "template '" + command.row.name +
                                   "' exists already; update it, or choose another name");
  const GroupId last = draft.map().cluster.group_last;
  if (last >= limits::allocation_groups_max - 1)
    return Error(Code::no_space,
                 "too many templates have been made: allocation groups are used up");
  const GroupId id = draft.edit_cluster().group_last = static_cast<GroupId>(last + 1);
  Template& row = draft.edit<Template>(command.row.name);
  row = command.row;
  row.group = id;
  AllocationGroup& group = draft.edit<AllocationGroup>(id);
  group.id = id;
  group.template_name = row.name;
  group.set_count = command.set_count != 0 ? command.set_count : chosen_set_count(draft, row);
  group.copies = row.copies;
  group.min_copies = row.min_copies;
  place_group(draft, id);
  return {};
}

void rename_template(Draft& draft, const std::string& from, const std::string& to) {
  Template row = *draft.find<Template>(from);
  row.name = to;
  draft.erase<Template>(from);
  draft.edit<AllocationGroup>(row.group).template_name = to;
  draft.edit<Template>(to) = std::move(row);
  std::vector<VolumeId> users;
  for (const auto& [id, volume] : draft.map().volumes)
    if (volume.template_name == from) users.push_back(id);
  for (const VolumeId id : users) draft.edit<Volume>(id).template_name = to;
}

Status update_template(Draft& draft, const PutTemplate& command) {
  const std::string& before = command.name_before.empty() ? command.row.name : command.name_before;
  const Template* known = draft.find<Template>(before);
  if (known == nullptr) return no_template(before);
  if (before != command.row.name && draft.find<Template>(command.row.name) != nullptr)
    return Error(Code::exists,
                 "template '" + command.row.name + "' exists already; choose another name");
  const GroupId id = known->group;
  const AllocationGroup old_group = *draft.find<AllocationGroup>(id);
  if (command.set_count != 0 && command.set_count != old_group.set_count)
    return Error(Code::refused,
                 "template '" + before + "' has " + std::to_string(old_group.set_count) +
                     " disk sets, and that number never changes; make another template");
  if (before != command.row.name) rename_template(draft, before, command.row.name);
  Template& row = draft.edit<Template>(command.row.name);
  row = command.row;
  row.group = id;
  AllocationGroup& group = draft.edit<AllocationGroup>(id);
  group.copies = row.copies;
  group.min_copies = row.min_copies;
  place_group(draft, id);
  if (group.min_copies == old_group.min_copies) return {};
  for (uint32_t index = 0; index < group.set_count; ++index) {
    const SetId set_id{id, static_cast<uint16_t>(index)};
    const SetEvent event = min_copies_changed(*draft.find<DiskSet>(set_id), row.min_copies);
    if (event.changed) draft.edit<DiskSet>(set_id) = event.set;
  }
  return {};
}

}  // namespace

Status apply_one(Draft& draft, const UpdatePlacementGroup& command) {
  const std::string who = "placement group '" + command.name + "'";
  SP_CHECK(check_name("placement group", command.name, NameStyle::plain));
  PlacementGroup row;
  if (const PlacementGroup* known = draft.find<PlacementGroup>(command.name)) row = *known;
  row.name = command.name;
  const bool had_disks = !row.disks.empty();
  for (const DiskId id : command.remove)
    if (row.disks.erase(id) == 0)
      return Error(Code::not_found, who + " does not have disk " + std::to_string(id));
  for (const DiskId id : command.add) {
    if (draft.find<Disk>(id) == nullptr)
      return Error(Code::not_found, who + ": disk " + std::to_string(id) +
                                        " is not known; a server has to open it first");
    row.disks.insert(id);
  }
  for (const auto& [name, user] : draft.map().templates) {
    if (!placement_groups_of(user).contains(command.name) || !had_disks || command.remove.empty())
      continue;
    const size_t least = user.place_all == command.name ? user.min_copies : 1;
    if (row.disks.size() < least)
      return Error(Code::refused, who + " would have " + std::to_string(row.disks.size()) +
                                      " disks, but template '" + name + "' needs at least " +
                                      std::to_string(least) + "; add others first");
  }
  draft.edit<PlacementGroup>(command.name) = std::move(row);
  std::string name = command.name;
  if (command.rename && *command.rename != command.name) {
    SP_CHECK(check_name("placement group", *command.rename, NameStyle::plain));
    if (draft.find<PlacementGroup>(*command.rename) != nullptr)
      return Error(Code::exists,
                   "placement group '" + *command.rename + "' exists already; choose another name");
    rename_group(draft, command.name, *command.rename);
    name = *command.rename;
  }
  place_groups_of(draft, {name});
  return {};
}

Status apply_one(Draft& draft, const DeletePlacementGroup& command) {
  if (draft.find<PlacementGroup>(command.name) == nullptr) return no_group(command.name);
  for (const auto& [name, user] : draft.map().templates)
    if (placement_groups_of(user).contains(command.name))
      return Error(Code::refused, "placement group '" + command.name + "' is used by template '" +
                                      name + "'; change or delete that first");
  draft.erase<PlacementGroup>(command.name);
  return {};
}

Status apply_one(Draft& draft, const PutTemplate& command) {
  SP_CHECK(check_template(draft, command));
  return command.create ? create_template(draft, command) : update_template(draft, command);
}

Status apply_one(Draft& draft, const ChangeTemplate& command) {
  const std::string& before = command.read.name;
  const Template* known = draft.find<Template>(before);
  if (known == nullptr) return no_template(before);
  if (*known != command.read)
    return Error(Code::stale, "template '" + before + "' was changed meanwhile; read it again");
  return apply_one(draft, PutTemplate{command.row, 0, false, before});
}

Status apply_one(Draft& draft, const DeleteTemplate& command) {
  const Template* known = draft.find<Template>(command.name);
  if (known == nullptr) return no_template(command.name);
  for (const auto& [id, volume] : draft.map().volumes)
    if (volume.group == known->group)
      return Error(Code::refused, "template '" + command.name + "' is used by " +
                                      volume_text(draft, volume) + "; delete its volumes first");
  const GroupId id = known->group;
  const uint32_t set_count = draft.find<AllocationGroup>(id)->set_count;
  for (uint32_t index = 0; index < set_count; ++index)
    draft.erase<DiskSet>({id, static_cast<uint16_t>(index)});
  draft.erase<AllocationGroup>(id);
  draft.erase<Template>(command.name);
  return {};
}

}  // namespace sp::state
