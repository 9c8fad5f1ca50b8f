#include "sim/recoverable.h"

#include <algorithm>
#include <set>

namespace sp::sim {

namespace {

// The nodes whose beacons are well and reach each other both ways; the one with the most broken
// links is left out first.
class Core {
 public:
  explicit Core(const Situation& situation) : situation_(situation) {
    for (const NodeFacts& node : situation.nodes) {
      if (node.beacon == Health::well) nodes_.insert(node.node);
    }
    for (;;) {
      NodeId worst = 0;
      size_t most = 0;
      for (const NodeId node : nodes_) {
        const auto broken = static_cast<size_t>(std::count_if(
            nodes_.begin(), nodes_.end(), [&](NodeId other) { return !both_ways(node, other); }));
        if (broken > most) most = broken, worst = node;
      }
      if (worst == 0) break;
      nodes_.erase(worst);
    }
  }

  bool contains(NodeId node) const { return nodes_.contains(node); }
  Health link(NodeId from, NodeId to) const {
    return from == to ? Health::well : situation_.links[from - 1u][to - 1u];
  }
  bool both_ways(NodeId a, NodeId b) const {
    return link(a, b) == Health::well && link(b, a) == Health::well;
  }
  // Nobody of the core hears the node, and it hears nobody of them.
  bool cut_off(NodeId node) const {
    return std::none_of(nodes_.begin(), nodes_.end(), [&](NodeId other) {
      return link(node, other) != Health::gone || link(other, node) != Health::gone;
    });
  }
  // Why nothing needs to be agreed, or nothing.
  std::string excuse() const {
    if (!situation_.network_well) return "links lose or hold back what is sent";
    std::set<std::set<NodeId>> groups;
    for (const NodeFacts& node : situation_.nodes) {
      if (contains(node.node)) {
        if (!node.voters.empty()) groups.insert(node.voters);
      } else if (node.beacon != Health::gone && !cut_off(node.node)) {
        return "node " + std::to_string(node.node) + " is neither well nor gone";
      }
    }
    if (groups.empty()) return "no voting beacon";
    for (const auto& voters : groups) {
      const auto here =
          static_cast<size_t>(std::count_if(voters.begin(), voters.end(), [this](NodeId node) {
            return contains(node) && able(node);
          }));
      if (here * 2 <= voters.size()) return "no majority of the voting beacons";
    }
    return "";
  }
  bool able(NodeId node) const { return situation_.nodes[node - 1u].able; }
  std::string text() const {
    std::string text = "nodes";
    for (const NodeId node : nodes_) text += " " + std::to_string(node) + (able(node) ? "v" : "");
    return text;
  }

 private:
  const Situation& situation_;
  std::set<NodeId> nodes_;
};

class Judge {
 public:
  explicit Judge(const Situation& situation) : situation_(situation), core_(situation) {}

  Verdict judge(const VolumeFacts& facts) const {
    Verdict verdict;
    verdict.volume = facts.volume;
    verdict.grounds = core_.text() + ", client " + std::to_string(facts.client_start) + ", disks";
    verdict.excuse = excuse(facts, verdict.grounds);
    return verdict;
  }

 private:
  std::string excuse(const VolumeFacts& facts, std::string& grounds) const {
    if (situation_.map == nullptr) return "no beacon runs";
    if (std::string common = core_.excuse(); !common.empty()) return common;
    if (facts.client != Health::well) return "its client does not run";
    if (!core_.contains(facts.client_node)) return "its client's node is cut off";
    const auto volume = situation_.map->volumes.find(facts.volume);
    if (volume == situation_.map->volumes.end()) return "it is not there";
    for (const auto& [id, row] : situation_.map->sets) {
      if (id.group != volume->second.group) continue;
      if (std::string why = set_excuse(row, grounds); !why.empty()) return why;
    }
    return "";
  }

  // Adds the disks of the set to `grounds`.
  std::string set_excuse(const map::DiskSet& row, std::string& grounds) const {
    std::set<DiskId> members;
    for (const auto* list : {&row.acting, &row.recovering, &row.base, &row.target})
      members.insert(list->begin(), list->end());
    for (const DiskId disk : members) {
      const Health health = health_of(disk);
      if (health == Health::ailing)
        return "disk " + std::to_string(disk) + " is neither well nor gone";
      grounds += (health == Health::well ? " +" : " -") + std::to_string(disk);
    }
    const auto is_well = [&](DiskId disk) { return health_of(disk) == Health::well; };
    const std::string set = "set " + std::to_string(row.id.index);
    if (std::none_of(row.base.begin(), row.base.end(), is_well))
      return set + " has no complete copy";
    if (some_block_is_away(row)) return set + " has a block that no copy can give now";
    const auto group = situation_.map->groups.find(row.id.group);
    const uint32_t needed = group == situation_.map->groups.end() ? 2u : group->second.min_copies;
    const auto there = std::count_if(row.target.begin(), row.target.end(), is_well);
    return static_cast<uint32_t>(there) >= needed ? "" : set + " has too few copies";
  }

  // Spoiled on each complete copy that is well.
  bool some_block_is_away(const map::DiskSet& row) const {
    std::map<std::pair<ObjectId, uint16_t>, std::ptrdiff_t> copies_spoiled;
    std::ptrdiff_t copies = 0;
    for (const DiskId disk : row.base) {
      if (health_of(disk) != Health::well) continue;
      ++copies;
      const auto marks = situation_.spoiled.find(disk);
      if (marks == situation_.spoiled.end()) continue;
      std::set<std::pair<ObjectId, uint16_t>> blocks;  // one may carry several marks of a block
      for (const Atlas::Mark& mark : marks->second)
        if (mark.set == row.id) blocks.emplace(mark.object, mark.block);
      for (const auto& block : blocks) ++copies_spoiled[block];
    }
    return std::any_of(copies_spoiled.begin(), copies_spoiled.end(),
                       [copies](const auto& entry) { return entry.second == copies; });
  }

  // A server does not serve without the beacon of its node.
  Health health_of(DiskId disk) const {
    const auto found = situation_.disks.find(disk);
    if (found == situation_.disks.end()) return Health::gone;
    const DiskFacts& facts = found->second;
    const bool alone = situation_.nodes[facts.node - 1u].beacon == Health::gone;
    if (facts.health == Health::gone || alone || core_.cut_off(facts.node)) return Health::gone;
    return core_.contains(facts.node) ? facts.health : Health::ailing;
  }

  const Situation& situation_;
  const Core core_;
};

}  // namespace

std::vector<Verdict> recoverable(const Situation& situation) {
  std::vector<Verdict> verdicts;
  const Judge judge(situation);
  for (const VolumeFacts& facts : situation.volumes) verdicts.push_back(judge.judge(facts));
  return verdicts;
}

}  // namespace sp::sim
