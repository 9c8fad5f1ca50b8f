// What a small disk holds, as a value, and the verbs that change it, for tests that crash it at
// every I/O. Two sets: `the_set` with one object of four blocks, `other_set` with one block and
// whatever fills the disk.
//
// Decisions and forgotten tombstones are durable with a later round. So after a crash a disk may be
// in more than one state; World lists them all: what was acknowledged, then each lazy step since,
// then what was under way.
#pragma once
#include <doctest/doctest.h>

#include <algorithm>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "crash/store/store_rig.h"

namespace sp::test {

constexpr SetId the_set{1, 0}, other_set{1, 1};
constexpr ObjectId the_object{9, 4}, other_object{8, 2};
constexpr uint16_t the_blocks = 4;

enum class Verb {
  write,
  overwrite,
  write_many,
  write_two,
  burst,
  discard,
  decide,
  decide_both,
  drop,
  put_set,
  checkpoint,
  save_index,
  recover,
  recover_old,
  repair,
  forget,
  remove_volume,
  remove_set,
  count
};
constexpr const char* verb_names[] = {
    "write",   "overwrite",   "write_many", "write_two", "burst",         "discard",
    "decide",  "decide_both", "drop",       "put_set",   "checkpoint",    "save_index",
    "recover", "recover_old", "repair",     "forget",    "remove_volume", "remove_set"};
static_assert(std::size(verb_names) == static_cast<size_t>(Verb::count));
constexpr size_t burst_discards = 90;  // in one round, which so has two log pages

// Step n may use 128 versions.
inline Version version_of(uint64_t n, uint64_t i = 0) { return Version(1, n * 128 + i); }

inline uint64_t crc_of(uint64_t stamp, uint16_t part) {
  static std::map<std::pair<uint64_t, uint16_t>, uint64_t> known;
  const auto [it, is_new] = known.try_emplace({stamp, part});
  if (is_new) it->second = crcs_of(block_of(stamp, part + 1u)).back();
  return it->second;
}

struct ModelBlock {
  Version version;
  uint64_t stamp = 0;  // 0: discarded
  uint16_t part = 0;   // block within the stamp
};
struct ModelWrite {
  ObjectId object;
  uint16_t first = 0, count = 0;
  uint64_t stamp = 0;  // 0: a discard
};
constexpr size_t operations_kept = 256;  // of each of two sets, on a log of 128 pages
struct ModelSet {
  std::map<std::pair<ObjectId, uint16_t>, ModelBlock> blocks;
  std::map<Version, ModelWrite> undecided;
  std::set<Version> operations;  // that have to be known
  Version decided;
  std::optional<uint32_t> epoch;

  void show(Version version, const ModelWrite& write) {
    for (uint16_t i = 0; i < write.count; i++) {
      ModelBlock& block = blocks[{write.object, static_cast<uint16_t>(write.first + i)}];
      if (version > block.version)
        block = {version, write.stamp, write.stamp == 0 ? uint16_t{0} : i};
    }
  }
  void prepare(Version version, const ModelWrite& write) {
    undecided[version] = write;
    operations.insert(version);
    if (operations.size() > operations_kept) operations.erase(operations.begin());
  }
  void decide(Version up_to) {
    decided = std::max(decided, up_to);
    while (!undecided.empty() && undecided.begin()->first <= up_to) {
      show(undecided.begin()->first, undecided.begin()->second);
      undecided.erase(undecided.begin());
    }
  }
  void drop() {
    operations.erase(operations.upper_bound(decided), operations.end());
    undecided.clear();
  }
  // An object of another copy that has only `block`.
  void recover(ObjectId object, uint16_t block, Version changed, uint64_t stamp) {
    for (auto& [key, known] : blocks)
      if (key.first == object && key.second != block && known.version <= changed)
        known = {changed, 0, 0};
    if (!undecided.empty())  // what they show must not come back
      for (uint16_t i = 0; i < the_blocks; i++)
        if (ModelBlock& known = blocks[{object, i}]; i != block && known.version <= changed)
          known = {changed, 0, 0};
    ModelBlock& known = blocks[{object, block}];
    if (known.version < changed) known = {changed, stamp, 0};
  }
  void forget(Version passed) {
    std::erase_if(blocks, [&](const auto& item) {
      return item.second.stamp == 0 && item.second.version <= passed;
    });
  }
  void remove_volume(VolumeId volume) {
    std::erase_if(blocks, [&](const auto& item) { return item.first.first.volume == volume; });
    std::erase_if(undecided, [&](const auto& item) { return item.second.object.volume == volume; });
  }
};

struct Model {
  ModelSet sets[2];  // the_set, other_set
};
inline SetId set_id(size_t index) { return index == 0 ? the_set : other_set; }
inline size_t set_index(SetId id) { return id == the_set ? 0 : 1; }

struct World {
  uint64_t next = 1;           // number of the next step: its versions and stamp
  std::vector<Model> states;   // acknowledged; after each lazy step since
  std::optional<Model> after;  // with what was under way when the device stopped
  std::vector<Model> partly;   // with a part of it: on a full disk the rest may have been refused
  bool full = false;           // growth may be refused
  bool refused = false;        // the last step was

