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

void Cluster::start_mgmt() {
  member::Options member;
  member.key = key_;
  member.self = {cluster_id, 1, {ServiceKind::mgmt, nodes[0].id, 1}, world.random().number() | 1};
  member.beacons = {{nodes[0].ip, beacon_port}};
  member.registration.id = member.self.service;
  member.registration.start_id = member.self.start_id;
  mgmt_ = member::Member::start(mgmt_host_->host(), std::move(member), {});
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
  for (auto& node : nodes) start_beacon(node, node.id == 1);
  const auto formed = [&] {
    if (leader() == nullptr) return false;
    const uint32_t voters = setup.storage_nodes + (setup.witness ? 1 : 0);
    return std::all_of(nodes.begin(), nodes.end(), [&](const Node& node) {
      const auto view = node.beacon.beacon->view();
      return view.started && view.voters == voters && view.members == nodes.size() &&
             node.beacon.beacon->map()->nodes.size() == nodes.size();
    });
  };
  if (!world.run_until(formed, std::chrono::seconds(30)))
    return "the beacons do not become one cluster";
  for (auto& node : nodes) start_server(node);
  const auto serves = [&] {
    const map::Map* const map = newest_map();
    return std::all_of(nodes.begin(), nodes.end(), [&](const Node& node) {
      return !node.server || std::all_of(node.server->disks.begin(), node.server->disks.end(),
                                         [&](DiskId disk) { return map->disk_serves(disk); });
    });
  };
  if (!world.run_until(serves, std::chrono::seconds(30)))
    return "the servers do not register their disks";
  start_mgmt();
  return "";
}

std::string Cluster::agree(const map::Command& command) {
  std::optional<Result<uint64_t>> result;
  mgmt_->command(command, [&result](Result<uint64_t> answer) { result = std::move(answer); });
  if (!world.run_until([&] { return result.has_value(); }, std::chrono::seconds(20)))
    return "no answer to a command";
  return result->ok() ? "" : result->error().message();
}

std::string Cluster::configure() {
  map::UpdatePlacementGroup group;
  group.name = group_name;
  for (const auto& node : nodes) {
    if (node.server)
      group.add.insert(group.add.end(), node.server->disks.begin(), node.server->disks.end());
  }
  if (auto wrong = agree(group); !wrong.empty()) return "placement group: " + wrong;
  map::PutTemplate put;
  put.row.name = template_name;
  put.row.copies = setup.copies;
  put.row.min_copies = setup.min_copies;
  put.row.place_all = group_name;
  put.set_count = setup.sets;
  if (auto wrong = agree(put); !wrong.empty()) return "template: " + wrong;
  for (uint32_t i = 0; i < setup.volumes; ++i) {
    map::CreateVolume create;
    create.name = "volume" + std::to_string(i + 1);
    create.size_bytes = setup.volume_bytes;
    create.template_name = template_name;
    if (auto wrong = agree(create); !wrong.empty()) return create.name + ": " + wrong;
    volumes.push_back(mgmt_->map().find_volume(create.name)->id);
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
