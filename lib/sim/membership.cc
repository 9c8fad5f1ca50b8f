#include "sim/membership.h"

#include <algorithm>

namespace sp::sim {

namespace {

constexpr auto ask_again_after = std::chrono::milliseconds(700);
constexpr const char* group_name = "all";

const std::set<DiskId>& placed(const map::Map& map) {
  static const std::set<DiskId> none;
  const auto group = map.placement_groups.find(group_name);
  return group == map.placement_groups.end() ? none : group->second.disks;
}

bool in_a_set(const map::Map& map, DiskId disk) {
  return std::any_of(map.sets.begin(), map.sets.end(), [disk](const auto& entry) {
    const map::DiskSet& set = entry.second;
    for (const auto* list : {&set.acting, &set.recovering, &set.base, &set.target}) {
      if (std::find(list->begin(), list->end(), disk) != list->end()) return true;
    }
    return false;
  });
}

Management::Call group_call(const char* member, const std::vector<DiskId>& disks) {
  api::Json json;
  json.begin_object().put_numbers(member, disks).end_object();
  return Management::post(std::string("PlacementGroupUpdate/") + group_name, json.take());
}

Management::Call add_call(const map::Node& node) {
  api::Json json;
  json.begin_object().put_number("id", node.id).put("name", node.name);
  json.put("address", node.address).put_boolean("voting", node.voting).end_object();
  return Management::post("SpNodeAdd", json.take());
}

Management::Call remove_call(NodeId node) {
  return Management::post("SpNodeRemove/" + std::to_string(node), "{}");
}

bool is_older(const Versions& versions) { return !(versions == Versions()); }

}  // namespace

Membership::Membership(Cluster& cluster) : cluster_(cluster), changes_(cluster.nodes.size()) {
  for (const auto& node : cluster.nodes) {
    if (!node.belongs) changes_[node.id - 1u].stage = Stage::outside;
  }
}

bool Membership::may_leave(const Cluster::Node& node) const {
  return cluster_.management.of_node(node.id) == nullptr && node.clients.empty() && is_inside(node);
}

void Membership::join(Cluster::Node& node, bool voting) {
  Change& change = changes_[node.id - 1u];
  change.stage = Stage::joining;
  change.voting = voting;
  node.voting = voting;
  node.beacon.versions = {};  // there is no other way in: the command needs the newer level
  if (node.server) node.server->versions = {};
}

void Membership::leave(Cluster::Node& node, bool forget, bool hasty) {
  Change& change = changes_[node.id - 1u];
  change.stage = Stage::leaving;
  change.forget = forget;
  change.hasty = hasty;
}

void Membership::set_voting(NodeId node, bool voting) {
  cluster_.administrate(Management::post("SpNodeSetVoting/" + std::to_string(node),
                                         voting ? R"({"voting":true})" : R"({"voting":false})"));
}

void Membership::upgrade(Cluster::Node& node, bool beacon_only) {
  if (is_older(node.beacon.versions)) {
    node.beacon.versions = {};
    cluster_.end_beacon(node, io::SimHost::Death::process);
  }
  beacon_only = beacon_only && node.clients.empty();
  if (!beacon_only && node.server && is_older(node.server->versions)) {
    node.server->versions = {};
    cluster_.end_server(node, io::SimHost::Death::process);
  }
  if (!beacon_only) {
    for (const uint32_t client : node.clients)
      cluster_.end_client(cluster_.clients[client], io::SimHost::Death::process);
  }
  cluster_.start_node(node);
}

bool Membership::any_older() const {
  return std::any_of(cluster_.nodes.begin(), cluster_.nodes.end(), [](const Cluster::Node& node) {
    return is_older(node.beacon.versions) || (node.server && is_older(node.server->versions));
  });
}

void Membership::raise_level() {
  cluster_.administrate(
      Management::post("SpFeatureLevelRaise",
                       R"({"level":)" + std::to_string(Versions().feature_level_newest) + "}"));
}

bool Membership::may_ask(Change& change) {
  const io::Instant now = cluster_.world.now();
  if (now - change.asked_at < ask_again_after) return false;
  change.asked_at = now;
  return true;
}

void Membership::ask(Change& change, Management::Call call) {
  if (may_ask(change)) cluster_.administrate(std::move(call));
}

void Membership::remove(Cluster::Node& node, Change& change) {
  ++change.removals_open;
  cluster_.administrate(remove_call(node.id), [&change](const Management::Answer& answer) {
    --change.removals_open;
    if (answer.kind == Management::Answer::Kind::unknown) ++change.removals_unknown;
  });
}

void Membership::tend() {
  const map::Map* const map = cluster_.newest_map();
  if (map == nullptr || map->index < cluster_.newest_index()) return;
  for (auto& node : cluster_.nodes) go_on(node, changes_[node.id - 1u], *map);
  if (settling_) upgrade_rest();
}

void Membership::go_on(Cluster::Node& node, Change& change, const map::Map& map) {
  switch (change.stage) {
    case Stage::joining: return go_on_joining(node, change, map);
    case Stage::leaving: return go_on_leaving(node, change, map);
    case Stage::removed:
      // It has to find out by itself, and ends.
      if (node.beacon.up && node.beacon.failure.empty()) return;
      cluster_.note("node " + std::to_string(node.id) + " has left");
      cluster_.end_node(node, io::SimHost::Death::process);
      node.belongs = false;
      change.stage = Stage::outside;
      return;
    case Stage::inside:
    case Stage::outside: return;
  }
}

void Membership::go_on_joining(Cluster::Node& node, Change& change, const map::Map& map) {
  // A removal that is still on its way would be one of the node that has come back.
  if (map.nodes.count(node.id) == 0) {
    if (change.removals_open == 0) ask(change, add_call(cluster_.row_of(node)));
    return;
  }
  if (!node.belongs) {
    node.belongs = true;
    cluster_.start_node(node);
  }
  std::vector<DiskId> disks;
  if (node.server) {
    for (const DiskId disk : node.server->disks) {
      if (!map.disk_serves(disk)) return;
      if (placed(map).count(disk) == 0) disks.push_back(disk);
    }
  }
  if (!disks.empty()) return ask(change, group_call("addDisks", disks));
  cluster_.note("node " + std::to_string(node.id) + " has joined");
  change.stage = Stage::inside;
}

// With the ids of disks that died there, and were replaced under new ones.
std::set<DiskId> Membership::held_by(const Cluster::Node& node, const map::Map& map) const {
  std::set<DiskId> held;
  for (const auto& [id, disk] : map.disks)
    if (disk.server.node == node.id) held.insert(id);
  for (const auto& other : cluster_.nodes)
    if (other.server)
      for (const DiskId disk : other.server->disks) held.erase(disk);
  held.insert(node.server->disks.begin(), node.server->disks.end());
  return held;
}

void Membership::go_on_leaving(Cluster::Node& node, Change& change, const map::Map& map) {
  if (map.removed_nodes.count(node.id) != 0) {
    change.stage = Stage::removed;
    return;
  }
  if (std::exchange(change.hasty, false) && holds_its_disks(node, map)) return remove(node, change);
  std::vector<DiskId> disks;
  if (node.server) {
    const std::set<DiskId> held = held_by(node, map);
    for (const DiskId disk : held)
      if (placed(map).count(disk) != 0) disks.push_back(disk);
    if (!disks.empty() && !enough_without(node, map)) {
      // Placement has changed since: it stays.
      change.stage = Stage::joining;
      node.server->retired = false;
      return;
    }
    if (!disks.empty()) return ask(change, group_call("rmDisks", disks));
    for (const DiskId disk : held)
      if (in_a_set(map, disk)) return;
    node.server->retired = true;
    cluster_.end_server(node, io::SimHost::Death::process);
    if (!forget_disks(node, change, map)) return;
  }
  if (let_another_vote(node, change, map) && may_ask(change)) remove(node, change);
}

// Of one that came here from another node, and was never up here, the cluster does not know that it
// would leave too: nobody refuses to remove the node.
bool Membership::holds_its_disks(const Cluster::Node& node, const map::Map& map) {
  return !node.server ||
         std::all_of(node.server->disks.begin(), node.server->disks.end(), [&](DiskId disk) {
           const auto row = map.disks.find(disk);
           return row == map.disks.end() || row->second.server.node == node.id;
         });
}

// One that came here from another node, and was never up here, does not go with this one.
bool Membership::forget_disks(const Cluster::Node& leaving, Change& change, const map::Map& map) {
  for (const DiskId disk : leaving.server->disks) {
    const auto row = map.disks.find(disk);
    if (row == map.disks.end() || map.disk_serves(disk)) continue;
    if (!change.forget && row->second.server.node == leaving.id) continue;
    ask(change, Management::post("DiskForget/" + std::to_string(disk), "{}"));
    return false;
  }
  return true;
}

bool Membership::let_another_vote(const Cluster::Node& leaving, Change& change,
                                  const map::Map& map) {
  NodeId another = 0;
  for (const auto& [id, row] : map.nodes) {
    if (id == leaving.id) continue;
    if (row.voting) return true;
    if (another == 0 && is_inside(cluster_.node(id))) another = id;
  }
  if (another != 0 && may_ask(change)) set_voting(another, true);
  return false;
}

// Other nodes that stay have disks in the placement for all copies.
bool Membership::enough_without(const Cluster::Node& leaving, const map::Map& map) const {
  const auto has_disks = [&](const Cluster::Node& node) {
    if (!node.server || &node == &leaving || !is_inside(node)) return false;
    const auto& disks = node.server->disks;
    return std::any_of(disks.begin(), disks.end(),
                       [&](DiskId disk) { return placed(map).count(disk) != 0; });
  };
  const auto nodes = std::count_if(cluster_.nodes.begin(), cluster_.nodes.end(), has_disks);
  return static_cast<uint32_t>(nodes) >= cluster_.setup.copies;
}

void Membership::upgrade_rest() {
  for (auto& node : cluster_.nodes) {
    if (!is_older(node.beacon.versions) && (!node.server || !is_older(node.server->versions)))
      continue;
    upgrade(node, false);
    return;  // the next one at the next look
  }
  const map::Map& map = *cluster_.newest_map();
  const io::Instant now = cluster_.world.now();
  if (map.cluster.feature_level >= Versions().feature_level_newest ||
      now - raised_at_ < ask_again_after)
    return;
  raised_at_ = now;
  raise_level();
}

void Membership::settle() { settling_ = true; }

std::string Membership::unsettled() const {
  for (const auto& node : cluster_.nodes) {
    const Stage now = stage(node);
    const std::string who = "node " + std::to_string(node.id);
    if (now == Stage::joining) return who + " is joining";
    if (now == Stage::leaving) return who + " is leaving";
    if (now == Stage::removed) return who + " has not found out that it was removed";
  }
  const map::Map* const map = cluster_.newest_map();
  if (any_older()) return "older processes run";
  if (map == nullptr || map->cluster.feature_level < Versions().feature_level_newest)
    return "the feature level is not raised";
  return "";
}

std::string Membership::check() {
  const map::Map* const map = cluster_.newest_map();
  if (map == nullptr || map->index <= checked_index_) return "";
  checked_index_ = map->index;
  for (const auto& node : cluster_.nodes) {
    Change& change = changes_[node.id - 1u];
    const Stage now = change.stage;
    const std::string who = "node " + std::to_string(node.id);
    const bool known = map->nodes.count(node.id) != 0;
    if (!known && now == Stage::inside && change.removals_open + change.removals_unknown > 0)
      change.stage = Stage::removed;
    if (known && (now == Stage::outside || now == Stage::removed))
      return "membership: " + who + " is in the cluster again though nobody has added it";
    if (!known && change.stage == Stage::inside)
      return "membership: " + who + " is not in the cluster though nobody has removed it";
    if (known && map->cluster.feature_level > node.beacon.versions.feature_level_newest)
      return "versions: the feature level is " + std::to_string(map->cluster.feature_level) +
             " though the beacon of " + who + " does not know it";
  }
  for (const auto& [id, set] : map->sets) {
    for (const auto* list : {&set.acting, &set.recovering, &set.base, &set.target})
      for (const DiskId disk : *list)
        if (map->disks.count(disk) == 0)
          return "membership: disk " + std::to_string(disk) + " is not known but in set " +
                 std::to_string(id.index);
  }
  return "";
}

}  // namespace sp::sim
