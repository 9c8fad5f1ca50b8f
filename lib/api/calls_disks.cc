// Calls about disks and placement groups.
#include <fmt/format.h>

#include <algorithm>

#include "api/calls.h"
#include "api/fields.h"
#include "api/views.h"
#include "base/units.h"

namespace sp::api {

namespace {

// Usage by disk, of the newest report that has it.
std::map<DiskId, member::DiskReport> usage_of(const std::vector<member::ServiceReport>& reports) {
  std::map<DiskId, member::DiskReport> usage;
  for (const auto& service : reports) {
    for (const auto& disk : service.report.disks) usage[disk.disk] = disk;
  }
  return usage;
}

// The members of DiskSummaryBase; "description" holds to its form also when the map does not.
void put_base(Json& json, const map::Disk& disk, bool up) {
  std::string description = disk.description.substr(0, 30);
  for (char& c : description) {
    const bool good = (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
                      c == '_' || c == '-' || c == ' ';
    if (!good) c = '_';
  }
  json.put_number("id", disk.id)
      .put_number("serverId", server_number(disk.server))
      .put("description", description);
  json.put("model", disk.model)
      .put("serial", disk.serial)
      .put("softEject", "off")
      .put_boolean("ssd", disk.solid_state);
  json.key("generationLeft").number(up ? -1 : 0);
}

void put_up(Json& json, const map::Disk& disk, const member::DiskReport& usage) {
  json.put("device", disk.device).put_boolean("empty", usage.objects_used == 0);
  json.put_number("entriesAllocated", usage.blocks_used)
      .put_number("entriesCount", usage.blocks_total);
  json.put_number("entriesFree",
                  usage.blocks_total - std::min(usage.blocks_used, usage.blocks_total));
  json.put_number("objectsAllocated", usage.objects_used)
      .put_number("objectsCount", usage.objects_total);
  json.put_number("objectsFree",
                  usage.objects_total - std::min(usage.objects_used, usage.objects_total));
  json.put_number("objectsOnDiskSize", usage.blocks_used * limits::block_bytes)
      .put_number("sectorsCount", disk.capacity_bytes / 512);
  for (const char* no : {"isWbc", "journaled", "noFlush", "noFua", "noTrim", "scrubbingPaused"})
    json.put_boolean(no, false);
  for (const char* none : {"lastScrubCompleted", "scrubbedBytes", "scrubbingBW",
                           "scrubbingFinishAfter", "scrubbingPausedFor", "scrubbingStartedBefore"})
    json.put_number(none, 0);
}

void put_disk(Json& json, const map::Map& map, const map::Disk& disk,
              const std::map<DiskId, member::DiskReport>& usage, bool described) {
  static const member::DiskReport none;
  const bool up = map.disk_serves(disk.id);
  const auto used = usage.find(disk.id);
  json.begin_object();
  put_base(json, disk, up);
  if (up || described) put_up(json, disk, used == usage.end() ? none : used->second);
  if (described) json.key("objects").begin_object().end_object();
  json.end_object();
}

// `chosen(disk)` picks the disks of the list.
template <class Function>
void list_disks(const ContextPtr& context, Function chosen) {
  context->member().reports([context, chosen](Result<std::vector<member::ServiceReport>> reports) {
    if (!reports.ok()) return context->fail(reports.error());
    const auto usage = usage_of(*reports);
    Json json;
    json.begin_object();
    for (const auto& [id, disk] : context->map().disks) {
      if (!chosen(disk)) continue;
      json.key(std::to_string(id));
      put_disk(json, context->map(), disk, usage, false);
    }
    json.end_object();
    context->reply(json.take());
  });
}

// The disk that the path names, or the request has failed.
const map::Disk* disk_argument(Context& context) {
  const auto id = parse_number(context.argument(0), limits::disks_max - 1);
  if (!id.ok()) {
    context.fail(names::invalid_param, "disk: " + id.error().message());
    return nullptr;
  }
  const auto at = context.map().disks.find(static_cast<DiskId>(*id));
  if (at == context.map().disks.end()) {
    context.fail(names::does_not_exist, fmt::format("disk {} does not exist", *id));
    return nullptr;
  }
  return &at->second;
}

const map::PlacementGroup* group_argument(Context& context) {
  const std::string& name = context.argument(0);
  const auto at = context.map().placement_groups.find(name);
  if (at != context.map().placement_groups.end()) return &at->second;
  context.fail(names::does_not_exist,
               fmt::format("placement group '{}' does not exist", name.substr(0, 128)));
  return nullptr;
}

void put_group(Json& json, const map::PlacementGroup& group) {
  json.begin_object().put("name", group.name).put_numbers("disks", group.disks).end_object();
}

}  // namespace

void disks_list(const ContextPtr& context) {
  list_disks(context, [](const map::Disk&) { return true; });
}

void server_disks_list(const ContextPtr& context) {
  const auto number = parse_number(context->argument(0), 32767);
  if (!number.ok())
    return context->fail(names::invalid_param, "server: " + number.error().message());
  const auto& services = context->map().services;
  const bool known = std::any_of(services.begin(), services.end(), [&](const auto& row) {
    return row.first.kind == ServiceKind::server && server_number(row.first) == *number;
  });
  if (!known)
    return context->fail(names::does_not_exist, fmt::format("server {} does not exist", *number));
  list_disks(context, [number = *number](const map::Disk& disk) {
    return server_number(disk.server) == number;
  });
}

void disk_describe(const ContextPtr& context) {
  const map::Disk* disk = disk_argument(*context);
  if (disk == nullptr) return;
  context->member().reports([context,
                             id = disk->id](Result<std::vector<member::ServiceReport>> reports) {
    if (!reports.ok()) return context->fail(reports.error());
    const auto at = context->map().disks.find(id);
    if (at == context->map().disks.end())
      return context->fail(names::does_not_exist, fmt::format("disk {} does not exist", id));
    if (!context->map().disk_serves(id)) {
      return context->fail(
          names::try_again,
          fmt::format("disk {} is down and cannot be described: {}", id,
                      at->second.failure.empty() ? "its server does not run" : at->second.failure));
    }
    Json json;
    put_disk(json, context->map(), at->second, usage_of(*reports), true);
    context->reply(json.take());
  });
}

void disk_set_description(const ContextPtr& context) {
  const map::Disk* disk = disk_argument(*context);
  if (disk == nullptr) return;
  Fields fields(context->json());
  fields.require("description");
  const auto description = fields.text("description").value_or("");
  const bool good =
      description.size() <= 30 && std::all_of(description.begin(), description.end(), [](char c) {
        return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
               c == '_' || c == '-' || c == ' ';
      });
  if (!good) fields.fault("description must be at most 30 letters, digits, '_', '-' and spaces");
  if (const Status status = fields.finish(); !status.ok()) return context->fail(status.error());
  context->command(map::DescribeDisk{disk->id, description},
                   [context](uint64_t) { context->reply_ok(); });
}

void disk_forget(const ContextPtr& context) {
  const map::Disk* disk = disk_argument(*context);
  if (disk == nullptr) return;
  Fields fields(context->json());
  if (const Status status = fields.finish(); !status.ok()) return context->fail(status.error());
  context->command_and_confirm(map::ForgetDisk{disk->id});
}

void placement_groups_list(const ContextPtr& context) {
  Json json;
  json.begin_object();
  for (const auto& [name, group] : context->map().placement_groups)
    put_group(json.key(name), group);
  json.end_object();
  context->reply(json.take());
}

void placement_group_describe(const ContextPtr& context) {
  const map::PlacementGroup* group = group_argument(*context);
  if (group == nullptr) return;
  Json json;
  put_group(json, *group);
  context->reply(json.take());
}

void placement_group_update(const ContextPtr& context) {
  map::UpdatePlacementGroup update;
  update.name = context->argument(0);
  Fields fields(context->json());
  if (const std::string why = check_name(NameKind::placement_group, update.name); !why.empty())
    fields.fault(why);
  update.rename = fields.name("rename", NameKind::placement_group);
  update.add = fields.ids("addDisks", limits::disks_max - 1).value_or(std::vector<uint16_t>());
  update.remove = fields.ids("rmDisks", limits::disks_max - 1).value_or(std::vector<uint16_t>());
  for (const DiskId disk : update.add) {
    if (context->map().disks.count(disk) == 0)
      fields.fault(fmt::format("addDisks: disk {} does not exist", disk));
    if (std::binary_search(update.remove.begin(), update.remove.end(), disk))
      fields.fault(fmt::format("disk {} is both added and removed", disk));
  }
  if (const Status status = fields.finish(); !status.ok()) return context->fail(status.error());
  context->command(update, [context](uint64_t) { context->reply_ok(); });
}

void placement_group_delete(const ContextPtr& context) {
  const map::PlacementGroup* group = group_argument(*context);
  if (group == nullptr) return;
  context->command(map::DeletePlacementGroup{group->name},
                   [context](uint64_t) { context->reply_ok(); });
}

}  // namespace sp::api
