// When a volume must make progress, and what excuses a standstill. Three nodes with a disk each,
// all of them voters, a fourth one of the client.
#include "sim/recoverable.h"

#include <doctest/doctest.h>

namespace sp::sim {
namespace {

constexpr VolumeId volume = 1;
constexpr SetId set_id{1, 0};

struct Scene {
  map::Map map;
  Situation now;

  Scene() {
    map.index = 10;
    map.groups[1].min_copies = 2;
    map.volumes[volume].id = volume;
    map.volumes[volume].group = 1;
    map.sets[set_id].id = set_id;
    map.sets[set_id].acting = {1, 2, 3};
    map.sets[set_id].base = {1, 2, 3};
    map.sets[set_id].target = {1, 2, 3};
    const std::set<NodeId> voters{1, 2, 3};
    for (NodeId id = 1; id <= 3; ++id) {
      now.nodes.push_back({id, Health::well, voters, true});
      now.disks[id] = {id, Health::well};
    }
    now.nodes.push_back({4, Health::well, {}, false});
    now.links.assign(4, std::vector<Health>(4, Health::well));
    now.volumes.push_back({volume, 4, Health::well, 1});
    now.map = &map;
    now.map_index = map.index;
  }

  Verdict verdict() const {
    const auto verdicts = recoverable(now);
    REQUIRE_EQ(verdicts.size(), 1);
    CHECK_EQ(verdicts[0].volume, volume);
    return verdicts[0];
  }
  std::string excuse() const { return verdict().excuse; }
  bool must() const { return excuse().empty(); }

