// What may be damaged for good so that a valid copy of everything acknowledged remains.
#include "sim/atlas.h"

#include <doctest/doctest.h>

namespace sp::sim {
namespace {

constexpr SetId set_id{1, 0}, other_set{1, 1};
constexpr ObjectId object{1, 0};

struct Scene {
  map::Map map;
  Atlas atlas;

  Scene() {
    for (DiskId id = 1; id <= 4; ++id) map.disks[id].uuid = 100 + id;
    put(set_id, {1, 2, 3});
    put(other_set, {2, 3, 4});
    for (NodeId id = 1; id <= 5; ++id) map.nodes[id].voting = true;
    map.volumes[object.volume].id = object.volume;
    agree();
  }
  void put(SetId id, std::vector<DiskId> base) {
    map::DiskSet& set = map.sets[id];
    set.id = id;
    set.activated = true;
    set.acting = set.target = set.base = std::move(base);
  }
  void agree() {
    ++map.index;
    atlas.observe(map);
  }
  bool may_spoil(DiskId disk, uint16_t block) const {
    return atlas.may_spoil(disk, set_id, object, block);
  }
  void spoil(DiskId disk, uint16_t block, SetId set = set_id) {
    atlas.spoil(disk, {set, object, block, 4096u * block});
  }
};

Scene spoiled_but_on_third() {
  Scene scene;
  scene.spoil(1, 7);
  scene.spoil(2, 7);
  return scene;
}

TEST_CASE("all copies of a block but one may be spoiled") {
  Scene scene;
  CHECK(scene.may_spoil(1, 7));
  scene.spoil(1, 7);
  CHECK(scene.may_spoil(2, 7));
  scene.spoil(2, 7);
  CHECK_FALSE(scene.may_spoil(3, 7));
  CHECK(scene.may_spoil(3, 8));
  CHECK(scene.may_spoil(1, 7));  // again: nothing more is lost
}

TEST_CASE("a block that was mended counts again") {
  Scene scene = spoiled_but_on_third();
  scene.atlas.mend(1, {set_id, object, 7, 4096u * 7});
  CHECK(scene.may_spoil(3, 7));
}

TEST_CASE("a copy that is not complete keeps nobody's block") {
  Scene scene;
  scene.map.sets[set_id].base = {1, 2};
  scene.agree();
  scene.spoil(1, 7);
  CHECK_FALSE(scene.may_spoil(2, 7));  // that disk 3 acts is not enough
}

TEST_CASE("nothing is hit in a set that nobody has told of") {
  Scene scene;
  CHECK_FALSE(scene.atlas.may_spoil(1, {9, 9}, object, 7));
}

TEST_CASE("of the copies that a write needs one is not doubted") {
  Scene scene;
  scene.map.groups[1].min_copies = 2;
  scene.agree();
  CHECK(scene.atlas.may_doubt(1));
  scene.atlas.lose(2);
  CHECK(scene.atlas.may_lose(1));  // disk 3 is sound; yet a write may be on 1 and 2 alone
  CHECK_FALSE(scene.atlas.may_doubt(1));
}

TEST_CASE("a copy that was filled beside damaged ones may have got the damage") {
  Scene scene;
  scene.spoil(1, 7);
  scene.map.sets[set_id].base = {1, 2, 4};
  scene.agree();
  CHECK(scene.atlas.marks(4).contains({set_id, object, 7, 0}));
  CHECK(scene.atlas.marks(2).empty());
  CHECK_FALSE(scene.may_spoil(2, 7));
}

TEST_CASE("a disk that was replaced, and filled between two looks, may have got the damage") {
  Scene scene;
  scene.spoil(1, 7);
  scene.atlas.lose(2);
  scene.atlas.replace(2, 999);
  scene.map.disks[2].uuid = 999;
  scene.agree();
  CHECK_FALSE(scene.atlas.is_lost(2));
  CHECK(scene.atlas.marks(2).contains({set_id, object, 7, 0}));
  CHECK(scene.atlas.marks(3).empty());
}

// Nothing was agreed after that, so it was taken for lost, and replaced (sp-sim 500006877).
TEST_CASE("a disk in whose place another one was refused is sound as soon as it is back") {
  Scene scene;
  scene.atlas.lose(2);
  scene.atlas.replace(2, 999);
  CHECK(scene.atlas.is_lost(2));
  scene.atlas.replace(2, 102);
  CHECK_FALSE(scene.atlas.is_lost(2));
}

TEST_CASE("a disk may be lost as long as others have all of it") {
  Scene scene;
  CHECK(scene.atlas.may_lose(2));
  scene.atlas.lose(2);
  CHECK(scene.atlas.is_lost(2));
  CHECK(scene.atlas.may_lose(1));
  CHECK(scene.atlas.may_lose(3));
  scene.atlas.lose(3);
  CHECK_FALSE(scene.atlas.may_lose(1));  // the last one of the first set
  CHECK_FALSE(scene.atlas.may_lose(4));  // and of the other
  CHECK_FALSE(scene.may_spoil(1, 7));
}

TEST_CASE("while an activation may be on its way only those that act are counted on") {
  Scene scene;
  scene.map.groups[1].min_copies = 2;
  scene.map.sets[set_id].acting = {1, 2};
  scene.agree();
  scene.atlas.lose(2);
  CHECK(scene.atlas.may_lose(1));  // disk 3 is sound, and stays
  scene.map.sets[set_id].activated = false;
  scene.agree();
  CHECK_FALSE(scene.atlas.may_lose(1));
  scene.map.groups[1].min_copies = 3;  // too few act: it does not change what is complete
  scene.agree();
  CHECK(scene.atlas.may_lose(1));
}

TEST_CASE("a disk is not lost that has the only valid copy of a block") {
  Scene scene = spoiled_but_on_third();
  CHECK_FALSE(scene.atlas.may_lose(3));
  CHECK(scene.atlas.may_lose(1));
  scene.atlas.mend(1, {set_id, object, 7, 4096u * 7});
  CHECK(scene.atlas.may_lose(3));
}

TEST_CASE("a disk that left a set may have the only valid copy of a block") {
  Scene scene = spoiled_but_on_third();
  scene.map.sets[set_id].base = {1, 2};
  scene.agree();
  CHECK_FALSE(scene.atlas.may_lose(3));
}

TEST_CASE("damage of what was deleted counts no more") {
  Scene scene;
  scene.spoil(1, 7);
  scene.spoil(3, 7);
  CHECK_FALSE(scene.may_spoil(2, 7));
  scene.map.volumes.clear();
  scene.map.layers[object.volume].id = object.volume;  // others stand on it
  scene.agree();
  CHECK_FALSE(scene.may_spoil(2, 7));
  scene.map.layers.clear();
  scene.agree();
  CHECK(scene.may_spoil(2, 7));
}

TEST_CASE("a block is bare when all that are complete are spoiled there") {
  Scene scene = spoiled_but_on_third();
  CHECK_FALSE(scene.atlas.some_block_is_bare());
  scene.map.sets[set_id].base = {1, 2};
  scene.agree();
  CHECK(scene.atlas.some_block_is_bare());
  scene.atlas.mend(2, {set_id, object, 7, 4096u * 7});
  CHECK_FALSE(scene.atlas.some_block_is_bare());
}

TEST_CASE("marks of another set bind nobody here") {
  Scene scene;
  scene.spoil(2, 7, other_set);
  scene.spoil(3, 7, other_set);
  CHECK(scene.atlas.may_lose(1));
  CHECK_FALSE(scene.atlas.may_lose(4));
}

TEST_CASE("a disk of no set may be lost") {
  Scene scene;
  CHECK(scene.atlas.may_lose(9));
}

TEST_CASE("a disk that is hit before the map has it is lost, and no more when it is forgotten") {
  Scene scene;
  scene.atlas.lose(8);
  scene.agree();
  CHECK(scene.atlas.is_lost(8));
  scene.map.disks[8].uuid = 108;
  scene.agree();
  CHECK(scene.atlas.is_lost(8));
  scene.map.disks.erase(8);
  scene.agree();
  CHECK_FALSE(scene.atlas.is_lost(8));
}

TEST_CASE("a disk that was replaced is lost until the map knows the new one") {
  Scene scene;
  scene.spoil(1, 7);
  scene.atlas.lose(1);
  scene.atlas.replace(1, 555);
  CHECK(scene.atlas.is_lost(1));
  scene.agree();
  CHECK(scene.atlas.is_lost(1));
  scene.map.disks[1].uuid = 555;
  scene.agree();
  CHECK_FALSE(scene.atlas.is_lost(1));
  CHECK(scene.atlas.marks(1).empty());
}

TEST_CASE("a disk that is lost itself is not found again by its own uuid") {
  Scene scene;
  scene.atlas.lose(1);
  scene.agree();
  CHECK(scene.atlas.is_lost(1));
  scene.atlas.find_sound(1);
  CHECK_FALSE(scene.atlas.is_lost(1));
}

TEST_CASE("a lost disk that was forgotten is no more, and has no marks") {
  Scene scene;
  scene.spoil(1, 7);
  scene.atlas.lose(1);
  scene.map.disks.erase(1);
  scene.agree();
  CHECK_FALSE(scene.atlas.is_lost(1));
  CHECK(scene.atlas.marks(1).empty());
}

TEST_CASE("an older map says nothing") {
  Scene scene;
  map::Map older = scene.map;
  older.index = scene.map.index - 1;
  older.sets[set_id].base = {1};
  scene.atlas.observe(older);
  CHECK_FALSE(scene.atlas.is_only_copy(1));
  CHECK(scene.atlas.may_lose(1));
}

TEST_CASE("an only copy is one of some set") {
  Scene scene;
  CHECK_FALSE(scene.atlas.is_only_copy(2));
  scene.map.sets[other_set].base = {2};
  scene.agree();
  CHECK(scene.atlas.is_only_copy(2));
  CHECK_FALSE(scene.atlas.is_only_copy(1));
}

TEST_CASE("company is another disk that leads, is sound, and has been activated") {
  Scene scene;
  CHECK_FALSE(scene.atlas.has_company(1));  // it leads itself
  CHECK(scene.atlas.has_company(3));
  scene.map.sets[other_set].activated = false;
  scene.agree();
  CHECK_FALSE(scene.atlas.has_company(3));
  scene.map.sets[other_set].activated = true;
  scene.agree();
  scene.atlas.lose(2);
  CHECK_FALSE(scene.atlas.has_company(3));
  CHECK(scene.atlas.has_company(9));
}

TEST_CASE("of the voters a majority keeps its log") {
  Scene scene;
  CHECK(scene.atlas.may_lose_log(1));
  scene.atlas.lose_log(1);
  CHECK(scene.atlas.has_lost_log(1));
  CHECK_FALSE(scene.atlas.may_lose_log(1));  // not twice before it is back
  CHECK(scene.atlas.may_lose_log(2));
  scene.atlas.lose_log(2);
  CHECK_FALSE(scene.atlas.may_lose_log(3));
  scene.atlas.log_is_back(1);
  CHECK(scene.atlas.may_lose_log(3));
}

TEST_CASE("of four voters two are no majority") {
  Scene scene;
  scene.map.nodes[5].voting = false;
  scene.agree();
  scene.atlas.lose_log(1);
  CHECK_FALSE(scene.atlas.may_lose_log(2));
}

}  // namespace
}  // namespace sp::sim
