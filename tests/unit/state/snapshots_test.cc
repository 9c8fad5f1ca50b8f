// Snapshots, clones, rollback, and the layers that they stand on.
#include "map/lineage.h"
#include "unit/state/world.h"

namespace sp::state::test {

using namespace sp::map;

namespace {

OpenCut open_cut(std::vector<std::pair<VolumeId, std::string>> items) {
  OpenCut command;
  command.created_ms = 9;
  for (auto& [volume, name] : items) command.items.push_back({volume, name, {}, 0});
  return command;
}

CloneVolume clone_volume(VolumeId snapshot, const std::string& name) {
  CloneVolume command;
  command.snapshot = snapshot;
  command.name = name;
  return command;
}

struct Snapshots : World {
  Snapshots() {
    done(RaiseFeatureLevel{3});
    done(create_volume("a"));
    done(create_volume("b"));
    a = id("a"), b = id("b");
  }
  VolumeId id(const std::string& name) const {
    const Volume* const row = map().find_volume(name);
    return row == nullptr ? 0 : row->id;
  }
  VolumeId take(VolumeId volume, const std::string& name) {
    done(open_cut({{volume, name}}));
    done(CloseCut{id(name), true});
    return id(name);
  }
  VolumeId clone(VolumeId snapshot, const std::string& name) {
    done(clone_volume(snapshot, name));
    return id(name);
  }
  VolumeId layer(VolumeId volume) const { return layer_of(map(), volume); }
  std::vector<VolumeId> chain(VolumeId volume) const { return chain_of(map(), layer(volume)); }
  // Whoever has a layer is counted there, and nobody else; a layer that nobody needs is not kept.
  void check_counts() const {
    std::map<VolumeId, std::pair<uint32_t, uint32_t>> counts;
    for (const auto& [volume, row] : map().lineages) {
      CHECK_EQ(map().volumes.count(volume), 1);
      ++counts[row.layer].first;
    }
    for (const auto& [layer, row] : map().layers)
      if (row.parent != 0) ++counts[row.parent].second;
    CHECK_EQ(counts.size(), map().layers.size());
    for (const auto& [layer, count] : counts) {
      REQUIRE_EQ(map().layers.count(layer), 1);
      CHECK_EQ(map().layers.at(layer).holders, count.first);
      CHECK_EQ(map().layers.at(layer).children, count.second);
      CHECK_FALSE(map().is_deleted(layer));
    }
  }
  VolumeId a = 0, b = 0;
};

}  // namespace

TEST_CASE("snapshots need feature level 3") {
  World world;
  world.done(RaiseFeatureLevel{2});
  world.done(create_volume("a"));
  world.refused(open_cut({{1, "a@1"}}), Code::refused, "feature level 3");
}

TEST_CASE("a snapshot gives the volume a new layer once its cut is closed") {
  Snapshots world;
  CHECK_EQ(world.chain(world.a), std::vector<VolumeId>{world.a});
  world.done(open_cut({{world.a, "a@1"}}));
  const VolumeId snapshot = world.id("a@1");
  CHECK(in_open_cut(world.map(), world.a));
  CHECK(in_open_cut(world.map(), snapshot));
  CHECK_EQ(world.layer(world.a), world.a);
  world.check_counts();
  world.done(CloseCut{snapshot, true});
  CHECK_FALSE(in_open_cut(world.map(), world.a));
  CHECK(is_snapshot(world.map(), snapshot));
  CHECK_EQ(world.chain(snapshot), std::vector<VolumeId>{world.a});
  CHECK_EQ(world.chain(world.a), std::vector<VolumeId>{world.layer(world.a), world.a});
  CHECK_EQ(writer_of(world.map(), world.layer(world.a)), world.a);
  CHECK_EQ(set_of(world.map(), world.map().volumes.at(snapshot), 5),
           set_of(world.map(), world.map().volumes.at(world.a), 5));
  CHECK(world.map().cuts.empty());
  world.check_counts();
}

TEST_CASE("a cut that is given up leaves the volume as it was") {
  Snapshots world;
  world.done(open_cut({{world.a, "a@1"}, {world.b, "b@1"}}));
  const VolumeId cut = world.id("a@1");
  world.done(CloseCut{cut, false});
  CHECK_EQ(world.id("a@1"), 0);
  CHECK_EQ(world.id("b@1"), 0);
  CHECK_EQ(world.layer(world.a), world.a);
  CHECK_FALSE(in_open_cut(world.map(), world.b));
  world.check_counts();
  world.refused(CloseCut{cut, true}, Code::not_found, "is open");
  world.take(world.a, "a@1");
  world.check_counts();
}

TEST_CASE("a group of volumes has one cut, and each volume only one at a time") {
  Snapshots world;
  world.refused(open_cut({}), Code::invalid, "name at least one");
  world.refused(open_cut({{world.a, "x"}, {world.a, "y"}}), Code::invalid, "named twice");
  world.refused(open_cut({{world.a, "x"}, {world.b, "x"}}), Code::invalid, "named twice");
  world.refused(open_cut({{world.a, "b"}}), Code::exists, "exists already");
  world.refused(open_cut({{77, "x"}}), Code::not_found, "~77");
  world.refused(open_cut({{world.a, "a b"}}), Code::invalid, "@");
  world.done(open_cut({{world.a, "a@1"}, {world.b, "b@1"}}));
  CHECK_EQ(world.map().cuts.size(), 1);
  world.refused(open_cut({{world.b, "b@2"}}), Code::transient, "try again");
  world.refused(DeleteVolume{world.a}, Code::transient, "being taken");
  world.refused(DeleteVolume{world.id("b@1")}, Code::transient, "still being taken");
  world.refused(clone_volume(world.id("a@1"), "c"), Code::transient, "still being taken");
  world.done(CloseCut{world.id("a@1"), true});
  CHECK_NE(world.layer(world.a), world.a);
  CHECK_NE(world.layer(world.b), world.b);
  world.refused(open_cut({{world.id("a@1"), "x"}}), Code::refused, "does not change");
  world.check_counts();
}

TEST_CASE("a clone stands on the layer of its snapshot, also when that is deleted") {
  Snapshots world;
  const VolumeId snapshot = world.take(world.a, "a@1");
  world.refused(clone_volume(world.a, "c"), Code::refused, "is no snapshot");
  CloneVolume small = clone_volume(snapshot, "c");
  small.size_bytes = 4096;
  world.refused(small, Code::refused, "smaller");
  const VolumeId clone = world.clone(snapshot, "c");
  CHECK_EQ(world.chain(clone), std::vector<VolumeId>{clone, world.a});
  CHECK_EQ(world.map().volumes.at(clone).root, world.a);
  world.done(DeleteVolume{snapshot});
  CHECK(is_ghost(world.map(), world.a));
  CHECK_FALSE(world.map().is_deleted(world.a));
  CHECK_FALSE(world.map().is_deleted(world.a | hole_bit));
  const VolumeId top = world.layer(world.a);
  world.done(DeleteVolume{world.a});
  CHECK(world.map().is_deleted(top));
  CHECK(world.map().is_deleted(top | hole_bit));
  CHECK_FALSE(world.map().is_deleted(world.a));
  world.check_counts();
  world.done(DeleteVolume{clone});
  CHECK(world.map().is_deleted(world.a));
  CHECK(world.map().is_deleted(clone));
  CHECK(world.map().layers.empty());
  CHECK(world.map().lineages.empty());
}

TEST_CASE("in whatever order volumes, snapshots and clones are deleted, nothing is left") {
  for (uint64_t order = 0; order < 120; ++order) {
    Snapshots world;
    const VolumeId first = world.take(world.a, "a@1"), second = world.take(world.a, "a@2");
    const VolumeId clone = world.clone(first, "c");
    const VolumeId third = world.take(clone, "c@1");
    std::vector<VolumeId> all{world.a, first, second, clone, third};
    uint64_t left = order;
    while (!all.empty()) {
      const size_t at = left % all.size();
      left /= all.size();
      world.done(DeleteVolume{all[at]});
      all.erase(all.begin() + static_cast<ptrdiff_t>(at));
      world.check_counts();
      for (const VolumeId volume : all)
        for (const VolumeId layer : world.chain(volume)) CHECK_FALSE(world.map().is_deleted(layer));
    }
    CHECK(world.map().layers.empty());
  }
}

TEST_CASE("a volume goes back to a snapshot, and what it held since goes") {
  Snapshots world;
  const VolumeId first = world.take(world.a, "a@1");
  UpdateVolume grow;
  grow.volume = world.a;
  grow.size_bytes = 2u << 20;
  world.done(grow);
  const VolumeId second = world.take(world.a, "a@2");
  const VolumeId top = world.layer(world.a);
  world.done(reassign(world.a, {2}));
  world.refused(RevertVolume{world.a, first}, Code::refused, "detach it first");
  world.done(reassign(world.a, {}, {2}, true));
  world.refused(RevertVolume{world.b, first}, Code::refused, "nothing in common");
  world.refused(RevertVolume{second, first}, Code::refused, "does not change");
  world.refused(RevertVolume{world.a, world.b}, Code::refused, "is no snapshot");
  world.done(RevertVolume{world.a, first});
  CHECK(world.map().is_deleted(top));
  CHECK_EQ(world.chain(world.a), std::vector<VolumeId>{world.layer(world.a), world.a});
  CHECK_EQ(world.map().volumes.at(world.a).size_bytes, 1u << 20);
  CHECK_FALSE(world.map().is_deleted(world.layer(second)));
  world.check_counts();
}

TEST_CASE("a snapshot is attached read-only, and keeps its size and limits") {
  Snapshots world;
  const VolumeId snapshot = world.take(world.a, "a@1");
  world.refused(reassign(snapshot, {2}), Code::refused, "read-only");
  Reassign command;
  command.volumes.push_back({snapshot, {}, {2}, {}, false});
  world.done(command);
  world.refused(DeleteVolume{snapshot}, Code::refused, "snapshot 'a@1' is attached");
  UpdateVolume update;
  update.volume = snapshot;
  update.size_bytes = 2u << 20;
  world.refused(update, Code::refused, "do not change");
  update.size_bytes.reset();
  update.rename = "monday@a";
  update.tags["k"] = "v";
  world.done(update);
  CHECK_EQ(world.id("monday@a"), snapshot);
  update = {};
  update.volume = world.a;
  update.rename = "x@y";
  world.refused(update, Code::invalid, "letters");
  world.done(UpdateSnapshot{snapshot, 77});
  CHECK_EQ(world.map().lineages.at(snapshot).delete_at_s, 77);
  world.refused(UpdateSnapshot{world.a, 77}, Code::refused, "no snapshot");
}

TEST_CASE("a chain of layers has an end, and says so") {
  Snapshots world;
  for (uint32_t i = 1; i < limits::layers_per_chain_max; ++i)
    world.take(world.a, "a@" + std::to_string(i));
  CHECK_EQ(world.chain(world.a).size(), limits::layers_per_chain_max);
  world.refused(open_cut({{world.a, "last"}}), Code::no_space, "copy it to a new volume");
  world.check_counts();
}

TEST_CASE("state with snapshots goes over a snapshot of it, and is in the database") {
  Snapshots world;
  const VolumeId snapshot = world.take(world.a, "a@1");
  world.clone(snapshot, "c");
  world.done(open_cut({{world.a, "a@2"}, {world.b, "b@2"}}));
  const auto bytes = world.state().snapshot();
  auto other = std::move(State::open(":memory:")).value();
  REQUIRE(other->restore(bytes).ok());
  CHECK(encode(other->map(), true) == encode(world.map(), true));
  CHECK_EQ(other->content_hash(), world.state().content_hash());
  CHECK_FALSE(world.state().database_error().has_value());
}

}  // namespace sp::state::test