  map::DiskSet& set() { return map.sets[set_id]; }
  NodeFacts& node(NodeId id) { return now.nodes[id - 1u]; }
  void cut(NodeId from, NodeId to) { now.links[from - 1u][to - 1u] = Health::gone; }
  void cut_off(NodeId id) {
    for (NodeId other = 1; other <= now.nodes.size(); ++other)
      if (other != id) cut(id, other), cut(other, id);
  }
  void end_node(NodeId id) {
    node(id) = {id, Health::gone, {}, false};
    now.disks[id].health = Health::gone;
  }
  void spoil(DiskId disk, uint16_t block, uint64_t at = 0) {
    now.spoiled[disk].insert({set_id, {volume, 0}, block, at});
  }
};

TEST_CASE("where all is well nothing excuses a standstill") {
  Scene scene;
  CHECK(scene.must());
}

TEST_CASE("a node that has ended, or is cut off from all others, excuses nothing") {
  for (const bool ended : {true, false}) {
    Scene scene;
    if (ended)
      scene.end_node(3);
    else
      scene.cut_off(3);
    CHECK(scene.must());
  }
}

TEST_CASE("what is half there may be waited for") {
  SUBCASE("a beacon that stands still") {
    Scene scene;
    scene.node(3).beacon = Health::ailing;
    CHECK_EQ(scene.excuse(), "node 3 is neither well nor gone");
  }
  SUBCASE("a link that is broken in one direction") {
    Scene scene;
    scene.cut(3, 1);
    CHECK_NE(scene.excuse(), "");
  }
  SUBCASE("a link that is broken in both, while others reach the node") {
    Scene scene;
    scene.cut(3, 1), scene.cut(1, 3);
    CHECK_NE(scene.excuse(), "");
  }
  // sp-sim 201631544202295: the leader was reached by slow links, and led on.
  SUBCASE("a node that all links reach, but slowly") {
    Scene scene;
    scene.cut_off(3);
    scene.now.links[2][0] = Health::ailing;
    CHECK_EQ(scene.excuse(), "node 3 is neither well nor gone");
  }
  SUBCASE("a disk that stalls") {
    Scene scene;
    scene.now.disks[3].health = Health::ailing;
    CHECK_EQ(scene.excuse(), "disk 3 is neither well nor gone");
  }
  SUBCASE("links that lose") {
    Scene scene;
    scene.now.network_well = false;
    CHECK_EQ(scene.excuse(), "links lose or hold back what is sent");
  }
  SUBCASE("but not a disk of no set of the volume") {
    Scene scene;
    scene.now.disks[9] = {3, Health::ailing};
    CHECK(scene.must());
  }
  SUBCASE("nor a beacon that stands still behind a cut") {
    Scene scene;
    scene.node(3).beacon = Health::ailing;
    scene.cut_off(3);
    CHECK(scene.must());
  }
}

TEST_CASE("a majority of the voters has to be well") {
  Scene scene;
  scene.end_node(2);
  scene.end_node(3);
  CHECK_EQ(scene.excuse(), "no majority of the voting beacons");
}

TEST_CASE("half of the voters is no majority") {
  Scene scene;
  for (NodeId id = 1; id <= 3; ++id) scene.node(id).voters = {1, 2, 3, 4};
  scene.node(4).voters = {1, 2, 3, 4};
  scene.node(4).able = true;
  CHECK(scene.must());
  scene.end_node(3);
  CHECK(scene.must());
  scene.node(4).able = false;
  CHECK_EQ(scene.excuse(), "no majority of the voting beacons");
}

TEST_CASE("a voter that lost entries, or votes with another log, is none of the majority") {
  Scene scene;
  scene.node(3).able = false;
  CHECK(scene.must());
  scene.end_node(2);
  CHECK_EQ(scene.excuse(), "no majority of the voting beacons");
}

TEST_CASE("each configuration that a voter of them has needs a majority") {
  Scene scene;
  // Node 1 has the newest: nodes 5 to 7 vote by it, and are not here.
  scene.node(1).voters = {1, 2, 5, 6, 7};
  for (NodeId id = 5; id <= 7; ++id) scene.now.nodes.push_back({id, Health::gone, {}, false});
  scene.now.links.assign(7, std::vector<Health>(7, Health::well));
  CHECK_EQ(scene.excuse(), "no majority of the voting beacons");
  scene.node(1).voters = {1, 2, 5};
  CHECK(scene.must());
}

TEST_CASE("who votes in no configuration has none to be asked for") {
  Scene scene;
  for (NodeId id = 1; id <= 3; ++id) scene.node(id).voters.clear();
  CHECK_EQ(scene.excuse(), "no voting beacon");
}

TEST_CASE("a client that does not run, or is cut off, waits for nothing") {
  Scene scene;
  scene.now.volumes[0].client = Health::ailing;
  CHECK_EQ(scene.excuse(), "its client does not run");
  scene.now.volumes[0].client = Health::well;
  scene.cut_off(4);
  CHECK_EQ(scene.excuse(), "its client's node is cut off");
}

TEST_CASE("a volume that is not agreed, or of which nobody knows, is not waited for") {
  Scene scene;
  scene.map.volumes.clear();
  CHECK_EQ(scene.excuse(), "it is not there");
  scene.now.map = nullptr;
  CHECK_EQ(scene.excuse(), "no beacon runs");
}

TEST_CASE("a set needs min_copies of its target, and one of them complete") {
  SUBCASE("two of three") {
    Scene scene;
    scene.now.disks[3].health = Health::gone;
    CHECK(scene.must());
  }
  SUBCASE("one of three") {
    Scene scene;
    scene.now.disks[2].health = scene.now.disks[3].health = Health::gone;
    CHECK_EQ(scene.excuse(), "set 0 has too few copies");
    scene.map.groups[1].min_copies = 1;
    CHECK(scene.must());
  }
  SUBCASE("copies outside of the target are none") {
    Scene scene;
    scene.set().target = {1, 8, 9};
    CHECK_EQ(scene.excuse(), "set 0 has too few copies");
  }
  SUBCASE("two that hold not everything") {
    Scene scene;
    scene.set().base = {1};
    CHECK(scene.must());
    scene.now.disks[1].health = Health::gone;
    CHECK_EQ(scene.excuse(), "set 0 has no complete copy");
  }
  SUBCASE("sets of other volumes do not count") {
    Scene scene;
    map::DiskSet& other = scene.map.sets[{2, 0}];
    other.id = {2, 0};
    other.acting = other.base = other.target = {9};
    CHECK(scene.must());
  }
}

TEST_CASE("a server without the beacon of its node is gone") {
  Scene scene;
  scene.node(3).beacon = Health::gone;
  CHECK(scene.must());
  scene.set().base = {3};
  CHECK_EQ(scene.excuse(), "set 0 has no complete copy");
}

TEST_CASE("a block that is spoiled on each complete copy that is well is waited for") {
  Scene scene;
  scene.spoil(1, 7);
  scene.spoil(2, 7);
  CHECK(scene.must());  // disk 3 has it
  scene.end_node(3);
  CHECK_EQ(scene.excuse(), "set 0 has a block that no copy can give now");
}

TEST_CASE("spoiled blocks of different places, or of other sets, excuse nothing") {
  Scene scene;
  scene.end_node(3);
  scene.spoil(1, 7, 4096);
  scene.spoil(1, 7, 8192);  // twice the same block
  scene.spoil(2, 8);
  scene.now.spoiled[2].insert({{2, 0}, {volume, 0}, 7, 0});
  CHECK(scene.must());
}

TEST_CASE("a recovering copy does not count where a block is spoiled on the complete ones") {
  Scene scene;
  scene.set().acting = scene.set().base = {1, 2};
  scene.set().recovering = {3};
  scene.spoil(1, 7);
  scene.spoil(2, 7);
  CHECK_EQ(scene.excuse(), "set 0 has a block that no copy can give now");
}

TEST_CASE("other grounds are another situation, other copies of one map are not") {
  Scene scene;
  const std::string before = scene.verdict().grounds;
  map::Map copy = scene.map;
  Situation same = scene.now;
  same.map = &copy;
  CHECK(same.same_as(scene.now));
  CHECK_EQ(recoverable(same)[0].grounds, before);
  scene.now.disks[3].health = Health::gone;
  CHECK_FALSE(same.same_as(scene.now));
  CHECK_NE(scene.verdict().grounds, before);
  scene.now = same;
  scene.now.volumes[0].client_start = 2;
  CHECK_FALSE(same.same_as(scene.now));
  CHECK_NE(scene.verdict().grounds, before);
  scene.now = same;
  scene.spoil(1, 7);
  CHECK_FALSE(same.same_as(scene.now));
}

}  // namespace
}  // namespace sp::sim
