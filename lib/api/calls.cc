#include "api/calls.h"

#include <fmt/format.h>

#include "api/expiry.h"

namespace sp::api {

namespace {

constexpr Call table[] = {
    {"GET", "ServicesList", services_list},
    {"GET", "ServersList", services_list},
    {"GET", "ServersListBlocked", services_list, true},
    {"GET", "NetworkPeersList", network_peers_list},
    {"GET", "TasksList", tasks_list},
    {"GET", "FaultSetsList", fault_sets_list},
    {"GET", "SpStatus", status_summary, true},
    {"GET", "SpNodesList", nodes_list},
    {"POST", "SpNodeAdd", node_add},
    {"POST", "SpNodeRemove/{node}", node_remove},
    {"POST", "SpNodeSetVoting/{node}", node_set_voting},
    {"POST", "SpFeatureLevelRaise", feature_level_raise},
    {"GET", "DisksList", disks_list},
    {"GET", "ServerDisksList/{server}", server_disks_list},
    {"GET", "DiskDescribe/{disk}", disk_describe},
    {"POST", "DiskSetDescription/{disk}", disk_set_description},
    {"POST", "DiskForget/{disk}", disk_forget},
    {"GET", "PlacementGroupsList", placement_groups_list},
    {"GET", "PlacementGroupDescribe/{group}", placement_group_describe},
    {"POST", "PlacementGroupUpdate/{group}", placement_group_update},
    {"POST", "PlacementGroupDelete/{group}", placement_group_delete},
    {"GET", "VolumeTemplatesList", templates_list},
    {"GET", "VolumeTemplatesStatus", templates_status},
    {"GET", "VolumeTemplateDescribe/{template}", template_describe},
    {"POST", "VolumeTemplateCreate", template_create},
    {"POST", "VolumeTemplateUpdate/{template}", template_update},
    {"POST", "VolumeTemplateDelete/{template}", template_delete},
    {"GET", "VolumesList", volumes_list},
    {"GET", "Volume/{volume}", volume_list_one},
    {"GET", "VolumeDescribe/{volume}", volume_describe},
    {"GET", "VolumeGetInfo/{volume}", volume_get_info},
    {"GET", "VolumesGetStatus", volumes_get_status},
    {"GET", "VolumesGetStatusQuick", volumes_get_status_quick},
    {"GET", "VolumeListSnapshots/{volume}", volume_list_snapshots},
    {"GET", "SnapshotsList", snapshots_list},
    {"GET", "Snapshot/{snapshot}", snapshot_list_one},
    {"GET", "SnapshotDescribe/{snapshot}", snapshot_describe},
    {"GET", "SnapshotGetInfo/{snapshot}", snapshot_get_info},
    {"POST", "VolumeSnapshot/{volume}", volume_snapshot},
    {"POST", "VolumesGroupSnapshot", volumes_group_snapshot},
    {"POST", "SnapshotUpdate/{snapshot}", snapshot_update},
    {"POST", "SnapshotDelete/{snapshot}", snapshot_delete},
    {"POST", "VolumeRevert/{volume}", volume_revert},
    {"POST", "VolumeCreate", volume_create},
    {"POST", "VolumeUpdate/{volume}", volume_update},
    {"POST", "VolumeDelete/{volume}", volume_delete},
    {"GET", "AttachmentsList", attachments_list},
    {"GET", "SpAttachmentsList", attachments_detailed},
    {"POST", "VolumesReassign", volumes_reassign},
    {"POST", "VolumesReassignWait", volumes_reassign_wait},
    {"GET", "KV", buckets_list},
    {"GET", "KV/List/{bucket}", bucket_list},
    {"GET", "KV/Get/{bucket}/{key...}", bucket_get},
    {"POST", "KV/Create/{bucket}", bucket_create},
    {"POST", "KV/Delete/{bucket}", bucket_delete},
    {"POST", "KV/Set/{bucket}", bucket_set},
};

// Whether `path` has the form of `pattern`; what {names} stand for goes to `arguments`.
bool matches(std::string_view pattern, std::string_view path, std::vector<std::string>& arguments) {
  arguments.clear();
  while (true) {
    const size_t pattern_end = std::min(pattern.find('/'), pattern.size());
    const std::string_view part = pattern.substr(0, pattern_end);
    if (part.ends_with("...}")) {
      arguments.emplace_back(path);
      return !path.empty();
    }
    const size_t path_end = std::min(path.find('/'), path.size());
    const std::string_view given = path.substr(0, path_end);
    if (part.starts_with('{')) {
      if (given.empty()) return false;
      arguments.emplace_back(given);
    } else if (part != given) {
      return false;
    }
    const bool pattern_over = pattern_end == pattern.size(), path_over = path_end == path.size();
    if (pattern_over || path_over) return pattern_over && path_over;
    pattern.remove_prefix(pattern_end + 1);
    path.remove_prefix(path_end + 1);
  }
}

// Takes as long for every wrong token of the right length: the answer's time tells nothing about
// the bytes.
bool same_secret(std::string_view a, std::string_view b) {
  if (a.size() != b.size() || b.empty()) return false;
  unsigned char difference = 0;
  for (size_t i = 0; i < a.size(); ++i) difference |= static_cast<unsigned char>(a[i] ^ b[i]);
  return difference == 0;
}

class ApiOverMember : public Api {
 public:
  ApiOverMember(io::Host& host, member::Member& member, ApiOptions options)
      : core_(std::make_shared<Core>(host, member, std::move(options))), expiry_(core_) {}
  ~ApiOverMember() override {
    core_->closed = true;
    core_->waits.clear();
    core_->changes.clear();
  }
  void handle(Request request, Callback<void(Response)> done) override {
    auto waiting = std::make_unique<std::pair<Request, Callback<void(Response)>>>(
        std::move(request), std::move(done));
    core_->host.reactor.post([core = core_, waiting = std::move(waiting)]() mutable {
      if (!core->closed)
        CallRunner::run(core, std::move(waiting->first), std::move(waiting->second));
    });
  }
  void map_changed() override {
    core_->look_at_waits();
    expiry_.map_changed();
  }
  std::string open_work() const override {
    if (core_->in_flight == 0 && core_->waits.empty() && core_->changes.empty()) return "";
    return fmt::format("{} requests, of which {} wait for the map, and {} changes in turn",
                       core_->in_flight, core_->waits.size(), core_->changes.size());
  }

