// Calls that take, change and delete snapshots, and take volumes back to them. Those that read:
// calls_volumes.cc.
#include <fmt/format.h>

#include <algorithm>

#include "api/calls.h"
#include "api/fields.h"
#include "api/policy.h"
#include "api/snapshot_names.h"
#include "api/take_snapshots.h"

namespace sp::api {

namespace {

constexpr size_t snapshots_per_request_max = 256;
constexpr uint64_t date_s_max = 1ull << 40;

// When a snapshot is to be deleted, in seconds since 1970, 0: not by itself; nothing when the
// request does not say.
std::optional<int64_t> read_delete_at(Fields& fields, int64_t now_ms) {
  const auto after = fields.number("deleteAfter", 0, UINT32_MAX);
  const auto date = fields.number("targetDeleteDate", 0, date_s_max);
  if (after && date) fields.fault("deleteAfter and targetDeleteDate exclude each other");
  if (date && *date != 0 && static_cast<int64_t>(*date) * 1000 <= now_ms)
    fields.fault("targetDeleteDate is over: SnapshotDelete deletes at once");
  if (date) return static_cast<int64_t>(*date);
  if (after) return *after == 0 ? 0 : (now_ms + 999) / 1000 + static_cast<int64_t>(*after);
  return std::nullopt;
}

void refuse_bind(Fields& fields) {
  if (fields.boolean("bind").value_or(false))
    fields.fault("bind: a snapshot does not go with its volume; leave it out, or give deleteAfter");
}

// The name that the request has for a snapshot, or one that is made.
std::string read_name(Fields& fields, const map::Map& map, const map::Volume& volume,
                      int64_t now_ms, const std::set<std::string>& taken) {
  const auto name = fields.name("name", NameKind::snapshot);
  return name ? *name : made_name(map, volume, now_ms, taken);
}

void reply_taken(Context& context, VolumeId id) {
  const map::Map& map = context.map();
  const std::string& name = map.volumes.at(id).name;
  Json json;
  json.begin_object().put_boolean("ok", true).put_number("generation", map.index);
  if (is_made_name(name)) json.put("autoName", name);
  json.put("snapshotGlobalId", global_id(map.cluster.id, id));
  context.reply(json.put_number("snapshotVisibleVolumeId", id).end_object().take());
}

void reply_group_taken(Context& context, const std::vector<VolumeId>& ids) {
  const map::Map& map = context.map();
  Json json;
  json.begin_object().key("snapshots").begin_array();
  for (const VolumeId id : ids) {
    const std::string global = global_id(map.cluster.id, id);
    const VolumeId of = map.lineages.at(id).source;
    const auto volume = map.volumes.find(of);
    json.begin_object().put("snapshot", map.volumes.at(id).name).put("snapshotGlobalId", global);
    json.put("remoteId", global).put("volumeGlobalId", global_id(map.cluster.id, of));
    json.put("volume", volume == map.volumes.end() ? "~" + global_id(map.cluster.id, of)
                                                   : shown_name(map, volume->second));
    json.end_object();
  }
  context.reply(json.end_array().end_object().take());
}

// One element of a group. Tags of its own come before those of the group.
Status read_group_item(const Value& element, const map::Map& map,
                       const std::map<std::string, std::string>& tags, std::set<std::string>& taken,
                       map::OpenCut& open) {
  Fields fields(element);
  fields.require("volume");
  const auto volume_name = fields.text("volume").value_or("");
  map::OpenCut::Item item;
  item.tags = fields.tags("tags");
  item.tags.insert(tags.begin(), tags.end());
  const auto volume = find_volume(map, volume_name);
  if (volume.ok()) {
    item.volume = (*volume)->id;
    item.name = read_name(fields, map, **volume, open.created_ms, taken);
  } else {
    fields.ignore("name");
  }
  SP_CHECK(fields.finish());
  if (!volume.ok()) return volume.error();
  taken.insert(item.name);
  open.items.push_back(std::move(item));
  return {};
}

Result<map::OpenCut> read_group(const Value& request, const map::Map& map, int64_t now_ms) {
  Fields fields(request);
  fields.require("volumes");
  const auto tags = fields.tags("tags");
  const int64_t delete_at_s = read_delete_at(fields, now_ms).value_or(0);
  const Value* list = fields.find("volumes");
  if (list != nullptr &&
      (list->elements().empty() || list->elements().size() > snapshots_per_request_max))
    fields.fault(fmt::format("volumes must be a list of 1 to {} objects, one a volume",
                             snapshots_per_request_max));
  SP_CHECK(fields.finish());
  map::OpenCut open;
  open.created_ms = now_ms;
  std::set<std::string> taken;
  for (size_t i = 0; i < list->elements().size(); ++i) {
    const Value& element = list->elements()[i];
    const Status status = read_group_item(element, map, tags, taken, open);
    if (!status.ok())
      return Error(status.error())
          .with(
              fmt::format("element {} ({})", i, element["volume"].text_or_empty().substr(0, 200)));
    open.items.back().delete_at_s = delete_at_s;
  }
  return open;
}

// What a change of a snapshot has: one part of it is a change like that of a volume.
struct Change {
  map::UpdateVolume update;
  std::optional<int64_t> delete_at_s;
};

Result<Change> read_change(const Value& request, const map::Map& map, const map::Volume& snapshot,
                           int64_t now_ms) {
  Fields fields(request);
  Change change;
  change.update.volume = snapshot.id;
  change.update.rename = fields.name("rename", NameKind::snapshot);
  change.update.tags = fields.tags("tags");
  change.delete_at_s = read_delete_at(fields, now_ms);
  check_policy_of(fields, map, Policy(fields), snapshot);
  refuse_bind(fields);
  for (const char* limit : {"iops", "bw"}) {
    if (fields.has(limit))
      fields.fault(
          fmt::format("{}: limits of a snapshot do not change; give them to volumes that "
                      "are made of it",
                      limit));
  }
  SP_CHECK(fields.finish());
  return change;
}

}  // namespace

void volume_snapshot(const ContextPtr& context) {
  context->in_turn([context] {
    const map::Map& map = context->map();
    const auto volume = find_volume(map, context->argument(0));
    if (!volume.ok()) return context->fail(volume.error());
    Fields fields(context->json());
    map::OpenCut open;
    open.created_ms = context->host().clock.wall_ms();
    map::OpenCut::Item item{.volume = (*volume)->id, .tags = fields.tags("tags")};
    item.name = read_name(fields, map, **volume, open.created_ms, {});
    item.delete_at_s = read_delete_at(fields, open.created_ms).value_or(0);
    refuse_bind(fields);
    if (const Status status = fields.finish(); !status.ok()) return context->fail(status.error());
    open.items.push_back(std::move(item));
    take_snapshots(*context, open, [](Context& taken, const std::vector<VolumeId>& ids) {
      reply_taken(taken, ids.front());
    });
  });
}

void volumes_group_snapshot(const ContextPtr& context) {
  context->in_turn([context] {
    const auto open = read_group(context->json(), context->map(), context->host().clock.wall_ms());
    if (!open.ok()) return context->fail(open.error());
    take_snapshots(*context, *open, reply_group_taken);
  });
}

void snapshot_update(const ContextPtr& context) {
  context->in_turn([context] {
    const auto snapshot = find_snapshot(context->map(), context->argument(0));
    if (!snapshot.ok()) return context->fail(snapshot.error());
    const auto change =
        read_change(context->json(), context->map(), **snapshot, context->host().clock.wall_ms());
    if (!change.ok()) return context->fail(change.error());
    const VolumeId id = (*snapshot)->id;
    if (context->expires(id))
      return context->fail(names::refused, "the snapshot is being deleted: its time has come");
    const auto set_date = [context, id, date = change->delete_at_s] {
      if (!date) return context->reply_ok();
      context->command(map::UpdateSnapshot{id, *date},
                       [context](uint64_t) { context->reply_ok(); });
    };
    if (!change->update.rename && change->update.tags.empty()) return set_date();
    context->command(change->update, [set_date](uint64_t) { set_date(); });
  });
}

void snapshot_delete(const ContextPtr& context) {
  const auto found = find_snapshot(context->map(), context->argument(0));
  if (!found.ok()) return context->fail(found.error());
  Fields fields(context->json());
  if (const Status status = fields.finish(); !status.ok()) return context->fail(status.error());
  context->command_and_confirm(map::DeleteVolume{(*found)->id});
}

void volume_revert(const ContextPtr& context) {
  const map::Map& map = context->map();
  const auto volume = find_volume(map, context->argument(0));
  if (!volume.ok()) return context->fail(volume.error());
  Fields fields(context->json());
  fields.require("toSnapshot");
  const std::string name = fields.text("toSnapshot").value_or("");
  if (const Status status = fields.finish(); !status.ok()) return context->fail(status.error());
  const auto snapshot = find_snapshot(map, name);
  if (!snapshot.ok()) return context->fail(snapshot.error());
  context->command_and_confirm(map::RevertVolume{(*volume)->id, (*snapshot)->id});
}

}  // namespace sp::api
