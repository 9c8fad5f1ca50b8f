// Calls about attachments.
#include <fmt/format.h>

#include <algorithm>

#include "api/calls.h"
#include "api/fields.h"
#include "api/views.h"
#include "base/client_id.h"

namespace sp::api {

namespace {

void put_attachment(Json& json, const map::Map& map, const map::Attachment& row) {
  const auto volume = map.volumes.find(row.volume);
  json.put_number("client", row.client)
      .put_number("pos", row.position)
      .put("rights", row.rights == map::Rights::read_write ? "rw" : "ro");
  json.put_boolean("snapshot", map::is_snapshot(map, row.volume))
      .put("volume", volume == map.volumes.end() ? "~" + global_id(map.cluster.id, row.volume)
                                                 : shown_name(map, volume->second));
  json.put("globalId", global_id(map.cluster.id, row.volume))
      .put("clusterId", location_id(map.cluster.id));
}

std::string_view state_name(map::AttachmentState state) {
  switch (state) {
    case map::AttachmentState::requested: return "requested";
    case map::AttachmentState::ready: return "ready";
    case map::AttachmentState::detaching: return "detaching";
  }
  SP_UNREACHABLE();
}

struct Plan {
  map::Reassign command;
  bool forced = false, gentle = false;  // what the items ask for; they must agree
};

std::vector<ClientId> clients(Fields& fields, const map::Map& map, std::string_view key) {
  const auto ids = fields.ids(key, 4095).value_or(std::vector<uint16_t>());
  for (const ClientId id : ids) {
    if (map.nodes.count(service_of_client(id).node) == 0)
      fields.fault(fmt::format(
          "{}: client {} does not exist: clients have the numbers of their nodes", key, id));
  }
  return ids;
}

// One element of the list: "volume", or "snapshot", which nobody writes to. Errors name it.
Status read_item(const Value& item, const map::Map& map, Plan& plan) {
  Fields fields(item);
  map::Reassignment reassignment;
  const bool snapshot = fields.has("snapshot");
  if (!snapshot) fields.require("volume");
  if (snapshot && fields.has("volume")) fields.fault("volume and snapshot exclude each other");
  if (snapshot && fields.has("rw"))
    fields.fault("rw: a snapshot is attached for reading only; make a volume of it to write");
  const auto name = fields.text(snapshot ? "snapshot" : "volume");
  const Value* detach = fields.find("detach");
  reassignment.detach_all =
      detach != nullptr && detach->text() != nullptr && *detach->text() == "all";
  if (!reassignment.detach_all) reassignment.detach = clients(fields, map, "detach");
  reassignment.read_write = clients(fields, map, "rw");
  reassignment.read_only = clients(fields, map, "ro");
  (fields.boolean("force").value_or(false) ? plan.forced : plan.gentle) = true;
  for (const char* only_between_clusters : {"allowRemoteExported", "mcMode", "onRemoteAttached"})
    fields.ignore(only_between_clusters);
  for (const ClientId client : reassignment.read_write) {
    const auto& others = reassignment.read_only;
    if (std::find(others.begin(), others.end(), client) != others.end())
      fields.fault(fmt::format("client {} is in both rw and ro", client));
  }
  if (const Status status = fields.finish(); !status.ok()) return status;
  auto volume = snapshot ? find_snapshot(map, *name) : find_volume(map, *name);
  if (!volume.ok()) return std::move(volume).error();
  reassignment.volume = (*volume)->id;
  plan.command.volumes.push_back(std::move(reassignment));
  return {};
}

std::string named_in(const Value& item) {
  return item[item["snapshot"].is_null() ? "volume" : "snapshot"].text_or_empty();
}

Result<map::Reassign> read_plan(const Value& list, const map::Map& map) {
  if (list.array() == nullptr || list.array()->empty())
    return Error(Code::invalid, "the request must be a list of objects, one a volume");
  if (list.array()->size() > limits::attachments_per_client_max)
    return Error(Code::invalid,
                 fmt::format("{} volumes in one request: at most {}", list.array()->size(),
                             limits::attachments_per_client_max));
  Plan plan;
  for (size_t i = 0; i < list.array()->size(); ++i) {
    if (const Status status = read_item((*list.array())[i], map, plan); !status.ok())
      return Error(status.error())
          .with(fmt::format("element {} ({})", i, named_in((*list.array())[i]).substr(0, 200)));
  }
  if (plan.forced && plan.gentle)
    return Error(Code::invalid,
                 "force must be the same for all volumes of one request: make two requests");
  std::vector<VolumeId> volumes;
  for (const auto& reassignment : plan.command.volumes) volumes.push_back(reassignment.volume);
  std::sort(volumes.begin(), volumes.end());
  if (std::adjacent_find(volumes.begin(), volumes.end()) != volumes.end())
    return Error(Code::invalid, "a volume is named twice in one request");
  plan.command.force = plan.forced;
  return std::move(plan.command);
}

// Everything asked for has happened on the clients.
bool settled(const map::Map& map, const map::Reassign& asked) {
  for (const auto& item : asked.volumes) {
    for (const auto* list : {&item.read_write, &item.read_only}) {
      for (const ClientId client : *list) {
        const auto* row = map.attachment(item.volume, client);
        // Gone again: somebody else has detached it, waiting longer would not help.
        if (row != nullptr && row->state != map::AttachmentState::ready) return false;
      }
    }
    for (const auto& [key, row] : map.attachments) {
      const bool ours = item.detach_all || std::find(item.detach.begin(), item.detach.end(),
                                                     row.client) != item.detach.end();
      if (key.first == item.volume && ours && row.state == map::AttachmentState::detaching)
        return false;
    }
  }
  return true;
}

// The first that is not as asked, for people.
std::string unsettled_text(const map::Map& map, const map::Reassign& asked) {
  for (const auto& item : asked.volumes) {
    for (const auto& [key, row] : map.attachments) {
      if (key.first != item.volume || row.state == map::AttachmentState::ready) continue;
      const auto volume = map.volumes.find(item.volume);
      const bool up = map.services.count({ServiceKind::client, row.client, 1}) != 0 &&
                      map.services.at({ServiceKind::client, row.client, 1}).up;
      return fmt::format(
          "volume '{}' is {} on client {}{}",
          volume == map.volumes.end() ? "" : shown_name(map, volume->second),
          row.state == map::AttachmentState::requested ? "not ready yet" : "not detached yet",
          row.client,
          up ? (row.state == map::AttachmentState::requested ? "" : ": is it in use there?")
             : ", whose sp-block does not run");
    }
  }
  return "not all attachments are as asked";
}

bool gone_again(const map::Map& map, const map::Reassign& asked) {
  for (const auto& item : asked.volumes) {
    for (const auto* list : {&item.read_write, &item.read_only}) {
      for (const ClientId client : *list) {
        if (map.attachment(item.volume, client) == nullptr) return true;
      }
    }
  }
  return false;
}

}  // namespace

void attachments_list(const ContextPtr& context) {
  Json json;
  json.begin_array();
  for (const auto& [key, row] : context->map().attachments) {
    json.begin_object();
    put_attachment(json, context->map(), row);
    json.end_object();
  }
  json.end_array();
  context->reply(json.take());
}

void attachments_detailed(const ContextPtr& context) {
  Json json;
  json.begin_array();
  for (const auto& [key, row] : context->map().attachments) {
    json.begin_object();
    put_attachment(json, context->map(), row);
    json.put("state", state_name(row.state))
        .put("device", row.device)
        .put_number("generation", row.generation)
        .end_object();
  }
  json.end_array();
  context->reply(json.take());
}

void volumes_reassign(const ContextPtr& context) {
  auto plan = read_plan(context->json(), context->map());
  if (!plan.ok()) return context->fail(plan.error());
  context->command_and_confirm(*plan);
}

void volumes_reassign_wait(const ContextPtr& context) {
  Fields fields(context->json());
  fields.require("reassign");
  const auto seconds = fields.number("attachTimeout", 0, 1u << 30);
  const Value* list = fields.find("reassign");
  if (const Status status = fields.finish(); !status.ok()) return context->fail(status.error());
  auto plan = read_plan(*list, context->map());
  if (!plan.ok()) return context->fail(plan.error());
  const auto asked = std::make_shared<const map::Reassign>(std::move(plan).value());
  const io::Duration timeout =
      seconds ? std::chrono::seconds(*seconds) : io::Duration(limits::api_wait_max);
  context->command(*asked, [context, asked, timeout](uint64_t index) {
    context->confirm(index, [context, asked, timeout] {
      if (timeout == io::Duration::zero()) return context->reply_ok();
      // The Context outlives the wait, so the map that `over` looks at is there.
      Context* raw = context.get();
      context->wait([raw, asked] { return settled(raw->map(), *asked); }, timeout,
                    [raw, asked](bool over) {
                      if (!over)
                        return raw->fail(names::timeout, unsettled_text(raw->map(), *asked) +
                                                             "; the request stays in force");
                      if (gone_again(raw->map(), *asked))
                        return raw->fail(names::refused,
                                         "the volume was detached by another request meanwhile");
                      raw->reply_ok();
                    });
    });
  });
}

}  // namespace sp::api
