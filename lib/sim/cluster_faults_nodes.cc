// Nodes of a simulated cluster that come, go, vote, and are upgraded.
#include <algorithm>

#include "sim/cluster_faults.h"

namespace sp::sim {

Cluster::Node& ClusterFaults::any_node(const Draws& draws) {
  std::vector<Cluster::Node*> nodes;
  for (auto& node : cluster_.nodes) {
    if (node.belongs) nodes.push_back(&node);
  }
  return *nodes[draws->below(nodes.size())];
}

std::vector<Cluster::Node*> ClusterFaults::storage() {
  std::vector<Cluster::Node*> nodes;
  for (auto& node : cluster_.nodes) {
    if (node.server && membership_.is_inside(node)) nodes.push_back(&node);
  }
  return nodes;
}

// With its old log, with an empty one, or with nothing of what its beacon kept.
void ClusterFaults::join(const Draws& draws) {
  std::vector<Cluster::Node*> outside;
  for (auto& node : cluster_.nodes) {
    if (membership_.is_outside(node)) outside.push_back(&node);
  }
  const uint64_t keeps = draws->below(3);
  const bool voting = draws->below(4) != 0;
  const uint64_t which = draws->number();
  if (outside.empty()) return;
  Cluster::Node& node = *outside[which % outside.size()];
  const std::string number = std::to_string(node.id);
  auto& disks = cluster_.world.disks();
  if (keeps < 2 && disks.exists("/log" + number)) disks.remove("/log" + number);
  if (keeps < 1 && disks.exists("/snapshot" + number)) disks.remove("/snapshot" + number);
  cluster_.note("node " + number + " joins");
  if (node.server) node.server->retired = false;
  membership_.join(node, voting);
}

// Often the one that leads. Enough have to be left for all copies.
void ClusterFaults::leave(const Draws& draws) {
  const bool forget = draws->below(2) == 0, hasty = draws->below(4) == 0;
  const bool lead = draws->below(3) == 0;
  const uint64_t which = draws->number();
  const size_t stay = cluster_.setup.copies + (outside_ != 0 ? 1u : 0u);
  std::vector<Cluster::Node*> may;
  for (auto& node : cluster_.nodes) {
    if (!membership_.may_leave(node)) continue;
    if (!node.server || (storage().size() > stay && is_untouched(node))) may.push_back(&node);
  }
  if (may.empty()) return;
  Cluster::Node* node = may[which % may.size()];
  if (Cluster::Node* const leader = cluster_.leader();
      lead && std::find(may.begin(), may.end(), leader) != may.end())
    node = leader;
  cluster_.note("node " + std::to_string(node->id) + " leaves");
  membership_.leave(*node, forget, hasty);
}

bool ClusterFaults::is_untouched(Cluster::Node& node) const {
  for (size_t i = 0; i < node.server->disks.size(); ++i)
    if (!is_untouched(Slot{&node, i})) return false;
  return true;
}

// Any node, the leader too.
void ClusterFaults::change_voting(const Draws& draws) {
  const NodeId node = any_node(draws).id;
  const map::Map* const map = cluster_.newest_map();
  if (map == nullptr || map->nodes.count(node) == 0) return;
  membership_.set_voting(node, !map->nodes.at(node).voting);
}

// One node after the other, in any order; the administrator may forget to wait for the last one.
void ClusterFaults::upgrade(const Draws& draws) {
  const bool beacon_only = draws->below(3) == 0, hasty = draws->below(3) == 0;
  const uint64_t which = draws->number();
  std::vector<Cluster::Node*> older;
  for (auto& node : cluster_.nodes) {
    const bool beacon = !(node.beacon.versions == Versions());
    const bool server = node.server && !(node.server->versions == Versions());
    if (beacon || server) older.push_back(&node);
  }
  if (!older.empty()) membership_.upgrade(*older[which % older.size()], beacon_only);
  if (older.size() <= 1 || hasty) membership_.raise_level();
}

}  // namespace sp::sim
