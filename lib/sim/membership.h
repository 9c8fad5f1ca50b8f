// Membership: what an administrator does about the nodes of a simulated cluster: a node is added,
// started, and its disks join the placement; a node is emptied, stopped, and removed; nodes vote or
// not; once all speak the newer version, the feature level is raised. Each is a few steps with
// commands that may be refused or lost, so it is gone on with by `tend` until it is done, whatever
// else happens meanwhile.
//
// Now and then the administrator is hasty: asks for what must be refused, and `check` sees to it
// that it was. Thread rule: the world's.
#pragma once
#include <map>
#include <set>
#include <string>
#include <vector>

#include "sim/cluster.h"

namespace sp::sim {

class Membership {
 public:
  explicit Membership(Cluster& cluster);

  bool is_outside(const Cluster::Node& node) const { return stage(node) == Stage::outside; }
  bool is_inside(const Cluster::Node& node) const { return stage(node) == Stage::inside; }
  // Has neither clients nor management, and neither comes nor goes.
  bool may_leave(const Cluster::Node& node) const;

  // Of one that is outside.
  void join(Cluster::Node& node, bool voting);
  // Of one that may_leave; `forget`: its disks are forgotten one by one before, else with the node.
  void leave(Cluster::Node& node, bool forget, bool hasty);
  void set_voting(NodeId node, bool voting);
  // Its processes go on as the newer version: the beacon, or all.
  void upgrade(Cluster::Node& node, bool beacon_only);
  void raise_level();  // whether it may be raised or not

  void tend();
  void settle();  // nothing new: what is under way, and what is older, is brought to its end
  std::string unsettled() const;
  std::string check();

 private:
  enum class Stage : uint8_t { outside, joining, inside, leaving, removed };
  struct Change {
    Stage stage = Stage::inside;
    bool voting = true, forget = false, hasty = false;
    io::Instant asked_at{INT64_MIN / 2};  // the last command
    // Removals that were asked for and not answered yet, and those whose outcome nobody knows: they
    // may be made yet.
    uint32_t removals_open = 0, removals_unknown = 0;
  };

  Stage stage(const Cluster::Node& node) const { return changes_[node.id - 1u].stage; }
  void go_on(Cluster::Node& node, Change& change, const map::Map& map);
  void go_on_joining(Cluster::Node& node, Change& change, const map::Map& map);
  void go_on_leaving(Cluster::Node& node, Change& change, const map::Map& map);
  void ask(Change& change, Management::Call call);
  bool may_ask(Change& change);
  void remove(Cluster::Node& node, Change& change);
  bool let_another_vote(const Cluster::Node& leaving, Change& change, const map::Map& map);
  static bool holds_its_disks(const Cluster::Node& node, const map::Map& map);
  bool forget_disks(const Cluster::Node& leaving, Change& change, const map::Map& map);
  std::set<DiskId> held_by(const Cluster::Node& node, const map::Map& map) const;
  bool enough_without(const Cluster::Node& leaving, const map::Map& map) const;
  void upgrade_rest();
  bool any_older() const;

  Cluster& cluster_;
  std::vector<Change> changes_;  // [id - 1]
  uint64_t checked_index_ = 0;
  bool settling_ = false;
  io::Instant raised_at_{INT64_MIN / 2};
};

}  // namespace sp::sim
