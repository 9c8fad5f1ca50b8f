// What recoverable() has to know of a simulated cluster, and what is open in it.
#include <algorithm>

#include "disk/superblock.h"
#include "sim/cluster.h"

namespace sp::sim {

namespace {
constexpr size_t guests_of_others = 16;  // clients of photographers, and more

Health beacon_health(const Cluster::Node& node, io::SimWorld& world) {
  const auto& process = node.beacon;
  if (!process.up || !process.failure.empty()) return Health::gone;
  const bool works = !process.host->paused() && process.beacon->view().started &&
                     !world.disks().hampered("/log" + std::to_string(node.id));
  return works ? Health::well : Health::ailing;
}

NodeFacts node_facts(const Cluster::Node& node, io::SimWorld& world) {
  NodeFacts facts{node.id, beacon_health(node, world), {}, false};
  if (!node.beacon.up || !node.beacon.failure.empty()) return facts;
  const auto view = node.beacon.beacon->view();
  if (!view.voter) return facts;
  facts.able = !view.abstains;
  for (const auto& member : node.beacon.beacon->group()) {
    if (member.voter) facts.voters.insert(member.node);
  }
  return facts;
}

Health link_health(const std::string& from, const std::string& to, io::SimWorld& world) {
  if (world.net().flows(from, to)) return Health::well;
  return world.net().is_up(from, to) ? Health::ailing : Health::gone;
}

// What the cluster does not take for the disk whose id it has.
bool is_another(const map::Map* map, DiskId disk, const std::string& path, io::SimWorld& world) {
  if (map == nullptr || map->disks.count(disk) == 0) return false;
  Buffer page = Buffer::allocate(disk::superblock_bytes);
  world.disks().peek(path, 0, page.mutable_bytes());
  const auto superblock = disk::decode_superblock(page.bytes());
  return superblock.ok() && superblock->uuid != map->disks.at(disk).uuid;
}

Health disk_health(const Cluster::ServerProcess& process, size_t place, io::SimWorld& world,
                   const map::Map* map) {
  if (!process.up || !process.server) return Health::gone;
  if (process.host->paused() || world.disks().hampered(process.paths[place])) return Health::ailing;
  const DiskId disk = process.disks[place];
  const auto held = process.server->disks();
  if (std::find(held.begin(), held.end(), disk) != held.end())
    return is_another(map, disk, process.paths[place], world) ? Health::gone : Health::well;
  return process.server->all_opened() ? Health::gone : Health::ailing;
}

}  // namespace

Situation Cluster::situation() {
  Situation out;
  out.map = newest_map();
  if (out.map != nullptr) out.map_index = out.map->index;
  out.network_well = !world.net().hampered();
  const bool all_flows = world.net().all_flows();
  for (const Node& from : nodes) {
    out.nodes.push_back(node_facts(from, world));
    std::vector<Health>& row = out.links.emplace_back(nodes.size(), Health::well);
    for (size_t to = 0; to < nodes.size() && !all_flows; ++to)
      row[to] = link_health(from.ip, nodes[to].ip, world);
    if (!from.server) continue;
    for (size_t i = 0; i < from.server->disks.size(); ++i)
      out.disks[from.server->disks[i]] = {from.id, disk_health(*from.server, i, world, out.map)};
  }
  for (const VolumeId volume : volumes) {
    const ClientProcess* const process = holder_of(volume);
    VolumeFacts facts;
    facts.volume = volume;
    if (process != nullptr) {
      facts.client_node = process->node;
      facts.client_start = process->session;
      if (process->up) facts.client = process->host->paused() ? Health::ailing : Health::well;
    }
    out.volumes.push_back(facts);
  }
  return out;
}

io::Duration Cluster::wait_of(VolumeId volume) {
  const ClientProcess* const process = holder_of(volume);
  if (process == nullptr || !process->up) return {};
  if (!process->attached || process->fenced) return io::Duration::max();
  const auto counters = process->attached->volume().counters();
  if (counters.in_flight == 0) return {};
  return std::chrono::milliseconds(counters.oldest_request_ms);
}

std::string Cluster::wait_text(VolumeId volume) {
  const ClientProcess* const process = holder_of(volume);
  if (process == nullptr || !process->up) return "";
  const std::string name = process->host->name() + ": ";
  if (!process->attached || process->fenced) {
    const std::string what = process->attempt ? process->attempt->waits_for() : "";
    return name + "volume " + std::to_string(volume) +
           " is not attached: " + (process->fenced ? "it was fenced" : what);
  }
  return name + process->attached->volume().waits_for();
}

std::string Cluster::leaks() {
  std::string text;
  const auto add = [&text](const std::string& who, const std::string& what) {
    if (!what.empty()) text += (text.empty() ? "" : "; ") + who + ": " + what;
  };
  for (const Node& node : nodes) {
    if (!node.server || !node.server->server) continue;
    add(node.server->host->name(), node.server->server->open_work());
    add(node.server->host->name(), node.server->member->waits_for());
  }
  for (const ClientProcess& process : clients) {
    if (!process.attached) continue;
    const auto counters = process.attached->volume().counters();
    if (counters.in_flight + counters.requests_open > 0)
      add(process.host->name(), std::to_string(counters.in_flight) + " operations and " +
                                    std::to_string(counters.requests_open) + " requests");
    add(process.host->name(), process.attached->member().waits_for());
  }
  add("management", management.pending());
  // A connection each way between two, at most, and one to a beacon that was left lately.
  const size_t beacons = nodes.size(), servers = nodes.size();
  const size_t members =
      servers + clients.size() + management.processes().size() + guests_of_others;
  const size_t most = beacons * beacons + servers * servers + 2 * members +
                      (clients.size() + guests_of_others) * servers;
  if (world.net().connection_count() > most)
    add("network", std::to_string(world.net().connection_count()) + " connections, " +
                       std::to_string(most) + " at most are of use");
  for (const Node& node : nodes) {
    if (node.beacon.up && node.beacon.beacon->view().commands_open > 0)
      add(node.beacon.host->name(),
          std::to_string(node.beacon.beacon->view().commands_open) + " commands");
  }
  return text;
}

}  // namespace sp::sim
