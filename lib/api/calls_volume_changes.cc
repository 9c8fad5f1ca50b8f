// Calls that create, change and delete volumes.
#include <fmt/format.h>

#include <algorithm>

#include "api/calls.h"
#include "api/fields.h"
#include "api/views.h"
#include "base/units.h"

namespace sp::api {

namespace {

// What a request says of a volume's policy. The policy of a volume is that of its template, so it
// can only agree.
struct Policy {
  std::optional<std::string> template_name, place_all, place_tail, place_head;
  std::optional<uint64_t> copies;

  explicit Policy(Fields& fields) {
    template_name = fields.name("template", NameKind::template_);
    place_all = fields.name("placeAll", NameKind::placement_group);
    place_tail = fields.name("placeTail", NameKind::placement_group);
    place_head = fields.name("placeHead", NameKind::placement_group);
    copies = fields.number("replication", 1, limits::copies_max);
    if (fields.boolean("reuseServer").value_or(false))
      fields.fault("reuseServer: copies are never put on one server on purpose; leave it out");
  }
  bool agrees(const map::Template& row) const {
    return (!place_all || *place_all == row.place_all) &&
           (!place_tail || *place_tail == policy_group(row.place_tail, row)) &&
           (!place_head || *place_head == policy_group(row.place_head, row)) &&
           (!copies || *copies == row.copies);
  }
  bool empty() const {
    return !template_name && !place_all && !place_tail && !place_head && !copies;
  }
};

// The template to use: the one named, else the first by name that agrees with what is asked for.
const map::Template* choose_template(Fields& fields, const map::Map& map, const Policy& policy) {
  if (policy.template_name) {
    const auto at = map.templates.find(*policy.template_name);
    if (at == map.templates.end())
      fields.fault(fmt::format("template '{}' does not exist", *policy.template_name));
    else if (!policy.agrees(at->second))
      fields.fault(fmt::format(
          "placement and replication differ from those of template '{}': leave them out",
          at->first));
    else
      return &at->second;
    return nullptr;
  }
  if (policy.empty()) {
    fields.fault("template is missing");
    return nullptr;
  }
  for (const auto& [name, row] : map.templates) {
    if (policy.agrees(row)) return &row;
  }
  fields.fault(
      "no template has this placement and replication: create one, or name one in 'template'");
  return nullptr;
}

// The volume that `create` has made: the newest of its kind.
const map::Volume* created(const map::Map& map, const map::CreateVolume& create) {
  for (auto at = map.volumes.rbegin(); at != map.volumes.rend(); ++at) {
    const map::Volume& volume = at->second;
    if (create.name.empty() ? volume.name.empty() && volume.created_ms == create.created_ms &&
                                  volume.template_name == create.template_name
                            : volume.name == create.name)
      return &volume;
  }
  return nullptr;
}

void reply_created(const ContextPtr& context, const map::CreateVolume& create) {
  const map::Volume* volume = created(context->map(), create);
  if (volume == nullptr)
    return context->fail(names::try_again, "the volume was created and is gone again");
  Json json;
  json.begin_object().put_boolean("ok", true).put_number("generation", context->map().index);
  json.put("globalId", global_id(context->map().cluster.id, volume->id))
      .put("name", shown_name(context->map(), *volume))
      .end_object();
  context->reply(json.take());
}

}  // namespace

void volume_create(const ContextPtr& context) {
  context->in_turn([context] {
    const map::Map& map = context->map();
    map::CreateVolume create;
    Fields fields(context->json());
    create.name = fields.name("name", NameKind::volume).value_or("");
    const Policy policy(fields);
    for (const char* key : {"parent", "baseOn"}) {
      if (!fields.text(key).value_or("").empty())
        fields.fault(
            fmt::format("{}: volumes cannot be made of snapshots or other volumes yet", key));
    }
    const map::Template* row = choose_template(fields, map, policy);
    const auto size = fields.size("size");
    const auto iops = fields.limit("iops"), bandwidth = fields.limit("bw");
    create.tags = fields.tags("tags");
    if (row != nullptr) {
      create.template_name = row->name;
      create.size_bytes = size.value_or(row->size_bytes);
      create.limits = {iops.value_or(row->limits.iops),
                       bandwidth.value_or(row->limits.bytes_per_second)};
      if (create.size_bytes == 0 && !fields.has("size"))
        fields.fault(fmt::format("size is missing, and template '{}' has none", row->name));
    }
    if (const Status status = fields.finish(); !status.ok()) return context->fail(status.error());
    create.created_ms = context->host().clock.wall_ms();
    context->command(create, [context, create](uint64_t) { reply_created(context, create); });
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
    const Policy policy(fields);
    if (policy.template_name && *policy.template_name != volume.template_name)
      fields.fault(fmt::format(
          "template: moving a volume from template '{}' to another is not available yet",
          volume.template_name));
    else if (const auto row = context->map().templates.find(volume.template_name);
             row != context->map().templates.end() && !policy.agrees(row->second))
      fields.fault(
          fmt::format("placement and replication are those of template '{}': change the template",
                      volume.template_name));
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
