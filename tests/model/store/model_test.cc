// Random operations on several sets against a model of maps, with reopening, log wrap-around and a
// disk that fills up.
#include <doctest/doctest.h>

#include <array>
#include <map>

#include "crash/store/store_rig.h"
#include "store/accounts.h"
#include "store/check.h"

using namespace sp;
using namespace sp::test;

namespace {

struct ModelBlock {
  Version version;
  uint64_t stamp = 0;
  uint16_t part = 0;
};
struct ModelWrite {
  ObjectId object;
  uint16_t first, count;
  uint64_t stamp;
  bool discard;
};
struct ModelSet {
  std::map<std::pair<ObjectId, uint16_t>, ModelBlock> blocks;
  std::map<Version, ModelWrite> undecided;
  Version decided;
  uint64_t next = 1;
  uint32_t epoch = 1;
  std::optional<uint32_t> record_epoch;

  void decide(Version up_to) {
    decided = std::max(decided, up_to);
    while (!undecided.empty() && undecided.begin()->first <= up_to) {
      const auto [version, write] = *undecided.begin();
      undecided.erase(undecided.begin());
      for (uint16_t i = 0; i < write.count; i++) {
        const auto key = std::pair(write.object, static_cast<uint16_t>(write.first + i));
        if (write.discard)
          blocks.erase(key);
        else
          blocks[key] = {version, write.stamp, i};
      }
    }
  }
};

class Run {
 public:
  Run(uint64_t seed, uint64_t log_pages, uint64_t slots)
      : random_(seed),
        medium_(StoreRig::formatted(small_layout(log_pages, slots, seed % 2 * 2))),
        table_bytes_(std::array<uint64_t, 3>{store::table_bytes_max, 9000, 1}[seed % 3]) {
    new_rig(seed);
    REQUIRE(rig_->open().ok());
  }

  void step() {
    const uint64_t dice = random_.below(100);
    const SetId id{1, static_cast<uint16_t>(random_.below(3))};
    ModelSet& set = sets_[id];
    if (dice < 50)
      write(id, set);
    else if (dice < 60)
      discard(id, set);
    else if (dice < 80)
      decide(id, set);
    else if (dice < 83)
      drop(id, set);
    else if (dice < 86)
      put_set(id, set);
    else if (dice < 88)
      remove_volume(id, set);
    else if (dice < 89)
      REQUIRE(rig_->checkpoint().ok());
    else if (dice < 90)
      REQUIRE(rig_->save_index().ok());
    else if (dice < 92)
      rig_->store->forget_tombstones(id, set.decided);
    else if (dice < 94)
      reopen();
    else if (dice < 96)
      move_object(id, set);
    else if (dice < 97)
      check_space();
    else
      compare_some(id, set);
  }

