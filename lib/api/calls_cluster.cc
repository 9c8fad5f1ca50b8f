// Calls about nodes, services and tasks.
#include <fmt/format.h>

#include <algorithm>

#include "api/calls.h"
#include "api/views.h"

namespace sp::api {

namespace {

void put_service(Json& json, const map::Service& service, uint32_t number) {
  json.put_number("id", number).put_number("nodeId", service.id.node);
  json.put("version", service.version);
  json.put("status", service.up ? "running" : "down");
  if (service.up)
    json.put_number("startTime",
                    static_cast<uint64_t>(std::max<int64_t>(service.started_ms, 0)) / 1000);
  else
    json.key("startTime").null();
}

// "running": all sets serve; "waiting": some wait for disks or services; "down": this service sees
// no quorum.
std::string_view cluster_status(Context& context) {
  const map::Map& map = context.map();
  if (context.host().clock.now() >= context.member().lease_until()) return "down";
  for (const auto& [id, set] : map.sets) {
    if (!state_of(map, set, 1).serves) return "waiting";
  }
  return "running";
}

}  // namespace

void services_list(const ContextPtr& context) {
  const map::Map& map = context->map();
  const auto group = [&](Json& json, std::string_view name, ServiceKind kind, auto more) {
    json.key(name).begin_object();
    for (const auto& [id, service] : map.services) {
      if (id.kind != kind) continue;
      const uint32_t number = kind == ServiceKind::server ? server_number(id) : id.node;
      json.key(std::to_string(number)).begin_object();
      put_service(json, service, number);
      more(service);
      json.end_object();
    }
    json.end_object();
  };
  Json json;
  json.begin_object().put("clusterStatus", cluster_status(*context));
  json.key("bridges").begin_object().end_object().key("iscsiTargets").begin_object().end_object();
  group(json, "clients", ServiceKind::client, [](const map::Service&) {});
  group(json, "mgmt", ServiceKind::mgmt, [&](const map::Service& service) {
    json.put_boolean("active", map.cluster.active_mgmt == service.id);
  });
  group(json, "servers", ServiceKind::server, [&](const map::Service& service) {
    std::set<DiskId> missing, pending;
    for (const auto& [id, disk] : map.disks) {
      if (disk.server == service.id && !disk.up) missing.insert(id);
    }
    for (const auto& [id, set] : map.sets) {
      for (const DiskId disk : set.recovering) {
        const auto row = map.disks.find(disk);
        if (row != map.disks.end() && row->second.server == service.id && row->second.up)
          pending.insert(disk);
      }
    }
    json.put_numbers("missingDisks", missing).put_numbers("pendingDisks", pending);
  });
  json.end_object();
  context->reply(json.take());
}

void network_peers_list(const ContextPtr& context) {
  Json json;
  json.begin_object();
  for (const auto& [id, node] : context->map().nodes) {
    json.key(std::to_string(id)).begin_object();
    json.put("beaconStatus", node.up ? "NODE_UP" : "NODE_DOWN")
        .put("clusterStatus", node.up ? "CNODE_UP" : "CNODE_DOWN");
    json.put_boolean("joined", node.up).put_boolean("nonVoting", !node.voting);
    json.key("networks")
        .begin_object()
        .end_object()
        .key("rdma")
        .begin_object()
        .end_object()
        .end_object();
  }
  json.end_object();
  context->reply(json.take());
}

void tasks_list(const ContextPtr& context) {
  context->member().reports([context](Result<std::vector<member::ServiceReport>> reports) {
    if (!reports.ok()) return context->fail(reports.error());
    Json json;
    json.begin_array();
    for (const auto& service : *reports) {
      for (const auto& task : service.report.tasks) {
        json.begin_object().put_number("diskId", task.disk).put_number("transactionId", 0);
        json.put_number("allObjects", task.objects_all)
            .put_number("completedObjects", task.objects_completed);
        json.put_number("dispatchedObjects", task.objects_in_flight).end_object();
      }
    }
    json.end_array();
    context->reply(json.take());
  });
}

void fault_sets_list(const ContextPtr& context) {
  const map::Map& map = context->map();
  std::map<std::string, std::set<uint32_t>> sets;
  for (const auto& [id, node] : map.nodes) {
    if (!node.fault_set.empty()) sets[node.fault_set];
  }
  for (const auto& [id, service] : map.services) {
    const auto node = map.nodes.find(id.node);
    if (id.kind == ServiceKind::server && node != map.nodes.end() &&
        !node->second.fault_set.empty())
      sets[node->second.fault_set].insert(server_number(id));
  }
  Json json;
  json.begin_object();
  for (const auto& [name, servers] : sets)
    json.key(name).begin_object().put("name", name).put_numbers("servers", servers).end_object();
  json.end_object();
  context->reply(json.take());
}

}  // namespace sp::api
