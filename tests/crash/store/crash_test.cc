// Crash at every I/O of every short sequence of operations, with every fate of the unflushed
// writes: what was acknowledged is there, nothing else is visible, and the store goes on from
// there.
#include <doctest/doctest.h>

#include <cstdlib>
#include <set>

#include "crash/store/store_rig.h"
#include "store/check.h"

using namespace sp;
using namespace sp::test;

namespace {

constexpr SetId the_set{1, 0};
constexpr ObjectId the_object{9, 4};
constexpr uint32_t blocks = 3;

enum class Step {
  write,
  overwrite,
  write_many,
  discard,
  decide,
  drop,
  put_set,
  checkpoint,
  recover,
  repair,
  remove_volume,
  count
};
const char* step_names[] = {"write",   "overwrite", "write_many",   "discard",
                            "decide",  "drop",      "put_set",      "checkpoint",
                            "recover", "repair",    "remove_volume"};

// What the store has to show. An undecided write is {version, first, count, stamp or discard}.
struct Pending {
  Version version;
  uint16_t first = 0;
  uint16_t count = 0;
  uint64_t stamp = 0;
  bool discard = false;
};
struct Block {
  Version version;
  uint64_t stamp = 0;  // 0: reads as zeros
  uint16_t part = 0;   // block within the stamp
  auto operator<=>(const Block&) const = default;
};
struct Model {
  Block visible[blocks];
  std::vector<Pending> undecided;
  Version decided;     // given to decide
  uint32_t epoch = 0;  // of the set record