 private:
  std::shared_ptr<Core> core_;
  Expiry expiry_;
};

}  // namespace

std::span<const Call> calls() { return table; }

std::unique_ptr<Api> Api::make(io::Host& host, member::Member& member, ApiOptions options) {
  return std::make_unique<ApiOverMember>(host, member, std::move(options));
}

void CallRunner::run(const std::shared_ptr<Core>& core, Request request,
                     Callback<void(Response)> done) {
  const bool crowded = core->in_flight >= limits::api_requests_in_flight_max;
  const auto context = std::make_shared<Context>(core, std::move(request), std::move(done));
  const Request& asked = context->request_;
  if (!same_secret(asked.token, core->options.token))
    return context->fail(
        names::not_authorised,
        "the request carries no valid token: send the header 'Authorization: Storpool v1:TOKEN'");
  if (crowded)
    return context->fail(names::busy, fmt::format("{} requests are in progress: try again",
                                                  limits::api_requests_in_flight_max));
  std::string_view path = asked.path;
  if (!path.starts_with(path_prefix))
    return context->fail(names::no_such_call, fmt::format("calls are found under {}", path_prefix));
  path.remove_prefix(path_prefix.size());
  if (path.starts_with("RemoteCommand/") || path.starts_with("MultiCluster/"))
    return context->fail(names::not_supported,
                         "this cluster is not connected to others: RemoteCommand and MultiCluster "
                         "are not available; call without them");

  const Call* found = nullptr;
  bool other_method = false;
  for (const Call& call : calls()) {
    if (!matches(call.path, path, context->arguments_)) continue;
    if (call.method == asked.method) {
      found = &call;
      break;
    }
    other_method = true;
  }
  if (found == nullptr && other_method)
    return context->fail(names::wrong_method,
                         fmt::format("{} is not called with {}", path, asked.method.substr(0, 16)));
  if (found == nullptr)
    return context->fail(
        names::no_such_call,
        fmt::format("there is no call {}: sp-api(7) lists them", path.substr(0, 200)));

  context->from_anyone_ = found->without_quorum;
  if (!found->without_quorum && !context->active()) {
    const map::Map& map = context->map();
    const auto& active = map.cluster.active_mgmt;
    if (active && *active != core->options.self) {
      const auto service = map.services.find(*active);
      return context->fail(*error_kind(names::not_active),
                           fmt::format("management is active on node {}", active->node),
                           service == map.services.end() ? "" : service->second.address);
    }
    return context->fail(
        names::no_quorum,
        "this management service has no lease: the beacons have no quorum, or cannot be reached");
  }
  if (!asked.json.empty()) {
    auto json = parse_json(asked.json);
    if (!json.ok()) return context->fail(json.error());
    context->json_ = std::move(json).value();
  }
  found->run(context);
}

}  // namespace sp::api