  void compare_all() {
    for (auto& [id, set] : sets_) {
      std::vector<Version> undecided;
      for (const auto& record : rig_->store->undecided(id)) undecided.push_back(record.version);
      std::vector<Version> expected;
      for (const auto& [version, write] : set.undecided) expected.push_back(version);
      REQUIRE(undecided == expected);
      size_t listed = 0;
      ObjectId cursor{};
      for (;;) {
        const auto objects = rig_->store->changed_objects(id, Version{}, cursor, 3);
        if (objects.empty()) break;
        cursor = objects.back();
        for (const ObjectId object : objects) listed += rig_->object_state(object).blocks.size();
      }
      REQUIRE(listed == set.blocks.size());
      for (const auto& [key, block] : set.blocks) {
        auto read = rig_->read(key.first, key.second);
        REQUIRE(read.status.ok());
        REQUIRE(read.version == block.version);
        REQUIRE(read.holds(block.stamp, block.part));
      }
    }
  }
  void new_rig(uint64_t seed) {
    rig_ = std::make_unique<StoreRig>(medium_, seed);
    rig_->options.table_bytes_max = table_bytes_;
    rig_->options.index_turn_objects = 1;
  }
  void reopen() {
    if (random_.below(2) == 0)
      rig_->settle();  // else as after kill -9: completed, not flushed, but still in the cache
    // Decisions are lazy: what the store knows as undecided after opening is decided again by the
    // layer above.
    medium_.settle();
    new_rig(random_.number());
    const Status opened = rig_->open();
    INFO((opened.ok() ? "" : opened.error().message()));
    REQUIRE(opened.ok());
    for (auto& [id, set] : sets_)
      if (!set.decided.is_zero()) rig_->store->decide(id, set.decided);
    compare_all();
    check_space();
  }
  // At rest every slot is free, or has the block or the undecided write that the model knows.
  void check_space() {
    rig_->settle();
    uint64_t decided = 0, undecided = 0;
    for (const auto& [id, set] : sets_) {
      decided += set.blocks.size();
      for (const auto& [version, write] : set.undecided)
        if (!write.discard) undecided += write.count;
    }
    const store::Accounts accounts = store::accounts_of(*rig_->store);
    REQUIRE(accounts.difference() == "");
    REQUIRE(accounts.decided == decided);
    REQUIRE(accounts.undecided == undecided);
    REQUIRE(rig_->store->stats().blocks_used == decided + undecided);
  }
  void check_clean() {
    check_space();
    StoreRig other(medium_);
    std::optional<Status> outcome;
    store::Report report;
    store::CheckOptions options;
    options.digests = true;
    options.table_bytes_max = table_bytes_;
    store::check(other.machine().host, other.new_disk(), options, [&](Result<store::Report> made) {
      report = *made;
      outcome = Status{};
    });
    REQUIRE(other.wait(outcome).ok());
    for (const auto& finding : report.findings) INFO(finding.place << ": " << finding.explanation);
    CHECK(report.worst() < store::Severity::damage);
  }
  uint64_t refused() const { return refused_; }
  uint64_t full() const { return full_; }

 private:
  ObjectId some_object(SetId id) {
    return {static_cast<VolumeId>(1 + id.index + 10 * random_.below(2)),
            static_cast<uint32_t>(random_.below(4))};
  }
  Version next_version(ModelSet& set) {
    if (random_.below(50) == 0) {
      set.epoch++;
      set.next = 1;
    }
    return Version(set.epoch, set.next++);
  }

