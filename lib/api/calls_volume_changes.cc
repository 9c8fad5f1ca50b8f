// Calls that create, change and delete volumes.
#include <fmt/format.h>

#include <tuple>

#include "api/calls.h"
#include "api/fields.h"
#include "api/policy.h"
#include "api/snapshot_names.h"
#include "api/take_snapshots.h"
#include "base/units.h"

namespace sp::api {

namespace {

constexpr int64_t base_snapshot_kept_ms = 600'000;  // the one that VolumeCreate with baseOn takes

// What VolumeCreate asks for, whatever the volume is made of.
struct Wish {
  std::string name, parent, base_on;
  Policy policy;
  std::optional<uint64_t> size, iops, bandwidth;
  std::map<std::string, std::string> tags;

  explicit Wish(Fields& fields) : policy(fields) {
    name = fields.name("name", NameKind::volume).value_or("");
    parent = fields.text("parent").value_or("");
    base_on = fields.text("baseOn").value_or("");
    size = fields.size("size");
    iops = fields.limit("iops");
    bandwidth = fields.limit("bw");
    tags = fields.tags("tags");
    if (!parent.empty() && !base_on.empty()) fields.fault("parent and baseOn exclude each other");
  }
};

VolumeId source_of(const map::CreateVolume&) { return 0; }
VolumeId source_of(const map::CloneVolume& clone) { return clone.snapshot; }

// The volume that `create` has made: the newest of its kind.
template <class Create>
const map::Volume* created(const map::Map& map, const Create& create) {
  for (auto at = map.volumes.rbegin(); at != map.volumes.rend(); ++at) {
    const map::Volume& volume = at->second;
    const auto lineage = map.lineages.find(volume.id);
    const VolumeId source = lineage == map.lineages.end() ? 0 : lineage->second.source;
    if (volume.name == create.name && source == source_of(create) &&
        !map::is_snapshot(map, volume.id) &&
        (!create.name.empty() || volume.created_ms == create.created_ms))
      return &volume;
  }
  return nullptr;
}

// Proposes `create`, a CreateVolume or CloneVolume, and tells what became of it. `snapshot`: the
// name of the one that was taken for it, or empty.
template <class Create>
void make_volume(Context& context, Create create, const std::string& snapshot) {
  create.created_ms = context.host().clock.wall_ms();
  const auto self = context.shared_from_this();
  context.command(create, [self, create, snapshot](uint64_t) {
    const map::Map& map = self->map();
    const map::Volume* volume = created(map, create);
    if (volume == nullptr)
      return self->fail(names::try_again, "the volume was created and is gone again");
    Json json;
    json.begin_object().put_boolean("ok", true).put_number("generation", map.index);
    json.put("globalId", global_id(map.cluster.id, volume->id))
        .put("name", shown_name(map, *volume));
    if (!snapshot.empty()) json.put("autoName", snapshot);
    self->reply(json.end_object().take());
  });
}

void create_empty(Context& context, Fields& fields, const Wish& wish) {
  map::CreateVolume create{.name = wish.name, .tags = wish.tags};
  if (const auto* row = choose_template(fields, context.map(), wish.policy)) {
    create.template_name = row->name;
    create.size_bytes = wish.size.value_or(row->size_bytes);
    create.limits = {wish.iops.value_or(row->limits.iops),
                     wish.bandwidth.value_or(row->limits.bytes_per_second)};
    if (create.size_bytes == 0 && !fields.has("size"))
      fields.fault(fmt::format("size is missing, and template '{}' has none", row->name));
  }
  if (const Status status = fields.finish(); !status.ok()) return context.fail(status.error());
  make_volume(context, create, "");
}

// A volume with the content of `source`, a snapshot, or a volume of which one will be taken.
map::CloneVolume clone_of(Fields& fields, const map::Map& map, const Wish& wish,
                          const map::Volume& source) {
  check_policy_of(fields, map, wish.policy, source);
  if (wish.size && *wish.size < source.size_bytes)
    fields.fault(fmt::format("size: at least that of '{}', which is {}", shown_name(map, source),
                             source.size_bytes));
  // 0 in the command stands for those of the snapshot.
  for (const auto& [key, wanted, is] :
       {std::tuple{"iops", wish.iops, source.limits.iops},
        std::tuple{"bw", wish.bandwidth, source.limits.bytes_per_second}}) {
    if (wanted == 0 && is != 0)
      fields.fault(
          fmt::format("{}: the volume begins with the limit of '{}', {}; give another, or "
                      "lift it afterwards (VolumeUpdate)",
                      key, shown_name(map, source), is));
  }
  return {.snapshot = source.id,
          .name = wish.name,
          .size_bytes = wish.size.value_or(0),
          .limits = {wish.iops.value_or(0), wish.bandwidth.value_or(0)},
          .tags = wish.tags};
}

void create_of_snapshot(Context& context, Fields& fields, const Wish& wish) {
  const auto found = find_snapshot(context.map(), wish.parent);
  if (!found.ok()) return context.fail(found.error());
  const map::CloneVolume clone = clone_of(fields, context.map(), wish, **found);
  if (const Status status = fields.finish(); !status.ok()) return context.fail(status.error());
  make_volume(context, clone, "");
}

// Of a volume as it is now. The snapshot between the two has done its work once the new volume is
// there; that it goes by itself also holds when this service does not live to see it.
void create_of_volume(Context& context, Fields& fields, const Wish& wish) {
  const map::Map& map = context.map();
  const auto found = find_volume(map, wish.base_on);
  if (!found.ok()) return context.fail(found.error());
  map::CloneVolume clone = clone_of(fields, map, wish, **found);
  if (const Status status = fields.finish(); !status.ok()) return context.fail(status.error());
  if (!wish.name.empty() && map.find_volume(wish.name) != nullptr)
    return context.fail(names::exists, fmt::format("volume '{}' exists already", wish.name));
  map::OpenCut open;
  open.created_ms = context.host().clock.wall_ms();
  const std::string name = made_name(map, **found, open.created_ms, {});
  const int64_t delete_at_s = (open.created_ms + base_snapshot_kept_ms) / 1000;
  open.items.push_back({(*found)->id, name, {}, delete_at_s});
  take_snapshots(context, open, [clone, name](Context& taken, const auto& snapshots) mutable {
    clone.snapshot = snapshots.front();
    make_volume(taken, clone, name);
  });
}

}  // namespace

void volume_create(const ContextPtr& context) {
  context->in_turn([context] {
    Fields fields(context->json());
    const Wish wish(fields);
    if (!wish.base_on.empty()) return create_of_volume(*context, fields, wish);
    if (!wish.parent.empty()) return create_of_snapshot(*context, fields, wish);
    create_empty(*context, fields, wish);
  });
}

void volume_update(const ContextPtr& context) {
  context->in_turn([context] {
    auto found = find_volume(context->map(), context->argument(0));
    if (!found.ok()) return context->fail(found.error());
    const map::Volume& volume = **found;
    map::UpdateVolume update;
    update.volume = volume.id;
    Fields fields(context->json());
    update.rename = fields.name("rename", NameKind::volume);
    check_policy_of(fields, context->map(), Policy(fields), volume);
    update.size_bytes = fields.size("size");
    update.shrink_ok = fields.boolean("shrinkOk").value_or(false);
    if (const auto add = fields.size("sizeAdd")) {
      if (update.size_bytes) fields.fault("size and sizeAdd exclude each other");
      update.size_bytes = volume.size_bytes + *add;
      if (*update.size_bytes > limits::volume_bytes_max)
        fields.fault(
            fmt::format("sizeAdd: a volume has at most {}", format_size(limits::volume_bytes_max)));
    }
    if (fields.has("iops") || fields.has("bw"))
      update.limits = map::Limits{fields.limit("iops").value_or(volume.limits.iops),
                                  fields.limit("bw").value_or(volume.limits.bytes_per_second)};
    update.tags = fields.tags("tags");
    if (const Status status = fields.finish(); !status.ok()) return context->fail(status.error());
    if (update.size_bytes || update.limits) return context->command_and_confirm(update);
    context->command(update, [context](uint64_t) { context->reply_ok(); });
  });
}

void volume_delete(const ContextPtr& context) {
  auto found = find_volume(context->map(), context->argument(0));
  if (!found.ok()) return context->fail(found.error());
  Fields fields(context->json());
  if (const Status status = fields.finish(); !status.ok()) return context->fail(status.error());
  context->command_and_confirm(map::DeleteVolume{(*found)->id});
}

}  // namespace sp::api
