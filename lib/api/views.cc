#include "api/views.h"

#include <algorithm>

#include "api/fields.h"
#include "api/snapshot_names.h"
#include "base/limits.h"

namespace sp::api {

uint32_t server_number(ServiceId id) { return id.node + 1000u * (id.instance - 1u); }

uint64_t objects_of(const map::Volume& volume) {
  return (volume.size_bytes + limits::object_bytes - 1) / limits::object_bytes;
}

void put_limits(Json& json, const map::Limits& limits) {
  for (const auto& [name, value] :
       {std::pair<const char*, uint64_t>{"bw", limits.bytes_per_second}, {"iops", limits.iops}}) {
    if (value == 0)
      json.put(name, "-");
    else
      json.put_number(name, value);
  }
  json.put("limitType", "total");
}

std::string_view policy_group(const std::string& name, const map::Template& row) {
  return name.empty() ? row.place_all : name;
}

SetState state_of(const map::Map& map, const map::DiskSet& set, uint32_t copies) {
  SetState state;
  state.set = &set;
  const bool primary_up = !set.acting.empty() && map.disk_serves(set.acting.front());
  state.serves = set.activated && primary_up;
  state.soon = !state.serves && primary_up;
  state.degraded = set.acting.size() < copies;
  state.recovering = !set.recovering.empty();
  state.migrating = std::any_of(set.acting.begin(), set.acting.end(), [&](DiskId disk) {
    return std::find(set.target.begin(), set.target.end(), disk) == set.target.end();
  });
  return state;
}

SetStates::SetStates(const map::Map& map) : map_(map) {
  for (const auto& [id, set] : map.sets) {
    const auto group = map.groups.find(id.group);
    if (group == map.groups.end() || id.index >= group->second.set_count) continue;
    auto& states = groups_[id.group];
    states.resize(group->second.set_count);
    states[id.index] = state_of(map, set, group->second.copies);
  }
}

const std::vector<SetState>& SetStates::group(GroupId group) const {
  static const std::vector<SetState> none;
  const auto at = groups_.find(group);
  return at == groups_.end() ? none : at->second;
}

SetStates::Summary SetStates::of(const map::Volume& volume) const {
  Summary summary;
  summary.objects = objects_of(volume);
  const auto& states = group(volume.group);
  if (states.empty()) {
    summary.down = summary.objects;
    return summary;
  }
  for_each_set(map_, volume, [&](uint16_t index, uint64_t objects) {
    const SetState& state = states[index];
    if (!state.serves && !state.soon) summary.down += objects;
    if (state.soon) summary.soon += objects;
    if (state.degraded) summary.degraded += objects;
    if (state.migrating) summary.migrating += objects;
    if (state.recovering) summary.recovering += objects;
    if (state.set == nullptr || (state.serves && !state.degraded)) return;
    for (const auto* disks : {&state.set->acting, &state.set->base, &state.set->target}) {
      for (const DiskId disk : *disks) {
        if (map_.disk_serves(disk)) continue;
        summary.down_disks.insert(disk);
        if (disks == &state.set->target)
          summary.missing_target_disks.insert(disk);
        else if (!state.serves)
          summary.missing_disks.insert(disk);
      }
    }
  });
  return summary;
}

Parents::Parents(const map::Map& map) : map_(map) {
  for (const auto& [id, lineage] : map.lineages) {
    const auto volume = map.volumes.find(id);
    if (lineage.frozen && lineage.cut == 0 && volume != map.volumes.end())
      snapshots_[lineage.layer] = &volume->second;
  }
}

std::string Parents::of(VolumeId volume) const {
  VolumeId layer = map::layer_of(map_, volume);
  while ((layer = map::parent_of(map_, layer)) != 0) {
    const auto snapshot = snapshots_.find(layer);
    if (snapshot != snapshots_.end()) return shown_name(map_, *snapshot->second);
  }
  return "";
}

bool is_shown(const map::Map& map, VolumeId volume) {
  return !map::is_snapshot(map, volume) || !map::in_open_cut(map, volume);
}

namespace {

// What SnapshotSummary has more than VolumeSummary.
void put_snapshot(Json& json, const map::Map& map, const map::Volume& snapshot) {
  const map::Lineage& lineage = map.lineages.at(snapshot.id);
  const auto source = map.volumes.find(lineage.source);
  json.put_boolean("autoName", is_made_name(snapshot.name));
  json.put("onVolume", source == map.volumes.end() ? "~" + global_id(map.cluster.id, lineage.source)
                                                   : shown_name(map, source->second));
  if (lineage.delete_at_s > 0)
    json.put_number("targetDeleteDate", static_cast<uint64_t>(lineage.delete_at_s));
  for (const char* never : {"bound", "deleted", "recoveringFromRemote", "transient"})
    json.put_boolean(never, false);
}

}  // namespace

void put_volume(Json& json, const map::Map& map, const Parents& parents,
                const map::Volume& volume) {
  static const map::Template nothing;
  const auto at = map.templates.find(volume.template_name);
  const map::Template& row = at == map.templates.end() ? nothing : at->second;
  put_limits(json, volume.limits);
  json.put("clusterId", location_id(map.cluster.id));
  if (map.cluster.name.size() <= 64) json.put("clusterName", map.cluster.name);
  json.put_number("creationTimestamp",
                  static_cast<uint64_t>(std::max<int64_t>(volume.created_ms, 0)) / 1000);
  json.put("globalId", global_id(map.cluster.id, volume.id)).put("name", shown_name(map, volume));
  json.put_number("objectsCount", objects_of(volume)).put("parentName", parents.of(volume.id));
  json.put("placeAll", row.place_all)
      .put("placeHead", policy_group(row.place_head, row))
      .put("placeTail", policy_group(row.place_tail, row));
  json.put_number("replication", row.copies).put_number("size", volume.size_bytes);
  json.key("tags").begin_object();
  for (const auto& [name, value] : volume.tags) json.put(name, value);
  json.end_object();
  json.put("templateName", volume.template_name).put_number("visibleVolumeId", volume.id);
  if (map::is_snapshot(map, volume.id)) put_snapshot(json, map, volume);
}

}  // namespace sp::api
