// Calls that read about volumes and snapshots.
#include <fmt/format.h>

#include <algorithm>
#include <functional>

#include "api/calls.h"
#include "api/fields.h"
#include "api/views.h"

namespace sp::api {

namespace {

constexpr uint64_t objects_described_max = 1u << 18;  // one TiB; a description has a line for each

// What the path names: find_volume or find_snapshot.
using Find = Result<const map::Volume*>(const map::Map&, std::string_view);

const map::Volume* argument(Context& context, Find& find) {
  auto found = find(context.map(), context.argument(0));
  if (found.ok()) return *found;
  context.fail(found.error());
  return nullptr;
}

void reply_list(const ContextPtr& context, const std::function<bool(const map::Volume&)>& chosen) {
  const map::Map& map = context->map();
  const Parents parents(map);
  Json json;
  json.begin_array();
  for (const auto& [id, volume] : map.volumes) {
    if (!is_shown(map, id) || !chosen(volume)) continue;
    json.begin_object();
    put_volume(json, map, parents, volume);
    json.end_object();
  }
  json.end_array();
  context->reply(json.take());
}

void reply_one(const ContextPtr& context, Find& find) {
  const map::Volume* volume = argument(*context, find);
  if (volume == nullptr) return;
  Json json;
  json.begin_array().begin_object();
  put_volume(json, context->map(), Parents(context->map()), *volume);
  json.end_object().end_array();
  context->reply(json.take());
}

std::string_view volume_status(const SetStates::Summary& summary) {
  return summary.down > 0 ? "down" : summary.soon > 0 ? "up soon" : "up";
}

void volumes_status(const ContextPtr& context, bool quick) {
  const map::Map& map = context->map();
  const SetStates states(map);
  const Parents parents(map);
  Json json;
  json.begin_object();
  for (const auto& [id, volume] : map.volumes) {
    if (!is_shown(map, id)) continue;
    const auto summary = states.of(volume);
    json.key(shown_name(map, volume)).begin_object();
    put_volume(json, map, parents, volume);
    json.put_boolean("snapshot", map::is_snapshot(map, id)).put("status", volume_status(summary));
    json.put_boolean("balancerBlocked", false)
        .put_boolean("decreasedRedundancy", summary.degraded > 0)
        .put_boolean("migrating", summary.migrating > 0);
    json.put_number("downBytes", std::min((summary.down + summary.soon) * limits::object_bytes,
                                          volume.size_bytes));
    json.put_numbers("downDrives", summary.down_disks)
        .put_numbers("missingDrives", summary.missing_disks);
    json.put_numbers("missingTargetDrives", summary.missing_target_disks)
        .put_numbers("softEjectingDrives", std::vector<int>());
    json.put_number("syncingDataBytes",
                    std::min(summary.recovering * limits::object_bytes, volume.size_bytes));
    json.put_number("syncingMetaObjects", summary.recovering)
        .put_number("upSoonChainsCount", summary.soon);
    if (!quick) json.put_number("onDiskSize", 0).put_number("storedSize", 0);
    json.end_object();
  }
  json.end_object();
  context->reply(json.take());
}

void put_chain(Json& json, const std::vector<DiskId>& disks, uint64_t objects) {
  json.begin_object().put_number("count", objects).put_numbers("disks", disks).end_object();
}

void describe(const ContextPtr& context, Find& find) {
  const map::Volume* volume = argument(*context, find);
  if (volume == nullptr) return;
  const map::Map& map = context->map();
  const uint64_t objects = objects_of(*volume);
  if (objects > objects_described_max) {
    return context->fail(names::not_supported,
                         fmt::format("{} objects are not described one by one (at most {}): use "
                                     "VolumeGetInfo or SnapshotGetInfo",
                                     objects, objects_described_max));
  }
  Json json;
  json.begin_object();
  put_volume(json, map, Parents(map), *volume);
  json.key("objects").begin_array();
  for (uint64_t i = 0; i < objects; ++i) {
    const auto set = map.sets.find(map::set_of(map, *volume, static_cast<uint32_t>(i)));
    json.begin_array();
    if (set != map.sets.end()) {
      for (const DiskId disk : set->second.acting) json.number(disk);
    }
    json.end_array();
  }
  json.end_array().key("targetDiskSets").begin_array();
  for_each_set(map, *volume, [&](uint16_t index, uint64_t) {
    const auto set = map.sets.find({volume->group, index});
    json.begin_array();
    if (set != map.sets.end()) {
      for (const DiskId disk : set->second.target) json.number(disk);
    }
    json.end_array();
  });
  json.end_array().end_object();
  context->reply(json.take());
}

void get_info(const ContextPtr& context, Find& find) {
  const map::Volume* volume = argument(*context, find);
  if (volume == nullptr) return;
  const map::Map& map = context->map();
  std::map<std::vector<DiskId>, uint64_t> acting, target;
  std::map<DiskId, uint64_t> by_disk;
  for_each_set(map, *volume, [&](uint16_t index, uint64_t objects) {
    const auto set = map.sets.find({volume->group, index});
    if (set == map.sets.end()) return;
    acting[set->second.acting] += objects;
    target[set->second.target] += objects;
    for (const DiskId disk : set->second.acting) by_disk[disk] += objects;
  });
  Json json;
  json.begin_object();
  put_volume(json, map, Parents(map), *volume);
  json.put_number("disksCount", by_disk.size());
  json.key("objectsPerChain").begin_array();
  for (const auto& [disks, objects] : acting) put_chain(json, disks, objects);
  json.end_array().key("objectsPerDiskSet").begin_array();
  for (const auto& [disks, objects] : target) put_chain(json, disks, objects);
  json.end_array().key("objectsPerDisk").begin_object();
  for (const auto& [disk, objects] : by_disk) json.put_number(std::to_string(disk), objects);
  json.end_object().end_object();
  context->reply(json.take());
}

}  // namespace

void volumes_list(const ContextPtr& context) {
  const map::Map& map = context->map();
  reply_list(context, [&](const map::Volume& row) { return !map::is_snapshot(map, row.id); });
}
void volume_list_one(const ContextPtr& context) { reply_one(context, find_volume); }
void volume_describe(const ContextPtr& context) { describe(context, find_volume); }
void volume_get_info(const ContextPtr& context) { get_info(context, find_volume); }
void volumes_get_status(const ContextPtr& context) { volumes_status(context, false); }
void volumes_get_status_quick(const ContextPtr& context) { volumes_status(context, true); }

void snapshots_list(const ContextPtr& context) {
  const map::Map& map = context->map();
  reply_list(context, [&](const map::Volume& row) { return map::is_snapshot(map, row.id); });
}
void snapshot_list_one(const ContextPtr& context) { reply_one(context, find_snapshot); }
void snapshot_describe(const ContextPtr& context) { describe(context, find_snapshot); }
void snapshot_get_info(const ContextPtr& context) { get_info(context, find_snapshot); }

// Those that were taken of it, whatever it was rolled back to since.
void volume_list_snapshots(const ContextPtr& context) {
  const map::Volume* volume = argument(*context, find_volume);
  if (volume == nullptr) return;
  const auto& lineages = context->map().lineages;
  reply_list(context, [&](const map::Volume& row) {
    const auto at = lineages.find(row.id);
    return at != lineages.end() && at->second.frozen && at->second.source == volume->id;
  });
}

}  // namespace sp::api