  void show(const Pending& write) {
    for (uint16_t i = 0; i < write.count; i++)
      if (write.version > visible[write.first + i].version)
        visible[write.first + i] = {write.version, write.discard ? 0 : write.stamp,
                                    write.discard ? uint16_t{0} : i};
  }
  void decide(Version up_to) {
    std::vector<Pending> rest;
    for (const Pending& write : undecided) {
      if (write.version <= up_to)
        show(write);
      else
        rest.push_back(write);
    }
    undecided = rest;
    decided = std::max(decided, up_to);
  }
};

struct World {
  Model model;
  uint64_t next = 1;    // version sequence and stamp
  bool unsure = false;  // the last step was not acknowledged
  Model after;          // what it would have led to
};

Version version_of(uint64_t n) { return Version(1, n); }

// Runs one step; false when the device stopped in it.
bool run(StoreRig& rig, World& world, Step step) {
  Model after = world.model;
  const uint64_t n = world.next++;
  Status status;
  switch (step) {
    case Step::write:
    case Step::overwrite:
    case Step::write_many: {
      Pending write{version_of(n), static_cast<uint16_t>(step == Step::write ? 1 : 0),
                    static_cast<uint16_t>(step == Step::write_many ? 3 : 1), n, false};
      after.undecided.push_back(write);
      world.after = after;
      status = rig.write(the_object, write.first, write.count, write.version, write.stamp);
      break;
    }
    case Step::discard:
      after.undecided.push_back({version_of(n), 0, 2, 0, true});
      world.after = after;
      status = rig.discard(the_object, 0, 2, version_of(n));
      break;
    case Step::decide:
      rig.store->decide(the_set, version_of(n));
      after.decide(version_of(n));
      world.model = after;
      return true;
    case Step::drop:
      after.undecided.clear();
      world.after = after;
      status = rig.drop();
      break;
    case Step::put_set:
      after.epoch = static_cast<uint32_t>(n);
      world.after = after;
      status = rig.put_set({the_set, after.epoch, false, Version{}});
      break;
    case Step::checkpoint:
      world.after = after;
      status = rig.checkpoint();
      break;
    case Step::recover: {
      // A copy that knows block 2 newer than we do, and nothing else.
      store::ObjectState source;
      source.object = the_object;
      source.set = the_set;
      source.changed = version_of(n);
      const Buffer data = block_of(n);
      source.blocks.push_back({2, version_of(n), crc64(data.bytes())});
      after.visible[0] = after.visible[1] = {version_of(n), 0, 0};
      after.visible[2] = {version_of(n), n, 0};
      world.after = after;
      status = rig.apply(source, {2}, data);
      break;
    }
    case Step::repair: {
      const Block& block = world.model.visible[1];
      world.after = after;
      if (block.stamp == 0) return true;
      const Buffer all = block_of(block.stamp, block.part + 1u);
      status = rig.repair(the_object, 1, block.version,
                          Buffer::copy_of(all.bytes().subspan(block.part * 4096, 4096)));
      break;
    }
    case Step::remove_volume:
      for (Block& block : after.visible) block = {};
      after.undecided.clear();
      world.after = after;
      status = rig.remove_volume(the_object.volume);
      break;
    case Step::count: break;
  }
  if (status.ok()) {
    world.model = after;
    return true;
  }
  CHECK(status.error().code() == Code::interrupted);
  world.unsure = true;
  return false;
}

Block shown(StoreRig& rig, uint16_t block, uint64_t newest) {
  auto read = rig.read(the_object, block);
  INFO((read.status.ok() ? "" : read.status.error().message()));
  REQUIRE(read.status.ok());
  if (read.zero()) return {read.version, 0, 0};
  for (uint64_t n = 1; n <= newest; n++)
    for (uint16_t part = 0; part < blocks; part++)
      if (read.holds(n, part)) return {read.version, n, part};
  FAIL("content that nobody wrote");
  return {};
}

// Whether the store agrees with the model, given that decisions are remembered lazily: first the
// undecided ones are settled.
bool agrees(StoreRig& rig, Model model, uint64_t newest) {
  const auto listed = rig.store->undecided(the_set);
  std::set<Version> versions;
  for (const auto& record : listed) versions.insert(record.version);
  for (const Pending& write : model.undecided)
    if (!versions.contains(write.version)) return false;
  for (const Version version : versions) {
    const bool known = std::any_of(model.undecided.begin(), model.undecided.end(),
                                   [&](const Pending& w) { return w.version == version; });
    if (!known && version > model.decided) return false;
  }
  if (model.epoch != 0 &&
      (!rig.store->set_record(the_set) || rig.store->set_record(the_set)->epoch != model.epoch))
    return false;
  if (model.epoch == 0 && rig.store->set_record(the_set)) return false;
  (void)newest;
  return true;
}

bool same_blocks(StoreRig& rig, const Model& model, uint64_t newest) {
  for (uint16_t i = 0; i < blocks; i++) {
    const Block block = shown(rig, i, newest);
    if (block.stamp != model.visible[i].stamp ||
        (block.stamp != 0 && block.part != model.visible[i].part))
      return false;
  }
  return true;
}

void check_clean(FakeMedium& medium) {
  StoreRig rig(medium);
  store::Report report;
  REQUIRE(rig.check(report).ok());
  for (const auto& finding : report.findings) INFO(finding.place << ": " << finding.explanation);
  CHECK(report.worst() < store::Severity::damage);
}

// The store after the crash: right, and able to go on.
void verify(FakeMedium& medium, const World& world, const std::string& story) {
  INFO(story);
  check_clean(medium);
  StoreRig rig(medium);
  const Status opened = rig.open();
  INFO((opened.ok() ? "" : opened.error().message()));
  REQUIRE(opened.ok());
  const bool before = agrees(rig, world.model, world.next);
  const bool after = world.unsure && agrees(rig, world.after, world.next);
  CHECK((before || after));
  // Nothing is visible that the model does not show, apart from decisions that were forgotten:
  // deciding again must bring them all.
  const Model& model = world.model;
  if (!model.decided.is_zero()) rig.store->decide(the_set, model.decided);
  const bool as_before = same_blocks(rig, model, world.next);
  const bool as_after = world.unsure && same_blocks(rig, world.after, world.next);
  CHECK((as_before || as_after));
  // Going on: another write, decided, and a second opening that finds it.
  const uint64_t n = world.next + 5;
  REQUIRE(rig.write(the_object, 1, 1, version_of(n), n).ok());
  rig.store->decide(the_set, version_of(n));
  CHECK(rig.read(the_object, 1).holds(n));
  REQUIRE(rig.checkpoint().ok());
  medium.settle();
  StoreRig again(medium, 2);
  REQUIRE(again.open().ok());
  CHECK(again.read(the_object, 1).holds(n));
  CHECK(again.store->undecided(the_set).empty());
}

// All fates of up to `exhaustive` unflushed writes, a sample beyond; whole, lost, torn at 512
// bytes, garbage.
void crash_all_ways(const FakeMedium& at_crash, const World& world, const std::string& story,
                    io::Random& random) {
  const size_t count = at_crash.unflushed.size();
  const bool exhaustive = count <= 3;
  const size_t ways = exhaustive ? (size_t{1} << count) : 6;
  for (size_t way = 0; way < ways + 2; way++) {
    FakeMedium medium = at_crash;
    medium.stop_at = ~uint64_t{0};
    const size_t subset =
        way < ways && exhaustive ? way : random.below(1u << std::min<size_t>(count, 30));
    for (size_t i = 0; i < count; i++) {
      const auto& write = at_crash.unflushed[i];
      if (way >= ways && random.below(2) == 0) {
        const uint64_t sector = random.below(write.bytes.size() / 512);
        if (way == ways) {
          medium.apply(write, 0, sector * 512);  // torn
        } else {
          medium.apply(write, 0, write.bytes.size());
          std::vector<std::byte> garbage(512);
          random.fill(garbage);
          std::memcpy(medium.bytes.data() + write.offset + sector * 512, garbage.data(), 512);
        }
        continue;
      }
      if ((subset >> i & 1) != 0) medium.apply(write, 0, write.bytes.size());
    }
    medium.unflushed.clear();
    verify(medium, world, story + ", fate " + std::to_string(way));
  }
}

void sequence_with_crashes(const std::vector<Step>& steps, io::Random& random, bool sampled) {
  static const FakeMedium fresh = StoreRig::formatted(small_layout(128, 130));
  for (uint64_t stop = 0;; stop++) {
    if (sampled && random.below(5) != 0 && stop < 40) continue;
    FakeMedium medium = fresh;
    World world;
    std::string story;
    bool stopped = false;
    {
      StoreRig rig(medium);
      REQUIRE(rig.open().ok());
      // Something to overwrite, discard and repair.
      REQUIRE(rig.write(the_object, 0, 3, version_of(1), 1).ok());
      rig.store->decide(the_set, version_of(1));
      world.model.undecided.push_back({version_of(1), 0, 3, 1, false});
      world.model.decide(version_of(1));
      world.next = 2;
      medium.stop_at = medium.operations + stop;
      for (const Step step : steps) {
        story += std::string(story.empty() ? "" : " ") + step_names[static_cast<int>(step)];
        if (!run(rig, world, step)) {
          stopped = true;
          break;
        }
      }
      if (!stopped) {
        rig.settle();
        stopped = medium.stopped();
      }
    }
    story += ", stopped at I/O " + std::to_string(stop);
    crash_all_ways(medium, world, story, random);
    if (!stopped) return;
  }
}

}  // namespace

TEST_CASE(
    "after a crash at any I/O of any pair of operations, what was acknowledged is there and "
    "nothing else is visible") {
  io::SeededRandom random(1);
  for (int a = 0; a < static_cast<int>(Step::count); a++)
    for (int b = 0; b < static_cast<int>(Step::count); b++)
      sequence_with_crashes({Step(a), Step(b)}, random, false);
}

TEST_CASE(
    "after a crash at sampled I/Os of any three operations, what was acknowledged is there and "
    "nothing else is visible") {
  io::SeededRandom random(2);
  for (int a = 0; a < static_cast<int>(Step::count); a++)
    for (int b = 0; b < static_cast<int>(Step::count); b++)
      for (int c = 0; c < static_cast<int>(Step::count); c++)
        sequence_with_crashes({Step(a), Step(b), Step(c)}, random, true);
}
