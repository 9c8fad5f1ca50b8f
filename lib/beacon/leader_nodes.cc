// Admission of commands about nodes: what only the leader can judge, because it is not agreed: who
// answers now, and what each node supports.
#include <algorithm>

#include "base/planted.h"
#include "base/probe.h"
#include "beacon/leader.h"

namespace sp::beacon {

// Nothing: it may be proposed. Verdict::refused: `why` says it.
std::optional<Leader::Verdict> Leader::admit_node_command(const Held& held, std::string& why) {
  const map::Map& map = consensus_.state().map();
  if (const auto* raise = std::get_if<map::RaiseFeatureLevel>(&held.command)) {
    why = unsupported_by(raise->level);
    if (why.empty() || SP_PLANTED_BUG(leader_raises_level_unasked)) return std::nullopt;
    return Verdict::refused;
  }
  // An older node would stop at an entry that it does not know.
  const uint32_t needed = map::feature_level_of(held.command);
  if (needed > map.cluster.feature_level) {
    why = std::string(map::name(held.command)) + " needs feature level " + std::to_string(needed) +
          "; the cluster has " + std::to_string(map.cluster.feature_level) +
          ": upgrade all nodes, then 'sp-node raise-level'";
    return Verdict::refused;
  }
  if (const auto* remove = std::get_if<map::RemoveNode>(&held.command))
    return admit_leaving(held, remove->node, why);
  if (const auto* set = std::get_if<map::SetNodeVoting>(&held.command); set && !set->voting)
    return admit_leaving(held, set->node, why);
  return std::nullopt;
}

// One after the other, and only while those that are left are enough by themselves.
std::optional<Leader::Verdict> Leader::admit_leaving(const Held& held, NodeId node,
                                                     std::string& why) {
  const raft::Raft& raft = consensus_.raft();
  const auto& nodes = consensus_.state().map().nodes;
  const raft::Config& config = raft.config();
  if (nodes.count(node) == 0) return std::nullopt;  // the state says so
  const bool others_leave =
      std::any_of(config.members.begin(), config.members.end(), [&](const raft::Member& member) {
        const auto row = nodes.find(member.node);
        return member.voter && (row == nodes.end() || !row->second.voting);
      });
  const bool under_way = raft.log().config_index() > raft.commit_index();
  if ((others_leave || under_way || leaving_) && !SP_PLANTED_BUG(leader_lets_voters_leave))
    return Verdict::wait;
  const raft::Member* const member = config.find(node);
  if (member == nullptr || !member->voter) return std::nullopt;
  uint32_t left = 0, answer = 0;
  for (const raft::Member& other : config.members) {
    if (!other.voter || other.node == node) continue;
    ++left;
    // In this leadership, and lately.
    const auto progress = raft.progress().find(other.node);
    const bool heard = progress != raft.progress().end() && progress->second.match > 0 &&
                       progress->second.nonce == 0 &&
                       host_.clock.now().ns - progress->second.heard_ns <
                           io::Duration(limits::node_silent_after).count();
    answer += heard || other.node == options_.self ? 1 : 0;
  }
  if (left == 0) {
    why =
        "node " + std::to_string(node) + " is the only one that votes; let another one vote first";
    return Verdict::refused;
  }
  if (2 * answer <= left && !SP_PLANTED_BUG(leader_lets_voters_leave)) {
    SP_PROBE(leader_refuses_to_endanger_quorum);
    why = "without node " + std::to_string(node) + " there would be no quorum: of the " +
          std::to_string(left) + " others that vote only " + std::to_string(answer) +
          " answer; bring them back first";
    return Verdict::refused;
  }
  if (node != options_.self) {
    leaving_ = CommandKey{held.forward.origin, held.forward.origin_start, held.forward.number};
    return std::nullopt;
  }
  hand_over();
  return Verdict::wait;
}

// Why not all nodes are known to support the level, or nothing.
std::string Leader::unsupported_by(uint32_t level) const {
  const io::Instant now = host_.clock.now();
  for (const auto& [id, node] : consensus_.state().map().nodes) {
    const auto watch = nodes_.find(id);
    const bool heard =
        watch != nodes_.end() && now - watch->second.heard < limits::node_silent_after;
    const std::string who = "feature level " + std::to_string(level) + " is not possible: node " +
                            std::to_string(id) + " ('" + node.name + "') ";
    if (!heard || watch->second.feature_level == 0)
      return who + "does not answer; bring it back, or remove it from the cluster";
    if (watch->second.feature_level < level)
      return who + "supports levels up to " + std::to_string(watch->second.feature_level) +
             " only, with its beacon and its services that run; upgrade and restart them";
  }
  if (level > options_.feature_level_newest)
    return "feature level " + std::to_string(level) +
           " is not known; this version has levels up to " +
           std::to_string(options_.feature_level_newest);
  return {};
}

}  // namespace sp::beacon
