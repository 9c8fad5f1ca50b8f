// Nodes and members: who is silent, who is new, who may vote.
#include "base/planted.h"
#include "base/probe.h"
#include "beacon/leader.h"

namespace sp::beacon {

namespace {

constexpr auto propose_again_after = std::chrono::milliseconds(500);
constexpr auto change_members_every = std::chrono::milliseconds(100);

bool same_configuration(const map::Node& a, const map::Node& b) {
  return a.name == b.name && a.fault_set == b.fault_set && a.address == b.address;
}

}  // namespace

void Leader::watch_nodes() {
  const io::Instant now = host_.clock.now();
  nodes_[options_.self].heard = now;
  for (const auto& [id, node] : consensus_.state().map().nodes) {
    NodeWatch& watch =
        nodes_
            .try_emplace(id, NodeWatch{io::Instant{INT64_MIN / 2}, {}, io::Instant{INT64_MIN / 2}})
            .first->second;
    if (now - watch.proposed < propose_again_after) continue;
    const bool silent = now - watch.heard > limits::node_silent_after;
    if (node.up && silent) {
      host_.log.warning("a node is silent: declared down", {{"node", id}});
      watch.proposed = now;
      events_.propose(map::NodeDown{id});
    } else if (!node.up && !silent) {
      host_.log.info("a node is heard", {{"node", id}});
      watch.proposed = now;
      events_.propose(map::NodeUp{id});
    }
  }
}

// Only a group that was made by an explicit bootstrap ever has a leader, so whoever leads an empty
// state fills it.
void Leader::keep_nodes() {
  const io::Instant now = host_.clock.now();
  const map::Map& map = consensus_.state().map();
  if (put_nodes_at_.ns != INT64_MIN && now - put_nodes_at_ < propose_again_after) return;
  if (map.cluster.id == 0) {
    put_nodes_at_ = now;
    events_.propose(map::InitCluster{options_.cluster, options_.cluster_name});
    return;
  }
  // A new cluster begins with everything that its first node knows.
  if (map.nodes.empty() && map.cluster.feature_level < options_.feature_level_newest) {
    put_nodes_at_ = now;
    events_.propose(map::RaiseFeatureLevel{options_.feature_level_newest});
    return;
  }
  const bool voting_agreed = map.cluster.feature_level >= 2;
  for (const map::Node& node : options_.nodes) {
    const auto known = map.nodes.find(node.id);
    if (known != map.nodes.end() && same_configuration(known->second, node) &&
        (voting_agreed || known->second.voting == node.voting))
      continue;
    if (map.removed_nodes.count(node.id) != 0 && !SP_PLANTED_BUG(state_puts_removed_nodes))
      continue;
    put_nodes_at_ = now;
    events_.propose(map::PutNode{node});
  }
}

// One change at a time; Raft refuses what cannot be, and the next look tries again.
void Leader::keep_members() {
  const io::Instant now = host_.clock.now();
  if (members_changed_.ns != INT64_MIN && now - members_changed_ < change_members_every) return;
  const raft::Raft& raft = consensus_.raft();
  if (raft.log().config_index() > raft.commit_index() && !SP_PLANTED_BUG(raft_two_changes_at_once))
    return;
  const auto change = wanted_change();
  if (!change) return;
  members_changed_ = now;
  if (change->node == options_.self) {
    hand_over();
    return;
  }
  host_.log.info("changing the members",
                 {{"node", change->node}, {"change", static_cast<int>(change->kind)}});
  consensus_.submit(raft::ChangeMembers{++last_tag_, *change});
}

// The next step from the members that are to those that the agreed nodes ask for.
std::optional<raft::MemberChange> Leader::wanted_change() const {
  using Kind = raft::MemberChange::Kind;
  const raft::Raft& raft = consensus_.raft();
  const auto& nodes = consensus_.state().map().nodes;
  for (const raft::Member& member : raft.config().members) {
    if (nodes.count(member.node) == 0) return raft::MemberChange{Kind::remove, member.node, 0};
  }
  for (const auto& [id, node] : nodes) {
    const raft::Member* member = raft.config().find(id);
    // For this no word of the node is needed: it may be gone.
    if (member != nullptr && member->voter && !node.voting)
      return raft::MemberChange{Kind::remove, id, 0};
    const uint64_t log_id = id == options_.self ? consensus_.log_id() : peers_.log_id(id);
    if (log_id == 0) continue;
    if (member == nullptr) return raft::MemberChange{Kind::add_learner, id, log_id};
    if (member->log_id != log_id) {
      SP_PROBE(leader_replaces_member_with_new_log);
      return raft::MemberChange{Kind::remove, id, 0};
    }
    const auto progress = raft.progress().find(id);
    const bool level = progress != raft.progress().end() && progress->second.match > 0 &&
                       progress->second.match + limits::raft_promote_lag_max >= raft.last_index();
    if (!member->voter && node.voting && level) return raft::MemberChange{Kind::promote, id, 0};
  }
  return std::nullopt;
}

// False: done a moment ago, wait for it.
bool Leader::hand_over() {
  const io::Instant now = host_.clock.now();
  if (handed_over_.ns != INT64_MIN && now - handed_over_ < limits::election_timeout_max)
    return false;
  handed_over_ = now;
  SP_PROBE(leader_hands_over_before_leaving);
  host_.log.info("this node is to leave those that vote: handing leadership over", {});
  consensus_.submit(raft::Transfer{++last_tag_, 0});
  return true;
}

void Leader::stranger(const raft::Member& member) {
  // keep_members sees the same when the node has greeted; here it only becomes visible.
  host_.log.warning("a member answers with another log: it is removed and added anew",
                    {{"node", member.node}});
}

}  // namespace sp::beacon
