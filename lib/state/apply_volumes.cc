// Volumes. What a snapshot and a volume have in common is here too; the rest: apply_snapshots.cc.
#include "state/apply.h"
#include "state/layers.h"

namespace sp::state {

using namespace sp::map;

Error no_template(const std::string& name) {
  return {Code::not_found, "template '" + name + "' does not exist"};
}

Error no_volume(VolumeId id) {
  return {Code::not_found, "volume ~" + std::to_string(id) + " does not exist"};
}

std::string volume_text(const Draft& draft, const Volume& volume) {
  return (is_snapshot(draft.map(), volume.id) ? "snapshot '" : "volume '") + volume.name + "'";
}

Status check_new_name(const Draft& draft, const std::string& who, const std::string& name,
                      NameStyle style) {
  SP_CHECK(check_name(style == NameStyle::snapshot ? "snapshot" : "volume", name, style));
  if (draft.volume_named(name) != 0)
    return Error(Code::exists, who + " exists already; choose another name");
  return {};
}

Status check_detached(Draft& draft, const std::string& who, VolumeId volume) {
  drop_abandoned(draft, volume);
  const auto& attachments = draft.map().attachments;
  const auto first = attachments.lower_bound({volume, 0});
  if (first == attachments.end() || first->first.first != volume) return {};
  return Error(Code::refused, who + " is attached at client " +
                                  std::to_string(first->first.second) + "; detach it first");
}

Result<VolumeId> new_volume_id(Draft& draft, const std::string& who) {
  const VolumeId last = draft.map().cluster.volume_last;
  if (draft.map().volumes.size() >= limits::volumes_max || last + 1 >= hole_bit)
    return Error(Code::no_space, who + ": there are too many volumes; delete some");
  return draft.edit_cluster().volume_last = last + 1;
}

Status apply_one(Draft& draft, const CreateVolume& command) {
  const std::string who = "volume '" + command.name + "'";
  SP_CHECK(check_new_name(draft, who, command.name));
  const Template* used = draft.find<Template>(command.template_name);
  if (used == nullptr) return no_template(command.template_name);
  const uint64_t size_bytes = command.size_bytes != 0 ? command.size_bytes : used->size_bytes;
  if (size_bytes == 0) return Error(Code::invalid, who + ": give a size; its template has none");
  SP_CHECK(check_size(who, size_bytes));
  SP_CHECK(check_tags(command.tags));
  SP_TRY(const VolumeId id, new_volume_id(draft, who));
  Volume& row = draft.edit<Volume>(id);
  row.id = row.root = id;
  row.name = command.name;
  row.size_bytes = size_bytes;
  row.template_name = used->name;
  row.group = used->group;
  row.created_ms = command.created_ms;
  row.limits.iops = command.limits.iops != 0 ? command.limits.iops : used->limits.iops;
  row.limits.bytes_per_second = command.limits.bytes_per_second != 0
                                    ? command.limits.bytes_per_second
                                    : used->limits.bytes_per_second;
  for (const auto& [key, value] : command.tags)
    if (!value.empty()) row.tags.emplace(key, value);
  return {};
}

Status apply_one(Draft& draft, const UpdateVolume& command) {
  if (draft.find<Volume>(command.volume) == nullptr) return no_volume(command.volume);
  if (is_snapshot(draft.map(), command.volume) && (command.size_bytes || command.limits))
    return Error(Code::refused, volume_text(draft, *draft.find<Volume>(command.volume)) +
                                    " is a snapshot, whose size and limits do not change");
  Volume& row = draft.edit<Volume>(command.volume);
  const std::string who = volume_text(draft, row);
  if (command.rename && *command.rename != row.name) {
    const bool snapshot = is_snapshot(draft.map(), row.id);
    SP_CHECK(check_name(snapshot ? "snapshot" : "volume", *command.rename,
                        snapshot ? NameStyle::snapshot : NameStyle::dotted));
    if (draft.volume_named(*command.rename) != 0)
      return Error(Code::exists,
                   who + " cannot become '" + *command.rename + "': that exists already");
    row.name = *command.rename;
  }
  if (command.size_bytes) {
    SP_CHECK(check_size(who, *command.size_bytes));
    if (*command.size_bytes < row.size_bytes && !command.shrink_ok)
      return Error(
          Code::refused,
          who + " would shrink and lose what is behind its new end; say shrinkOk if that is meant");
    row.size_bytes = *command.size_bytes;
  }
  if (command.limits) row.limits = *command.limits;
  SP_CHECK(check_tags(command.tags));
  for (const auto& [key, value] : command.tags) {
    if (value.empty())
      row.tags.erase(key);
    else
      row.tags[key] = value;
  }
  return {};
}

Status apply_one(Draft& draft, const DeleteVolume& command) {
  const Volume* known = draft.find<Volume>(command.volume);
  if (known == nullptr) return no_volume(command.volume);
  const std::string who = volume_text(draft, *known);
  SP_CHECK(check_not_in_cut(draft, who, command.volume));
  SP_CHECK(check_detached(draft, who, command.volume));
  draft.erase<Volume>(command.volume);
  let_go_of_layer(draft, command.volume);
  return {};
}

}  // namespace sp::state
