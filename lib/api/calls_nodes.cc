// Calls about nodes: who belongs to the cluster and who votes, and the level of features that all
// of them support.
#include <fmt/format.h>

#include "api/calls.h"
#include "api/fields.h"
#include "base/units.h"

namespace sp::api {

namespace {

// The node that the path names by number or name, or the request has failed.
const map::Node* node_argument(Context& context) {
  const std::string& given = context.argument(0);
  const auto number = parse_number(given, limits::nodes_max);
  for (const auto& [id, node] : context.map().nodes) {
    if (node.name == given || (number.ok() && *number == id)) return &node;
  }
  context.fail(names::does_not_exist,
               fmt::format("node '{}' does not belong to the cluster", given.substr(0, 128)));
  return nullptr;
}

}  // namespace

void nodes_list(const ContextPtr& context) {
  const map::Map& map = context->map();
  Json json;
  json.begin_object();
  for (const auto& [id, node] : map.nodes) {
    json.key(std::to_string(id)).begin_object().put_number("id", id).put("name", node.name);
    json.put("address", node.address).put("faultSet", node.fault_set);
    json.put_boolean("voting", node.voting).put("status", node.up ? "up" : "down").end_object();
  }
  for (const auto& [id, node] : map.removed_nodes) {
    json.key(std::to_string(id)).begin_object().put_number("id", id).put("name", node.name);
    json.put("address", node.address).put("faultSet", "");
    json.put_boolean("voting", false).put("status", "removed").end_object();
  }
  json.end_object();
  context->reply(json.take());
}

void node_add(const ContextPtr& context) {
  Fields fields(context->json());
  for (const char* key : {"id", "name", "address"}) fields.require(key);
  map::AddNode add;
  add.node.id = static_cast<NodeId>(fields.number("id", 1, limits::nodes_max).value_or(0));
  add.node.name = fields.text("name").value_or("");
  add.node.address = fields.text("address").value_or("");
  add.node.fault_set = fields.text("faultSet").value_or("");
  add.node.voting = fields.boolean("voting").value_or(true);
  if (auto address = io::Address::parse(add.node.address); !address.ok())
    fields.fault("address: " + address.error().message());
  if (const Status status = fields.finish(); !status.ok()) return context->fail(status.error());
  context->command(add, [context](uint64_t) { context->reply_ok(); });
}

void node_remove(const ContextPtr& context) {
  const map::Node* node = node_argument(*context);
  if (node == nullptr) return;
  Fields fields(context->json());
  if (const Status status = fields.finish(); !status.ok()) return context->fail(status.error());
  context->command_and_confirm(map::RemoveNode{node->id});
}

void node_set_voting(const ContextPtr& context) {
  const map::Node* node = node_argument(*context);
  if (node == nullptr) return;
  Fields fields(context->json());
  fields.require("voting");
  const bool voting = fields.boolean("voting").value_or(true);
  if (const Status status = fields.finish(); !status.ok()) return context->fail(status.error());
  context->command(map::SetNodeVoting{node->id, voting},
                   [context](uint64_t) { context->reply_ok(); });
}

void feature_level_raise(const ContextPtr& context) {
  Fields fields(context->json());
  fields.require("level");
  const auto level = static_cast<uint32_t>(fields.number("level", 1, UINT32_MAX).value_or(0));
  if (const Status status = fields.finish(); !status.ok()) return context->fail(status.error());
  context->command(map::RaiseFeatureLevel{level}, [context](uint64_t) { context->reply_ok(); });
}

}  // namespace sp::api
