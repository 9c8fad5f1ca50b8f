// SpStatus: one screen of health. Severity: "ok", "warning" (redundancy or spare capacity is
// reduced), "critical" (something does not serve).
#include <fmt/format.h>

#include <algorithm>

#include "api/calls.h"
#include "api/fields.h"
#include "api/views.h"
#include "base/units.h"

namespace sp::api {

namespace {

constexpr uint64_t waiting_request_ms_worth_saying = 2000;
constexpr uint64_t fill_percent_warning = 90, fill_percent_critical = 97;
constexpr size_t warnings_shown_max = 200;

struct Findings {
  std::vector<std::pair<bool, std::string>> all;  // critical?, text
  void warn(std::string text) { all.emplace_back(false, std::move(text)); }
  void critical(std::string text) { all.emplace_back(true, std::move(text)); }
};

std::string service_text(ServiceId id) {
  switch (id.kind) {
    case ServiceKind::beacon: return fmt::format("beacon on node {}", id.node);
    case ServiceKind::server: return fmt::format("server {} on node {}", id.instance, id.node);
    case ServiceKind::client: return fmt::format("client on node {}", id.node);
    case ServiceKind::mgmt: return fmt::format("management on node {}", id.node);
  }
  SP_UNREACHABLE();
}

void put_counts(Json& json, std::string_view name, uint64_t up, uint64_t all) {
  json.key(name).begin_object().put_number("up", up).put_number("all", all).end_object();
}

void put_cluster(Json& json, Context& context, bool quorum) {
  const map::Cluster& cluster = context.map().cluster;
  json.key("cluster")
      .begin_object()
      .put("name", cluster.name)
      .put("id", fmt::format("{:016x}", cluster.id))
      .put_number("index", context.map().index);
  json.put_number("incarnation", cluster.incarnation).put_boolean("quorum", quorum);
  json.put_number("featureLevel", cluster.feature_level);
  json.put_number("activeMgmt", cluster.active_mgmt ? cluster.active_mgmt->node : 0).end_object();
}

void put_nodes(Json& json, const map::Map& map, Findings& findings) {
  uint64_t up = 0, voting = 0, voting_up = 0;
  for (const auto& [id, node] : map.nodes) {
    up += node.up;
    voting += node.voting;
    voting_up += node.voting && node.up;
    if (!node.up) findings.warn(fmt::format("node {} ({}) is down", id, node.name));
  }
  put_counts(json, "nodes", up, map.nodes.size());
  put_counts(json, "voters", voting_up, voting);
  if (voting > 2 && voting_up <= voting / 2 + 1 && voting_up < voting)
    findings.warn("quorum hangs on every voting node that is up: one more lost stops the cluster");
}

void put_services(Json& json, const map::Map& map, Findings& findings) {
  uint64_t up[5] = {}, all[5] = {};
  for (const auto& [id, service] : map.services) {
    ++all[static_cast<size_t>(id.kind)];
    up[static_cast<size_t>(id.kind)] += service.up;
    const auto node = map.nodes.find(id.node);
    if (!service.up && id.kind != ServiceKind::client && node != map.nodes.end() && node->second.up)
      findings.warn(service_text(id) + " is down");
  }
  put_counts(json, "servers", up[2], all[2]);
  put_counts(json, "clients", up[3], all[3]);
  put_counts(json, "mgmt", up[4], all[4]);
}

void put_disks(Json& json, const map::Map& map, const std::vector<member::ServiceReport>& reports,
               Findings& findings) {
  uint64_t up = 0, capacity = 0, used = 0;
  std::map<DiskId, const member::DiskReport*> usage;
  for (const auto& service : reports) {
    for (const auto& disk : service.report.disks) usage[disk.disk] = &disk;
  }
  for (const auto& [id, disk] : map.disks) {
    if (!map.disk_serves(id)) {
      findings.warn(disk.failure.empty()
                        ? fmt::format("disk {} on node {} is down", id, disk.server.node)
                        : fmt::format("disk {} on node {} was retired: {}", id, disk.server.node,
                                      disk.failure));
      continue;
    }
    ++up;
    capacity += disk.capacity_bytes;
    const auto report = usage.find(id);
    if (report == usage.end() || report->second->blocks_total == 0) continue;
    used += report->second->blocks_used * limits::block_bytes;
    const uint64_t percent =
        std::max(report->second->blocks_used * 100 / report->second->blocks_total,
                 report->second->objects_total == 0
                     ? 0
                     : report->second->objects_used * 100 / report->second->objects_total);
    if (percent >= fill_percent_critical)
      findings.critical(fmt::format("disk {} is {} % full", id, percent));
    else if (percent >= fill_percent_warning)
      findings.warn(fmt::format("disk {} is {} % full", id, percent));
  }
  put_counts(json, "disks", up, map.disks.size());
  json.key("space")
      .begin_object()
      .put_number("capacity", capacity)
      .put_number("used", used)
      .end_object();
}

// What a set that does not serve waits for, as the map tells it.
std::string why_waits(const map::Map& map, const SetState& state) {
  if (state.soon) return "its primary makes the copies agree";
  std::string missing;
  for (const DiskId disk : state.set->base) {
    if (!map.disk_serves(disk)) missing += fmt::format("{}{}", missing.empty() ? "" : ", ", disk);
  }
  return missing.empty() ? "no copy is up" : "waits for one of the disks " + missing;
}

void put_sets(Json& json, const map::Map& map, Findings& findings) {
  uint64_t all = 0, degraded = 0, recovering = 0, migrating = 0, waiting = 0, below = 0;
  std::map<std::string, uint64_t> reasons;
  for (const auto& [id, group] : map.groups) {
    if (!group.warning.empty())
      findings.warn(fmt::format("template {}: {}", group.template_name, group.warning));
  }
  for (const auto& [id, set] : map.sets) {
    const auto group = map.groups.find(id.group);
    if (group == map.groups.end()) continue;
    const SetState state = state_of(map, set, group->second.copies);
    ++all;
    degraded += state.degraded;
    recovering += state.recovering;
    migrating += state.migrating;
    below += state.serves && set.acting.size() < group->second.min_copies;
    if (state.serves) continue;
    ++waiting;
    ++reasons[why_waits(map, state)];
  }
  json.key("sets")
      .begin_object()
      .put_number("all", all)
      .put_number("degraded", degraded)
      .put_number("recovering", recovering);
  json.put_number("migrating", migrating)
      .put_number("waiting", waiting)
      .put_number("readOnly", below)
      .end_object();
  for (const auto& [reason, count] : reasons)
    findings.critical(fmt::format("{} disk sets do not serve: {}", count, reason));
  if (below > 0)
    findings.critical(
        fmt::format("{} disk sets have fewer than min_copies: writes wait, reads go on", below));
  if (degraded > 0)
    findings.warn(fmt::format("{} of {} disk sets have fewer copies than they should{}", degraded,
                              all, recovering > 0 ? ", recovery runs" : ""));
}

void put_volumes(Json& json, const map::Map& map) {
  uint64_t snapshots = 0, size = 0;
  for (const auto& [id, volume] : map.volumes) {
    const bool snapshot = map::is_snapshot(map, id);
    snapshots += snapshot;
    if (!snapshot) size += volume.size_bytes;
  }
  json.key("volumes")
      .begin_object()
      .put_number("all", map.volumes.size() - snapshots)
      .put_number("attached", map.attachments.size())
      .put_number("size", size)
      .put_number("snapshots", snapshots)
      .end_object();
}

void put_tasks(Json& json, const std::vector<member::ServiceReport>& reports) {
  json.key("tasks").begin_array();
  for (const auto& service : reports) {
    for (const auto& task : service.report.tasks) {
      json.begin_object()
          .put("kind", "recovery")
          .put_number("disk", task.disk)
          .put_number("objectsAll", task.objects_all);
      json.put_number("objectsCompleted", task.objects_completed)
          .put_number("objectsInFlight", task.objects_in_flight);
      json.put_number("bytesMoved", task.bytes_moved).end_object();
    }
  }
  json.end_array();
}

void put_waiting(Json& json, const map::Map& map, const std::vector<member::ServiceReport>& reports,
                 Findings& findings) {
  json.key("waiting").begin_array();
  for (const auto& service : reports) {
    for (const auto& set : service.report.sets) {
      json.begin_object()
          .put("where", service_text(service.service))
          .put("what", fmt::format("{} writes of disk set {}.{}", set.writes_waiting, set.set.group,
                                   set.set.index));
      json.put("for", set.waits_for).end_object();
      const std::string who = fmt::format("disk set {}.{}", set.set.group, set.set.index);
      findings.critical(
          set.writes_waiting == 0
              ? fmt::format("{} waits for {}", who, set.waits_for)
              : fmt::format("{} writes of {} wait for {}", set.writes_waiting, who, set.waits_for));
    }
    for (const auto& [id, age_ms] : service.report.requests_waiting) {
      if (age_ms < waiting_request_ms_worth_saying) continue;
      const auto volume = map.volumes.find(id);
      const std::string name = volume == map.volumes.end() ? "~" + global_id(map.cluster.id, id)
                                                           : shown_name(map, volume->second);
      json.begin_object()
          .put("where", service_text(service.service))
          .put("what", "requests of volume " + name);
      json.put("for", "an answer since " + format_duration(std::chrono::milliseconds(age_ms)))
          .end_object();
      findings.critical(fmt::format("{}: volume {} waits for an answer since {}",
                                    service_text(service.service), name,
                                    format_duration(std::chrono::milliseconds(age_ms))));
    }
    for (const ServiceId peer : service.report.unreachable)
      findings.warn(
          fmt::format("{} cannot reach {}", service_text(service.service), service_text(peer)));
  }
  json.end_array();
}

void put_findings(Json& json, const Findings& findings) {
  bool critical = false;
  json.key("warnings").begin_array();
  size_t shown = 0;
  for (const bool severe : {true, false}) {
    for (const auto& [is_critical, text] : findings.all) {
      if (is_critical != severe) continue;
      critical = critical || severe;
      if (++shown > warnings_shown_max) continue;
      json.begin_object()
          .put("severity", severe ? "critical" : "warning")
          .put("text", text)
          .end_object();
    }
  }
  json.end_array().put("severity", critical ? "critical" : findings.all.empty() ? "ok" : "warning");
}

void report_status(const ContextPtr& context,
                   const Result<std::vector<member::ServiceReport>>& reports) {
  static const std::vector<member::ServiceReport> none;
  const map::Map& map = context->map();
  const bool quorum =
      map.index != 0 && context->host().clock.now() < context->member().lease_until();
  const auto& known = reports.ok() ? *reports : none;
  Findings findings;
  if (map.index == 0)
    findings.critical("no cluster map yet: the beacons have no quorum, or cannot be reached");
  else if (!quorum)
    findings.critical("no quorum: what follows is the last that was known");
  else if (!reports.ok())
    findings.warn("no reports of services: " + reports.error().message());
  if (quorum && !map.cluster.active_mgmt) findings.warn("no management service is active");
  Json json;
  json.begin_object();
  put_cluster(json, *context, quorum);
  put_nodes(json, map, findings);
  put_services(json, map, findings);
  put_disks(json, map, known, findings);
  put_sets(json, map, findings);
  put_volumes(json, map);
  put_tasks(json, known);
  put_waiting(json, map, known, findings);
  put_findings(json, findings);
  json.end_object();
  context->reply(json.take());
}

}  // namespace

void status_summary(const ContextPtr& context) {
  if (!context->member().connected())
    return report_status(context, Error(Code::unreachable, "not connected to a beacon"));
  context->member().reports([context](Result<std::vector<member::ServiceReport>> reports) {
    report_status(context, reports);
  });
}

}  // namespace sp::api
