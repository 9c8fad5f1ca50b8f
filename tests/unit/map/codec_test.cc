// Codecs of maps, changes and commands: round trips, and bytes from an enemy.
#include <doctest/doctest.h>

#include <algorithm>

#include "base/checksum.h"
#include "map/command.h"
#include "map/map.h"

namespace sp::map {
namespace {

Map full_map() {
  Map map;
  map.index = 77;
  map.cluster.id = 5;
  map.cluster.name = "c";
  map.cluster.feature_level = 3;
  map.layers[3] = {3, 0, 3, 1, 1};
  map.lineages[3] = {3, 3, false, 0, 4, 0};
  map.cuts[4] = {4, 99, {3}, {4}};
  map.removed_nodes[2] = {2, "two", "10.0.0.2:1"};
  map.cluster.active_mgmt = ServiceId{ServiceKind::mgmt, 2, 1};
  map.nodes[1] = {1, "one", "rack", true, true, "10.0.0.1:1"};
  map.services[{ServiceKind::server, 1, 2}] = {
      {ServiceKind::server, 1, 2}, true, ~0ull, "a", "v", -5};
  map.disks[10] = {
      10, {ServiceKind::server, 1, 2}, true, "", 9, 1u << 30, "/dev/x", "m", "s", "d", false};
  map.placement_groups["ssd"] = {"ssd", {10, 11}};
  map.templates["t"] = {"t", 3, 2, "ssd", "", "", 4096, {1, 2}, 1};
  map.groups[1] = {1, "t", 64, 3, 2, "warning"};
  map.sets[{1, 3}] = {{1, 3}, 4, 9, true, {10}, {11}, {10, 12}, {10, 11, 12}};
  map.volumes[3] = {3, "v", 8192, "t", 1, 3, 1234, {5, 6}, {{"k", "v"}}};
  map.attachments[{3, 1}] = {3, 1,    Rights::read_only, AttachmentState::ready,
                             8, 1023, "/dev/storpool/v"};
  map.buckets["b"] = {"b", 2, {{"x", "y"}, {"z", ""}}};
  return map;
}

std::vector<Command> samples() {
  std::vector<Command> all{
      InitCluster{1, "c"},
      PutNode{{1, "n", "f", true, false, "a"}},
      NodeUp{3},
      NodeDown{4},
      ServiceUp{{{ServiceKind::server, 1, 1}, true, 5, "a", "v", 6}, {Disk{}, Disk{}}},
      ServiceDown{{ServiceKind::client, 2, 1}, 7},
      DiskFailed{1, 2, "why"},
      DiskReturned{{}, 3},
      DescribeDisk{1, "d"},
      ForgetDisk{9},
      SetActivated{{1, 2}, 3},
      SetPromote{{1, 2}, 3, 4},
      SetEvict{{1, 2}, 3, 4, true},
      UpdatePlacementGroup{"g", "h", {1}, {2, 3}},
      DeletePlacementGroup{"g"},
      PutTemplate{{"t"}, 64, false, "old"},
      DeleteTemplate{"t"},
      CreateVolume{"v", 4096, "t", {1, 2}, {{"a", "b"}}, 5},
      UpdateVolume{1, "n", 4096, true, Limits{1, 2}, {{"a", ""}}},
      DeleteVolume{1},
      Reassign{{{1, {1, 2}, {3}, {4}, true}}, true},
      AttachmentReady{1, 2, 3, "d"},
      AttachmentGone{1, 2, 3},
      CreateBucket{"b"},
      DeleteBucket{"b"},
      SetBucket{"b", 4, {{"k", "v"}}},
      AddNode{{1, "n", "f", true, false, "a"}},
      RemoveNode{4},
      SetNodeVoting{4, true},
      RaiseFeatureLevel{2},
      ChangeTemplate{{"t"}, {"u"}},
      OpenCut{{{1, "s", {{"a", "b"}}, 9}}, 5},
      CloseCut{2, true},
      CloneVolume{1, "c", 4096, {1, 2}, {{"a", "b"}}, 5},
      RevertVolume{1, 2},
      UpdateSnapshot{1, 7}};
  for (Command& command : all)
    if (auto* up = std::get_if<ServiceUp>(&command)) up->disks[1].id = 7;
  for (Command& command : all)
    if (auto* returned = std::get_if<DiskReturned>(&command))
      returned->disk.server = {ServiceKind::server, 1, 1};
  for (Command& command : all)
    if (auto* up = std::get_if<ServiceUp>(&command))
      for (Disk& disk : up->disks) disk.server = up->service.id;
  return all;
}

// Calls f with every cut and with many single changes of the bytes.
template <class F>
void attack(const std::vector<std::byte>& bytes, F f) {
  for (size_t size = 0; size < bytes.size(); ++size) f(Bytes(bytes).first(size), true);
  for (size_t at = 0; at < bytes.size(); ++at) {
    for (const int value : {0x01, 0x80, 0xff}) {
      auto changed = bytes;
      changed[at] ^= static_cast<std::byte>(value);
      f(changed, false);
    }
  }
}

}  // namespace

TEST_CASE("a map survives its codec, with or without buckets") {
  const Map map = full_map();
  const auto bytes = encode(map, true);
  const auto back = decode_map(bytes);
  REQUIRE(back.has_value());
  CHECK(encode(*back, true) == bytes);
  CHECK_EQ(back->disks.at(10).device, "/dev/x");
  CHECK(back->sets.at({1, 3}).target == std::vector<DiskId>{10, 11, 12});
  CHECK(back->cluster.active_mgmt == map.cluster.active_mgmt);
  CHECK(decode_map(encode(map, false))->buckets.empty());
}

TEST_CASE("a map follows its rows as changes, and rows that differ have different hashes") {
  const Map map = full_map();
  Map copy;
  for (const Change& change : rows(map)) {
    Writer out;
    encode(out, change);
    Reader in(out.view());
    const auto back = decode_change(in);
    REQUIRE((back.has_value() && in.finished()));
    CHECK(apply(copy, *back));
    Change other = change;
    (*other.row)[0] ^= std::byte{1};
    CHECK(row_hash(other) != row_hash(change));
  }
  copy.index = map.index;
  CHECK(encode(copy, true) == encode(map, true));
  for (Change change : rows(map)) {
    if (change.table == Table::cluster) continue;
    change.row.reset();
    CHECK_EQ(row_hash(change), 0);
    CHECK(apply(copy, change));
  }
  CHECK_EQ(rows(copy).size(), 1);
}

TEST_CASE("a map below a feature level is encoded as older versions know it") {
  Map map = full_map();
  CHECK_EQ(feature_level_of(encode(map, true)), 3);
  const size_t newest = encode(map, true).size();
  map.cluster.feature_level = 2;
  const size_t second = encode(map, true).size();
  const size_t layer = 4 + 20, lineage = 4 + 4 + 4 + 1 + 4 + 4 + 8, cut = 4 + 4 + 8 + 8 + 8;
  CHECK_EQ(second, newest - layer - lineage - cut);
  map.cluster.feature_level = 1;
  const auto bytes = encode(map, true);
  CHECK_EQ(bytes.size(), second - 4 - 2 - 4 - 3 - 4 - 10);
  REQUIRE(decode_map(bytes).has_value());
  CHECK(decode_map(bytes)->removed_nodes.empty());
  CHECK(decode_map(bytes)->layers.empty());
  CHECK_EQ(feature_level_of(bytes), 1);
  CHECK_EQ(feature_level_of(Bytes(bytes).first(5)), 0);
}

TEST_CASE("a change whose key is not its row's, or that removes the cluster, is refused") {
  auto changes = rows(full_map());
  Map map;
  std::swap(changes[1].key, changes[3].key);
  CHECK_FALSE(apply(map, changes[1]));
  changes[0].row.reset();
  CHECK_FALSE(apply(map, changes[0]));
}

TEST_CASE("damaged maps and changes are refused or are other maps, never worse") {
  const auto bytes = encode(full_map(), true);
  attack(bytes, [](Bytes hostile, bool cut) {
    const auto map = decode_map(hostile);
    if (cut) CHECK_FALSE(map.has_value());
    if (map) CHECK(std::ranges::equal(encode(*map, true), hostile));  // one form only
  });
  for (const Change& change : rows(full_map())) {
    Writer out;
    encode(out, change);
    attack({out.view().begin(), out.view().end()}, [](Bytes hostile, bool cut) {
      Reader in(hostile);
      const auto back = decode_change(in);
      if (cut) CHECK_FALSE(back.has_value());
      Map map;
      if (back) (void)apply(map, *back);
    });
  }
}

TEST_CASE("every command survives its codec, and damaged ones are refused or are other commands") {
  const auto all = samples();
  REQUIRE_EQ(all.size(), std::variant_size_v<Command>);
  for (size_t i = 0; i < all.size(); ++i) {
    CAPTURE(name(all[i]));
    CHECK_EQ(all[i].index(), i);
    const auto bytes = encode(all[i]);
    const auto back = decode(bytes);
    REQUIRE(back.has_value());
    CHECK_EQ(back->index(), i);
    CHECK(encode(*back) == bytes);
    attack(bytes, [](Bytes hostile, bool cut) {
      const auto command = decode(hostile);
      if (cut) CHECK_FALSE(command.has_value());
      if (command) CHECK(std::ranges::equal(encode(*command), hostile));
    });
  }
  CHECK_FALSE(decode({}).has_value());
}

TEST_CASE("objects of a volume take the sets in turn, and clones share the sets of their root") {
  Map map = full_map();
  const Volume& volume = map.volumes.at(3);
  const SetId first = set_of(map, volume, 0);
  for (uint32_t i = 0; i < 200; ++i) CHECK_EQ(set_of(map, volume, i).index, (first.index + i) % 64);
  Volume clone = volume;
  clone.id = 99;
  CHECK(set_of(map, clone, 7) == set_of(map, volume, 7));
}

TEST_CASE("the map answers who a volume, a disk's server and an attachment are") {
  Map map = full_map();
  CHECK_EQ(map.find_volume("v")->id, 3);
  CHECK_EQ(map.find_volume("~3")->id, 3);
  for (const char* name : {"w", "~4", "~", "~3x"}) CHECK(map.find_volume(name) == nullptr);
  CHECK(map.disk_serves(10));
  map.services.begin()->second.up = false;
  CHECK_FALSE(map.disk_serves(10));
  CHECK(map.server_of(11) == nullptr);
  CHECK(map.attachment(3, 1) != nullptr);
  CHECK(map.attachment(3, 2) == nullptr);
}

}  // namespace sp::map
