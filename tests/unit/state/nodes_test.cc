// Nodes that come and go, votes, and the feature level.
#include "unit/state/world.h"

namespace sp::state::test {

using namespace sp::map;

namespace {

AddNode add_node(NodeId id) { return AddNode{put_node(id).node}; }

// At the level that has these commands.
struct Nodes : World {
  using World::World;
  Nodes() { done(RaiseFeatureLevel{2}); }
  // Its disks leave the placement, and its server ends.
  void empty(NodeId id) {
    UpdatePlacementGroup group;
    group.name = "ssd";
    for (const auto& [disk, row] : map().disks)
      if (row.server.node == id) group.remove.push_back(disk);
    done(group);
    for (bool moved = true; moved;) {
      moved = false;
      for (const auto& [set_id, set] : Map(map()).sets) {
        if (!set.activated) apply(SetActivated{set_id, set.epoch});
        for (const DiskId disk : set.recovering)
          moved = apply(SetPromote{set_id, map().sets.at(set_id).revision, disk}).status.ok();
      }
    }
    done(ServiceDown{server(id), id});
  }
};

}  // namespace

TEST_CASE("below their feature level commands about nodes are refused and change nothing") {
  World world;
  world.refused(RemoveNode{4}, Code::refused, "feature level 2");
  world.refused(add_node(5), Code::refused, "feature level 2");
  world.refused(SetNodeVoting{1, false}, Code::refused, "upgrade all nodes");
  auto command = put_node(1);
  command.node.voting = false;
  world.done(command);
  CHECK_FALSE(world.map().nodes.at(1).voting);
}

TEST_CASE("the feature level is raised, and never lowered") {
  World world;
  world.done(RaiseFeatureLevel{2});
  CHECK_EQ(world.map().cluster.feature_level, 2);
  world.refused(RaiseFeatureLevel{2}, Code::exists, "already");
  world.refused(RaiseFeatureLevel{1}, Code::refused, "never lowered");
}

TEST_CASE("a node is removed only when nothing of it is in use, and its name says what is") {
  Nodes world;
  world.refused(RemoveNode{9}, Code::not_found, "sp-node add");
  world.refused(RemoveNode{4}, Code::refused, "server 4.1 run there");
  world.done(ServiceDown{server(4), 4});
  world.refused(RemoveNode{4}, Code::refused, "disk 40 (in placement group 'ssd')");
  world.done(service_up(server(4), 4, {disk(40, server(4)), disk(41, server(4))}));
  world.empty(4);
  world.done(create_volume("v"));
  const VolumeId volume = world.map().find_volume("v")->id;
  world.done(service_up({ServiceKind::client, 4, 1}, 9));
  world.done(reassign(volume, {4}));
  world.done(ServiceDown{{ServiceKind::client, 4, 1}, 9});
  world.refused(RemoveNode{4}, Code::refused, "volumes ~1 are attached there");
  Reassign detach;
  detach.force = true;
  detach.volumes.push_back({volume, {}, {}, {4}, false});
  world.done(detach);
  world.done(RemoveNode{4});
  CHECK_FALSE(world.map().nodes.contains(4));
  CHECK_FALSE(world.map().disks.contains(40));
  CHECK_FALSE(world.map().services.contains(server(4)));
  CHECK_EQ(world.map().removed_nodes.at(4).name, "n4");
}

TEST_CASE("a removed node stays out whatever sp.toml says, until it is added again") {
  Nodes world;
  world.empty(4);
  world.done(RemoveNode{4});
  world.refused(put_node(4), Code::refused, "was removed");
  world.refused(NodeUp{4}, Code::not_found, "not configured");
  world.done(add_node(4));
  CHECK(world.map().removed_nodes.empty());
  CHECK_FALSE(world.map().nodes.at(4).up);
  world.refused(add_node(4), Code::exists, "already");
  world.done(put_node(4));
}

TEST_CASE("the last node that votes neither leaves nor ceases to vote") {
  Nodes world;
  for (const NodeId node : {1, 2, 3}) world.done(SetNodeVoting{node, false});
  world.refused(SetNodeVoting{4, false}, Code::refused, "the last one that votes");
  world.empty(4);
  world.refused(RemoveNode{4}, Code::refused, "the last one that votes");
  world.done(SetNodeVoting{1, true});
  world.done(RemoveNode{4});
}

TEST_CASE("whether a node votes is agreed, not taken from sp.toml again") {
  Nodes world;
  world.done(SetNodeVoting{2, false});
  world.done(put_node(2));
  CHECK_FALSE(world.map().nodes.at(2).voting);
}

TEST_CASE("a snapshot and the rows of a state keep who was removed") {
  Nodes world;
  world.empty(4);
  world.done(RemoveNode{4});
  auto other = std::move(State::open("")).value();
  REQUIRE(other->restore(world.state().snapshot()).ok());
  CHECK_EQ(other->content_hash(), world.state().content_hash());
  CHECK(other->map().removed_nodes.contains(4));
  CHECK_EQ(feature_level_of(world.state().snapshot()), 2);
}

}  // namespace sp::state::test
