// From nothing to a simulated cluster at work, as an administrator would do it.
#include <algorithm>

#include "disk/superblock.h"
#include "sim/cluster.h"

namespace sp::sim {

namespace {
constexpr const char* group_name = "all";
constexpr const char* template_name = "work";
constexpr auto format_again_after = std::chrono::milliseconds(5);
}  // namespace

member::Options Cluster::management_options(NodeId id) {
  member::Options member;
  member.key = key_;
  member.self = {cluster_id, 1, {ServiceKind::mgmt, id, 1}, 0};
  member.beacons = {{node(id).ip, beacon_port}};
  member.registration.address = node(id).ip + ":81";
  return member;
}

void Cluster::format_disk(const std::string& path, DiskId id,
                          std::function<void(uint64_t uuid)> done) {
  auto opened = tools_->host().disks.open(path, {});
  SP_ASSERT(opened.ok());
  if (timeline) tools_->host().log.debug("an empty disk is made", {{"disk", id}});
  struct Call {
    std::string path;
    DiskId id;
    std::function<void(uint64_t uuid)> done;
    std::unique_ptr<io::Disk> disk;
  };
  const auto call =
      std::make_shared<Call>(Call{path, id, std::move(done), std::move(opened).value()});
  disk::FormatOptions format;
  format.cluster = cluster_id;
  format.disk = id;
  format.write_in_full = false;
  format.minor = versions_at(path).disk_minor_newest;
  const auto layout = disk::plan_layout(call->disk->size_bytes(), format.minor);
  SP_ASSERT(layout.ok());
  format.layout = *layout;
  format.layout->log_bytes =
      std::min(format.layout->log_bytes, uint64_t{setup.disk_log_pages} * 4096);
  if (setup.disk_slots != 0) {
    const uint64_t slots = std::min<uint64_t>(disk::slot_count(*layout), setup.disk_slots);
    const uint64_t pages = (slots + disk::slots_per_table_page - 1) / disk::slots_per_table_page;
    format.layout->data_bytes = slots * limits::block_bytes;
    format.layout->table_bytes = 2 * pages * disk::table_page_bytes;
  }
  disk::format(tools_->host(), *call->disk, format,
               [this, call](const Result<disk::Superblock>& superblock) {
                 const uint64_t uuid = superblock.ok() ? superblock->uuid : 0;
                 // In a later turn: a completion must not destroy its disk.
                 world.at(format_again_after, [this, call, uuid] {
                   call->disk.reset();
                   if (uuid != 0) return call->done(uuid);
                   format_disk(call->path, call->id, std::move(call->done));
                 });
               });
}

// What an administrator uses there.
Versions Cluster::versions_at(const std::string& path) const {
  for (const auto& node : nodes) {
    if (!node.server) continue;
    const auto& paths = node.server->paths;
    if (std::find(paths.begin(), paths.end(), path) != paths.end()) return node.server->versions;
  }
  return {};
}

void Cluster::format_disks() {
  size_t open = 0;
  for (auto& node : nodes) {
    if (!node.server) continue;
    for (size_t i = 0; i < node.server->paths.size(); ++i) {
      const std::string& path = node.server->paths[i];
      const Status added = world.disks().add(path, setup.disk_bytes);
      SP_ASSERT(added.ok());
      ++open;
      format_disk(path, node.server->disks[i], [&open](uint64_t) { --open; });
    }
  }
  const bool done = world.run_until([&] { return open == 0; }, std::chrono::seconds(60));
  SP_ASSERT(done);
}

std::string Cluster::form() {
  for (auto& node : nodes) {
    if (node.belongs) start_beacon(node, node.id == 1);
  }
  const auto formed = [&] {
    if (leader() == nullptr) return false;
    const uint32_t voters = setup.storage_nodes + (setup.witness ? 1 : 0);
    return std::all_of(nodes.begin(), nodes.end(), [&](const Node& node) {
      if (!node.belongs) return true;
      const auto view = node.beacon.beacon->view();
      return view.started && view.voters == voters && view.members == rows_.size() &&
             node.beacon.beacon->map()->nodes.size() == rows_.size();
    });
  };
  if (!world.run_until(formed, std::chrono::seconds(30)))
    return "the beacons do not become one cluster";
  for (auto& node : nodes) {
    if (node.belongs) start_server(node);
  }
  const auto serves = [&] {
    const map::Map* const map = newest_map();
    return std::all_of(nodes.begin(), nodes.end(), [&](const Node& node) {
      return !node.server || !node.belongs ||
             std::all_of(node.server->disks.begin(), node.server->disks.end(),
                         [&](DiskId disk) { return map->disk_serves(disk); });
    });
  };
  if (!world.run_until(serves, std::chrono::seconds(30)))
    return "the servers do not register their disks";
  for (auto& process : management.processes()) management.start(process);
  return "";
}

std::string Cluster::call_now(Management::Call call, api::Value* data) {
  std::optional<Management::Answer> answer;
  const std::string what = call.path;
  management.call(std::move(call), 100, [&answer](const auto& given) { answer = given; });
  if (!world.run_until([&] { return answer.has_value(); }, std::chrono::seconds(20)))
    return what + ": no answer";
  if (data != nullptr) *data = answer->data;
  return answer->ok() ? "" : what + ": " + answer->error + ": " + answer->text;
}

std::string Cluster::configure() {
  api::Json group;
  std::vector<DiskId> disks;
  for (const auto& node : nodes) {
    if (node.server && node.belongs)
      disks.insert(disks.end(), node.server->disks.begin(), node.server->disks.end());
  }
  group.begin_object().put_numbers("addDisks", disks).end_object();
  auto wrong =
      call_now(Management::post(std::string("PlacementGroupUpdate/") + group_name, group.take()));
  if (!wrong.empty()) return wrong;
  api::Json put;
  put.begin_object().put("name", template_name).put("placeAll", group_name);
  put.put_number("replication", setup.copies).put_number("minCopies", setup.min_copies);
  put.put_number("diskSets", setup.sets).end_object();
  wrong = call_now(Management::post("VolumeTemplateCreate", put.take()));
  if (!wrong.empty()) return wrong;
  for (uint32_t i = 0; i < setup.volumes; ++i) {
    const std::string name = "volume" + std::to_string(i + 1);
    api::Json create;
    create.begin_object().put("name", name).put("template", template_name);
    create.put_number("size", setup.volume_bytes).end_object();
    if (wrong = call_now(Management::post("VolumeCreate", create.take())); !wrong.empty())
      return wrong;
    api::Value list;
    if (wrong = call_now(Management::get("Volume/" + name), &list); !wrong.empty()) return wrong;
    volumes.push_back(
        static_cast<VolumeId>(list.elements()[0]["visibleVolumeId"].integer_or_zero()));
  }
  return "";
}

std::string Cluster::start() {
  SP_ASSERT_OP(clients.size(), >=, setup.volumes);
  format_disks();
  if (auto wrong = form(); !wrong.empty()) return wrong;
  if (auto wrong = configure(); !wrong.empty()) return wrong;
  // One per client node in turn.
  for (uint32_t i = 0; i < setup.volumes; ++i) {
    const uint32_t position =
        i % setup.client_nodes * setup.clients_per_node + i / setup.client_nodes;
    start_client(clients[position], volumes[i], false);
  }
  const auto ready = [&] { return unsettled().empty(); };
  if (!world.run_until(ready, std::chrono::seconds(20)))
    return "the new cluster does not get to work: " + unsettled();
  return "";
}

}  // namespace sp::sim
