// Snapshots, clones, rollback.
#include <set>

#include "state/apply.h"
#include "state/layers.h"

namespace sp::state {
namespace {

using namespace sp::map;

Result<const Volume*> snapshot_row(const Draft& draft, VolumeId id) {
  const Volume* const row = draft.find<Volume>(id);
  if (row == nullptr) return no_volume(id);
  const std::string who = volume_text(draft, *row);
  if (!is_snapshot(draft.map(), id))
    return Error(Code::refused, who + " is no snapshot; take one of it first");
  SP_CHECK(check_not_in_cut(draft, who, id));
  return row;
}

Status check_depth(const Draft& draft, const std::string& who, VolumeId layer) {
  if (draft.map().layers.size() >= limits::layers_max)
    return Error(Code::no_space,
                 "the cluster keeps " + std::to_string(limits::layers_max) +
                     " layers of snapshots, which is the most; delete volumes that stand on many, "
                     "or copy them to new ones");
  uint32_t depth = 0;
  for (VolumeId at = layer; at != 0; at = parent_of(draft.map(), at)) ++depth;
  if (depth < limits::layers_per_chain_max) return {};
  return Error(Code::no_space,
               who + " stands on " + std::to_string(depth) +
                   " layers, which is the most; copy it to a new volume to begin anew");
}

Status open_for(Draft& draft, const OpenCut::Item& item, int64_t created_ms, VolumeId& cut,
                std::set<std::string>& names, std::set<VolumeId>& volumes) {
  const Volume* const found = draft.find<Volume>(item.volume);
  if (found == nullptr) return no_volume(item.volume);
  const Volume source = *found;
  const std::string of = volume_text(draft, source), who = "snapshot '" + item.name + "'";
  if (is_snapshot(draft.map(), source.id))
    return Error(Code::refused, of + " does not change; there is no need for another one of it");
  if (!volumes.insert(source.id).second)
    return Error(Code::invalid, of + " is named twice; name it once");
  SP_CHECK(check_not_in_cut(draft, of, source.id));
  SP_CHECK(check_new_name(draft, who, item.name, NameStyle::snapshot));
  if (!names.insert(item.name).second)
    return Error(Code::invalid, who + " is named twice; choose another name");
  SP_CHECK(check_tags(item.tags));
  SP_CHECK(check_depth(draft, of, layer_of(draft.map(), source.id)));
  SP_TRY(const VolumeId id, new_volume_id(draft, who));
  if (cut == 0) cut = id;
  Volume& row = draft.edit<Volume>(id);
  row = source;
  row.id = id;
  row.name = item.name;
  row.created_ms = created_ms;
  row.tags.clear();
  for (const auto& [key, value] : item.tags)
    if (!value.empty()) row.tags.emplace(key, value);
  Lineage& of_source = lineage_of(draft, source.id);
  of_source.cut = cut;
  take_hold_of_layer(draft, of_source.layer);
  Lineage& lineage = draft.edit<Lineage>(id);
  lineage.volume = id;
  lineage.layer = draft.find<Lineage>(source.id)->layer;
  lineage.frozen = true;
  lineage.source = source.id;
  lineage.cut = cut;
  lineage.delete_at_s = item.delete_at_s;
  Cut& opened = draft.edit<Cut>(cut);
  opened.id = cut;
  opened.opened_ms = created_ms;
  opened.volumes.push_back(source.id);
  opened.snapshots.push_back(id);
  return {};
}

}  // namespace

Status apply_one(Draft& draft, const OpenCut& command) {
  if (command.items.empty())
    return Error(Code::invalid, "a snapshot of no volume; name at least one");
  VolumeId cut = 0;
  std::set<std::string> names;
  std::set<VolumeId> volumes;
  for (const OpenCut::Item& item : command.items)
    SP_CHECK(open_for(draft, item, command.created_ms, cut, names, volumes));
  return {};
}

Status apply_one(Draft& draft, const CloseCut& command) {
  const Cut* const found = draft.find<Cut>(command.cut);
  if (found == nullptr)
    return Error(Code::not_found, "no cut " + std::to_string(command.cut) + " is open");
  const Cut cut = *found;
  for (size_t i = 0; i < cut.volumes.size(); ++i) {
    const VolumeId volume = cut.volumes[i], snapshot = cut.snapshots[i];
    draft.edit<Lineage>(volume).cut = 0;
    if (command.taken) {
      draft.edit<Lineage>(snapshot).cut = 0;
      const VolumeId layer = draft.edit_cluster().volume_last += 1;
      put_layer_above(draft, volume, draft.find<Lineage>(volume)->layer, layer);
    } else {
      draft.erase<Volume>(snapshot);
      let_go_of_layer(draft, snapshot);
    }
  }
  draft.erase<Cut>(command.cut);
  return {};
}

Status apply_one(Draft& draft, const CloneVolume& command) {
  const std::string who = "volume '" + command.name + "'";
  SP_TRY(const Volume* found, snapshot_row(draft, command.snapshot));
  const Volume source = *found;
  SP_CHECK(check_new_name(draft, who, command.name));
  const uint64_t size_bytes = command.size_bytes != 0 ? command.size_bytes : source.size_bytes;
  SP_CHECK(check_size(who, size_bytes));
  if (size_bytes < source.size_bytes)
    return Error(Code::refused, who + " would be smaller than " + volume_text(draft, source) +
                                    ", which it is made of; give at least " +
                                    std::to_string(source.size_bytes) + " bytes");
  SP_CHECK(check_tags(command.tags));
  const VolumeId parent = layer_of(draft.map(), source.id);
  SP_CHECK(check_depth(draft, who, parent));
  SP_TRY(const VolumeId id, new_volume_id(draft, who));
  Volume& row = draft.edit<Volume>(id);
  row = source;
  row.id = id;
  row.name = command.name;
  row.size_bytes = size_bytes;
  row.created_ms = command.created_ms;
  if (command.limits.iops != 0) row.limits.iops = command.limits.iops;
  if (command.limits.bytes_per_second != 0)
    row.limits.bytes_per_second = command.limits.bytes_per_second;
  row.tags.clear();
  for (const auto& [key, value] : command.tags)
    if (!value.empty()) row.tags.emplace(key, value);
  ++draft.edit<Layer>(parent).children;
  Lineage& lineage = lineage_of(draft, id);
  lineage.source = source.id;
  draft.edit<Layer>(id).parent = parent;
  return {};
}

Status apply_one(Draft& draft, const RevertVolume& command) {
  const Volume* const volume = draft.find<Volume>(command.volume);
  if (volume == nullptr) return no_volume(command.volume);
  const std::string who = volume_text(draft, *volume);
  SP_TRY(const Volume* snapshot, snapshot_row(draft, command.snapshot));
  if (is_snapshot(draft.map(), command.volume))
    return Error(Code::refused, who + " does not change; make a volume of it instead");
  if (volume->root != snapshot->root || volume->group != snapshot->group)
    return Error(Code::refused, who + " and " + volume_text(draft, *snapshot) +
                                    " have nothing in common; make a volume of that instead");
  SP_CHECK(check_not_in_cut(draft, who, command.volume));
  SP_CHECK(check_detached(draft, who, command.volume));
  const VolumeId parent = layer_of(draft.map(), command.snapshot);
  SP_CHECK(check_depth(draft, who, parent));
  const uint64_t size_bytes = snapshot->size_bytes;
  SP_TRY(const VolumeId layer, new_volume_id(draft, who));
  put_layer_above(draft, command.volume, parent, layer);
  draft.edit<Volume>(command.volume).size_bytes = size_bytes;
  return {};
}

Status apply_one(Draft& draft, const UpdateSnapshot& command) {
  const Volume* const row = draft.find<Volume>(command.snapshot);
  if (row == nullptr) return no_volume(command.snapshot);
  if (!is_snapshot(draft.map(), command.snapshot))
    return Error(Code::refused, volume_text(draft, *row) + " is no snapshot");
  draft.edit<Lineage>(command.snapshot).delete_at_s = command.delete_at_s;
  return {};
}

}  // namespace sp::state