  Model& now() { return states.back(); }
  void lazily(Model model) { states.push_back(std::move(model)); }
  void acknowledged(Model model) { states.assign(1, std::move(model)); }
  std::vector<Model> possible() const {
    std::vector<Model> all = states;
    all.insert(all.end(), partly.begin(), partly.end());
    if (after) all.push_back(*after);
    return all;
  }
  void nothing_under_way() {
    after.reset();
    partly.clear();
  }
};

// Everything that the store shows of one set and its object.
struct Shown {
  std::map<uint16_t, std::pair<Version, uint64_t>> blocks;  // version and checksum
  std::vector<Version> undecided;
  Version decided;
  std::optional<uint32_t> epoch;
  bool operator==(const Shown&) const = default;
  std::string text() const {
    std::string out = "decided " + std::to_string(decided.sequence()) + ", epoch " +
                      std::to_string(epoch.value_or(0)) + ", undecided";
    for (const Version version : undecided) out += " " + std::to_string(version.sequence());
    out += ", blocks";
    for (const auto& [block, what] : blocks)
      out += " " + std::to_string(block) + "@" + std::to_string(what.first.sequence());
    return out;
  }
};
inline ObjectId object_of(size_t set) { return set == 0 ? the_object : other_object; }

inline Shown expected_of(const Model& model, size_t index) {
  const ModelSet& set = model.sets[index];
  Shown shown;
  for (const auto& [key, block] : set.blocks)
    if (key.first == object_of(index) && block.stamp != 0)
      shown.blocks[key.second] = {block.version, crc_of(block.stamp, block.part)};
  for (const auto& [version, write] : set.undecided) shown.undecided.push_back(version);
  shown.decided = set.decided;
  shown.epoch = set.epoch;
  return shown;
}

// Reads the object's own blocks, whether or not the index lists them. What else fills the disk is
// taken from the index: `check_clean` has read it before.
inline Shown shown_by(StoreRig& rig, size_t index) {
  Shown shown;
  const ObjectId object = object_of(index);
  const auto look = [&](uint16_t block) {
    const auto read = rig.read(object, block);
    INFO((read.status.ok() ? "" : read.status.error().message()));
    REQUIRE(read.status.ok());
    if (read.zero())
      CHECK(read.version.is_zero());
    else
      shown.blocks[block] = {read.version, crc64(read.data.bytes())};
  };
  for (uint16_t block = 0; block < the_blocks; block++) look(block);
  size_t listed = 0;
  for (const auto& state : rig.object_state(object).blocks) {
    if (state.block >= the_blocks) shown.blocks[state.block] = {state.version, state.crc};
    CHECK(shown.blocks.contains(state.block));
    listed++;
  }
  CHECK(listed == shown.blocks.size());
  for (const auto& record : rig.store->undecided(set_id(index)))
    shown.undecided.push_back(record.version);
  shown.decided = rig.store->decided_to(set_id(index));
  if (const auto record = rig.store->set_record(set_id(index))) shown.epoch = record->epoch;
  return shown;
}

inline bool operations_known(StoreRig& rig, const Model& model) {
  for (size_t index = 0; index < 2; index++) {
    std::set<Version> known;
    for (const auto& [id, version] : rig.store->operations(set_id(index))) known.insert(version);
    for (const Version version : model.sets[index].operations)
      if (!known.contains(version)) return false;
  }
  return true;
}

// Runs one verb; false when the device stopped in it.
class Runner {
 public:
  Runner(StoreRig& rig, World& world) : rig_(rig), world_(world) {}
  bool run(Verb verb);

 private:
  struct Write {
    SetId set;
    Version version;
    ModelWrite what;
  };
  Status prepare(const std::vector<Write>& writes);
  Status recover(uint16_t block, Version changed, uint64_t stamp);
  Status repair();
  bool lazily(Verb verb);

  StoreRig& rig_;
  World& world_;
  Model after_;
  uint64_t n_ = 0;
};

}  // namespace sp::test