  void write(SetId id, ModelSet& set) {
    const auto count = static_cast<uint16_t>(1 + random_.below(random_.below(8) == 0 ? 40 : 4));
    const auto first = static_cast<uint16_t>(
        random_.below(2) == 0 ? random_.below(60)
                              : random_.below(limits::blocks_per_object - count));
    const ObjectId object = some_object(id);
    const Version version = next_version(set);
    const uint64_t stamp = ++stamp_;
    const Status status = rig_->write(object, first, count, version, stamp, id);
    if (!status.ok()) {
      REQUIRE(status.error().code() == Code::no_space);
      full_++;
      return;
    }
    set.undecided[version] = {object, first, count, stamp, false};
    if (random_.below(20) == 0)
      REQUIRE(
          rig_->write(object, first, count, version, stamp, id).ok());  // a retry changes nothing
  }
  void discard(SetId id, ModelSet& set) {
    const auto count = static_cast<uint16_t>(
        1 + random_.below(random_.below(3) == 0 ? limits::blocks_per_object : 20));
    const auto first = static_cast<uint16_t>(random_.below(limits::blocks_per_object - count + 1));
    const ObjectId object = some_object(id);
    const Version version = next_version(set);
    REQUIRE(rig_->discard(object, first, count, version, id).ok());
    set.undecided[version] = {object, first, count, 0, true};
  }
  void decide(SetId id, ModelSet& set) {
    if (set.undecided.empty()) return;
    auto at = set.undecided.begin();
    std::advance(at, random_.below(set.undecided.size()));
    const Version version = at->first;
    set.decide(version);
    rig_->store->decide(id, version);
  }
  void drop(SetId id, ModelSet& set) {
    if (random_.below(4) != 0) return;
    REQUIRE(rig_->drop(id).ok());
    set.undecided.clear();
  }
  void put_set(SetId id, ModelSet& set) {
    set.record_epoch = set.epoch;
    REQUIRE(rig_->put_set({id, set.epoch, false, Version{}}).ok());
    REQUIRE(rig_->store->set_record(id)->epoch == set.epoch);
  }
  void remove_volume(SetId id, ModelSet& set) {
    const VolumeId volume = some_object(id).volume;
    REQUIRE(rig_->remove_volume(volume).ok());
    std::erase_if(set.blocks, [&](const auto& item) { return item.first.first.volume == volume; });
    std::erase_if(set.undecided,
                  [&](const auto& item) { return item.second.object.volume == volume; });
  }
  // An object comes back from "another copy" which is this model, one version later.
  void move_object(SetId id, ModelSet& set) {
    const ObjectId object = some_object(id);
    if (!set.undecided.empty()) return;
    const Version version = next_version(set);
    store::ObjectState source;
    source.object = object;
    source.set = id;
    source.changed = version;
    std::vector<uint16_t> carried;
    std::map<std::pair<ObjectId, uint16_t>, ModelBlock> changed = set.blocks;
    for (const auto& [key, block] : set.blocks) {
      if (key.first != object) continue;
      if (random_.below(4) == 0) {
        changed.erase(key);
        continue;
      }
      source.blocks.push_back(
          {key.second, block.version, rig_->object_state(object).blocks.front().crc});
      const bool carry = random_.below(2) == 0;
      const ModelBlock now = carry ? ModelBlock{version, ++stamp_, 0} : block;
      if (carry) carried.push_back(key.second);
      source.blocks.back().version = now.version;
      changed[key] = now;
    }
    Buffer data = Buffer::allocate(std::max<size_t>(carried.size(), 1) * 4096);
    for (size_t i = 0; i < carried.size(); i++) {
      const Buffer block = block_of(changed[{object, carried[i]}].stamp);
      std::memcpy(data.data() + i * 4096, block.data(), 4096);
      for (auto& state : source.blocks)
        if (state.block == carried[i]) state.crc = crc64(block.bytes());
    }
    const Status status = rig_->apply(source, carried, data);
    if (!status.ok()) {
      REQUIRE(status.error().code() == Code::no_space);
      refused_++;
      return;
    }
    set.blocks = changed;
  }
  void compare_some(SetId id, ModelSet& set) {
    const ObjectId object = some_object(id);
    const auto block = static_cast<uint16_t>(random_.below(80));
    auto read = rig_->read(object, block);
    REQUIRE(read.status.ok());
    const auto known = set.blocks.find({object, block});
    if (known == set.blocks.end())
      REQUIRE(read.zero());
    else
      REQUIRE(read.holds(known->second.stamp, known->second.part));
  }

  io::SeededRandom random_;
  FakeMedium medium_;
  const uint64_t table_bytes_;  // of slot table in memory: all of it, two pages, or next to nothing
  std::unique_ptr<StoreRig> rig_;
  std::map<SetId, ModelSet> sets_;
  uint64_t stamp_ = 0;
  uint64_t refused_ = 0;
  uint64_t full_ = 0;
};

}  // namespace

TEST_CASE("random operations agree with a model through reopening and many laps of the log") {
  for (uint64_t seed = 1; seed <= 6; seed++) {
    CAPTURE(seed);
    Run run(seed, 128, 6000);
    for (int i = 0; i < 3000; i++) run.step();
    run.compare_all();
    run.reopen();
    run.check_clean();
  }
}

TEST_CASE("random operations agree with a model on a disk that is full most of the time") {
  uint64_t full = 0;
  for (uint64_t seed = 11; seed <= 16; seed++) {
    CAPTURE(seed);
    Run run(seed, 128, 300);
    for (int i = 0; i < 3000; i++) run.step();
    run.compare_all();
    run.reopen();
    run.check_clean();
    full += run.full();
  }
  CHECK(full > 100);
}
