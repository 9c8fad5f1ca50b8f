// Calls about templates.
#include <fmt/format.h>

#include <algorithm>

#include "api/calls.h"
#include "api/fields.h"
#include "api/views.h"

namespace sp::api {

namespace {

const map::Template* template_argument(Context& context) {
  const auto at = context.map().templates.find(context.argument(0));
  if (at != context.map().templates.end()) return &at->second;
  context.fail(names::does_not_exist,
               fmt::format("template '{}' does not exist", context.argument(0).substr(0, 200)));
  return nullptr;
}

void put_template(Json& json, const map::Template& row) {
  json.begin_object();
  put_limits(json, row.limits);
  json.put("name", row.name).put("parentName", "").put("placeAll", row.place_all);
  json.put("placeHead", policy_group(row.place_head, row))
      .put("placeTail", policy_group(row.place_tail, row))
      .put_number("replication", row.copies);
  if (row.size_bytes == 0)
    json.put("size", "-");
  else
    json.put_number("size", row.size_bytes);
  json.end_object();
}

// The members that creating and updating share, into `row`.
void read_policy(Fields& fields, const map::Map& map, map::Template& row) {
  for (auto& [key, place] : {std::pair<const char*, std::string*>{"placeAll", &row.place_all},
                             {"placeTail", &row.place_tail},
                             {"placeHead", &row.place_head}}) {
    auto name = fields.name(key, NameKind::placement_group);
    if (!name) continue;
    if (map.placement_groups.count(*name) == 0)
      fields.fault(fmt::format("{}: placement group '{}' does not exist", key, *name));
    *place = *name;
  }
  const uint8_t copies_before = row.copies;
  row.copies = static_cast<uint8_t>(
      fields.number("replication", 1, limits::copies_max).value_or(row.copies));
  if (row.copies != copies_before) row.min_copies = std::min<uint8_t>(row.copies, 2);
  row.min_copies =
      static_cast<uint8_t>(fields.number("minCopies", 1, row.copies).value_or(row.min_copies));
  row.size_bytes = fields.size("size").value_or(row.size_bytes);
  row.limits.iops = fields.limit("iops").value_or(row.limits.iops);
  row.limits.bytes_per_second = fields.limit("bw").value_or(row.limits.bytes_per_second);
  if (fields.boolean("reuseServer").value_or(false))
    fields.fault("reuseServer: copies are never put on one server on purpose; leave it out");
  if (!fields.tags("tags").empty()) fields.fault("tags: templates have none; tag volumes");
  if (!fields.text("parent").value_or("").empty())
    fields.fault("parent: a template cannot name a snapshot yet");
}

struct Space {
  uint64_t capacity = 0, free = 0;
};

// Bytes of the disks of a placement group, as their servers report them.
Space space_of(const map::Map& map, std::string_view group,
               const std::map<DiskId, member::DiskReport>& usage) {
  Space space;
  const auto row = map.placement_groups.find(std::string(group));
  if (row == map.placement_groups.end()) return space;
  for (const DiskId id : row->second.disks) {
    const auto disk = map.disks.find(id);
    if (disk == map.disks.end() || !map.disk_serves(id)) continue;
    const auto used = usage.find(id);
    const uint64_t taken = used == usage.end() ? 0 : used->second.blocks_used * limits::block_bytes;
    space.capacity += disk->second.capacity_bytes;
    space.free += disk->second.capacity_bytes - std::min(taken, disk->second.capacity_bytes);
  }
  return space;
}

void put_status(Json& json, const map::Map& map, const map::Template& row,
                const std::map<DiskId, member::DiskReport>& usage) {
  const std::pair<const char*, std::string_view> places[] = {
      {"PlaceAll", row.place_all},
      {"PlaceHead", policy_group(row.place_head, row)},
      {"PlaceTail", policy_group(row.place_tail, row)}};
  uint64_t volumes = 0, snapshots = 0, size = 0;
  for (const auto& [id, volume] : map.volumes) {
    if (volume.template_name != row.name) continue;
    ++(map::is_snapshot(map, id) ? snapshots : volumes);
    if (!map::is_snapshot(map, id)) size += volume.size_bytes;
  }
  Space least{UINT64_MAX, UINT64_MAX};
  json.begin_object().put("name", row.name);
  for (const auto& [suffix, group] : places) {
    const Space space = space_of(map, group, usage);
    json.put_number(std::string("available") + suffix, space.free)
        .put_number(std::string("capacity") + suffix, space.capacity);
    json.put(std::string("place") + suffix[5] + std::string(suffix + 6), group);
    // What clients can store when copies are spread over the group: its bytes by the number of
    // copies.
    least.capacity = std::min(least.capacity, space.capacity / std::max<uint64_t>(row.copies, 1));
    least.free = std::min(least.free, space.free / std::max<uint64_t>(row.copies, 1));
  }
  json.key("stored")
      .begin_object()
      .put_number("capacity", least.capacity)
      .put_number("free", least.free);
  for (const auto& [suffix, group] : places) {
    const Space space = space_of(map, group, usage);
    json.key(std::string("place") + suffix[5] + std::string(suffix + 6)).begin_object();
    json.put_number("capacity", space.capacity / std::max<uint64_t>(row.copies, 1))
        .put_number("free", space.free / std::max<uint64_t>(row.copies, 1));
    json.end_object();
  }
  json.end_object();
  json.put_number("onDiskSize", 0)
      .put_number("storedSize", 0)
      .put_number("removingSnapshotsCount", 0)
      .put_number("snapshotsCount", snapshots);
  json.put_number("replication", row.copies)
      .put_number("size", row.size_bytes)
      .put_number("totalSize", size);
  json.put_number("volumesCount", volumes).put_number("volumesSize", size).end_object();
}

}  // namespace

void templates_list(const ContextPtr& context) {
  Json json;
  json.begin_array();
  for (const auto& [name, row] : context->map().templates) put_template(json, row);
  json.end_array();
  context->reply(json.take());
}

void templates_status(const ContextPtr& context) {
  context->member().reports([context](Result<std::vector<member::ServiceReport>> reports) {
    if (!reports.ok()) return context->fail(reports.error());
    std::map<DiskId, member::DiskReport> usage;
    for (const auto& service : *reports) {
      for (const auto& disk : service.report.disks) usage[disk.disk] = disk;
    }
    Json json;
    json.begin_array();
    for (const auto& [name, row] : context->map().templates)
      put_status(json, context->map(), row, usage);
    json.end_array();
    context->reply(json.take());
  });
}

void template_describe(const ContextPtr& context) {
  const map::Template* row = template_argument(*context);
  if (row == nullptr) return;
  Json json;
  put_template(json, *row);
  context->reply(json.take());
}

void template_create(const ContextPtr& context) {
  context->in_turn([context] {
    map::PutTemplate put;
    put.create = true;
    Fields fields(context->json());
    fields.require("name");
    fields.require("placeAll");
    put.row.name = fields.name("name", NameKind::template_).value_or("");
    // Never changes afterwards. Left out: chosen by the number of disks.
    put.set_count =
        static_cast<uint32_t>(fields.number("diskSets", 1, limits::sets_per_group_max).value_or(0));
    read_policy(fields, context->map(), put.row);
    if (const Status status = fields.finish(); !status.ok()) return context->fail(status.error());
    context->command_and_confirm(put);
  });
}

void template_update(const ContextPtr& context) {
  context->in_turn([context] {
    const map::Template* row = template_argument(*context);
    if (row == nullptr) return;
    map::PutTemplate put;
    put.create = false;
    put.row = *row;
    put.name_before = row->name;
    Fields fields(context->json());
    if (auto rename = fields.name("rename", NameKind::template_)) put.row.name = *rename;
    read_policy(fields, context->map(), put.row);
    const bool propagate = fields.boolean("propagate").value_or(false);
    const bool limits = fields.has("iops") || fields.has("bw");
    if (propagate && limits)
      fields.fault(
          "propagate: limits of existing volumes are changed with VolumeUpdate only; placement "
          "always follows the template");
    if (put.row.copies != row->copies)
      fields.fault(
          "replication of a template that has disk sets cannot change; create another template");
    if (const Status status = fields.finish(); !status.ok()) return context->fail(status.error());
    // A service that was replaced may still get its change agreed, after one that its successor
    // made: what that one set must not be put back.
    if (context->map().cluster.feature_level >= 2)
      context->command_and_confirm(map::ChangeTemplate{*row, put.row});
    else
      context->command_and_confirm(put);
  });
}

void template_delete(const ContextPtr& context) {
  const map::Template* row = template_argument(*context);
  if (row == nullptr) return;
  context->command(map::DeleteTemplate{row->name}, [context](uint64_t) { context->reply_ok(); });
}

}  // namespace sp::api
