// The rules of disk sets under the protocol they were made for: all worlds within a number of
// steps, and long random walks.
#include <doctest/doctest.h>

#include <algorithm>
#include <unordered_set>

#include "base/checksum.h"
#include "model/map/set_world.h"

namespace sp::map::model {
namespace {

struct Found {
  std::string wrong;
  std::string trace;
  size_t worlds = 0;
  int depth = 0;
};

void append(std::vector<std::byte>& out, const auto& value) {
  const Bytes bytes = struct_bytes(value);
  out.insert(out.end(), bytes.begin(), bytes.end());
}

uint64_t hash_of(const World& world) {
  static thread_local std::vector<std::byte> bytes;
  bytes.clear();
  append(bytes, world.row);
  for (const Copy& copy : world.copy) {
    append(bytes, copy.view);
    for (const uint8_t byte :
         {copy.epoch, copy.collected, copy.spread, copy.recovered, copy.promoting})
      append(bytes, byte);
    append(bytes, copy.record);
    append(bytes, copy.acknowledged);
  }
  for (const uint8_t byte :
       {world.alive, world.up, world.ordered, world.answered, world.dead, world.asked_revision,
        world.asked_disk, world.asked_epoch, world.crashes, world.false_alarms, world.evictions,
        world.retargets, world.wipes})
    append(bytes, byte);
  return mix64(crc64(bytes));
}

// Breadth first, all worlds, until `worlds_max` have been seen.
Found explore(const Setup& setup, size_t worlds_max) {
  Model model(setup);
  std::unordered_set<uint64_t> seen;
  std::vector<World> level{model.start()}, next_level;
  std::vector<Step> steps;
  Found found;
  for (; !level.empty() && seen.size() < worlds_max; ++found.depth) {
    next_level.clear();
    for (const World& world : level) {
      model.successors(world, steps, false);
      for (const Step& step : steps) {
        if (!seen.insert(hash_of(step.world)).second) continue;
        found.wrong = model.check(step.world);
        found.worlds = seen.size();
        if (!found.wrong.empty()) return found;
        next_level.push_back(step.world);
      }
    }
    level.swap(next_level);
  }
  return found;
}

// Faults are rarer than the work between them, so that the work comes somewhere.
const Step& draw_step(const std::vector<Step>& steps, uint64_t& random) {
  const auto first_fault =
      std::find_if(steps.begin(), steps.end(), [](const Step& step) { return step.fault; });
  const auto work = static_cast<size_t>(first_fault - steps.begin());
  random = mix64(random);
  const bool fault = work == 0 || (work < steps.size() && random % 8 == 0);
  return fault ? steps[work + (random >> 8) % (steps.size() - work)] : steps[(random >> 8) % work];
}

// Random walks: far deeper than the search comes. From the end of each the protocol alone must make
// the set whole.
Found walk(const Setup& setup, int walks, int length, uint64_t seed) {
  Found found;
  for (int i = 0; i < walks; ++i) {
    Model model(setup);
    World world = model.start();
    std::vector<Step> steps;
    uint64_t random = mix64(seed * 1000003 + static_cast<uint64_t>(i));
    const auto replayed = [&](std::string wrong) {
      Model again(setup);
      World at = again.start();
      uint64_t draw = mix64(seed * 1000003 + static_cast<uint64_t>(i));
      for (int n = 0; n <= length && again.check(at).empty(); ++n) {
        again.successors(at, steps, true);
        if (steps.empty()) break;
        const Step& step = draw_step(steps, draw);
        found.trace += step.what + "\n";
        at = step.world;
      }
      found.wrong = std::move(wrong);
      return found;
    };
    for (int n = 0; n <= length; ++n) {
      model.successors(world, steps, false);
      if (steps.empty()) break;
      world = World(draw_step(steps, random).world);
      ++found.worlds;
      if (std::string wrong = model.check(world); !wrong.empty()) return replayed(wrong);
    }
    if (std::string wrong = model.settle(world); !wrong.empty()) return replayed(wrong);
  }
  return found;
}

Setup setup_of(uint32_t copies, uint32_t min_copies, Plant plant = Plant::none) {
  Setup setup;
  setup.copies = copies;
  setup.min_copies = min_copies;
  setup.plant = plant;
  return setup;
}

Setup coarse(Setup setup) {
  setup.coarse = true;
  setup.writes = 1;
  return setup;
}

void expect_sound(const Found& found) {
  INFO(found.trace);
  CHECK_EQ(found.wrong, "");
}

}  // namespace

TEST_CASE(
    "no order of steps and faults loses an acknowledged write or stops a set that has a complete "
    "copy") {
  for (uint32_t copies : {2u, 3u}) {
    for (uint32_t min_copies = 1; min_copies <= copies; ++min_copies) {
      CAPTURE(copies);
      CAPTURE(min_copies);
      expect_sound(explore(coarse(setup_of(copies, min_copies)), 200'000));
      expect_sound(explore(setup_of(copies, min_copies), 80'000));
    }
  }
}

TEST_CASE("moving a set to other disks at any moment keeps every acknowledged write") {
  for (const uint32_t min_copies : {1u, 2u}) {
    Setup setup = setup_of(2, min_copies);
    setup.retargets = 1;
    setup.evictions = setup.false_alarms = 0;
    expect_sound(explore(coarse(setup), 200'000));
  }
}

TEST_CASE("long random histories stay sound, and every one of them ends whole once faults stop") {
  for (const uint32_t copies : {2u, 3u}) {
    for (uint32_t min_copies = 1; min_copies <= copies; ++min_copies) {
      CAPTURE(copies);
      CAPTURE(min_copies);
      Setup setup = setup_of(copies, min_copies);
      setup.crashes = 8, setup.false_alarms = 4, setup.evictions = 4, setup.retargets = 3;
      expect_sound(walk(setup, 1'000, 120, min_copies));
    }
  }
}

TEST_CASE("a disk that comes back wiped under its old id costs no acknowledged write") {
  for (const uint32_t copies : {2u, 3u}) {
    for (uint32_t min_copies = 1; min_copies <= copies; ++min_copies) {
      CAPTURE(copies);
      CAPTURE(min_copies);
      Setup setup = setup_of(copies, min_copies);
      setup.wipes = 2, setup.evictions = 0;
      expect_sound(explore(coarse(setup), 100'000));
      setup.crashes = 8, setup.false_alarms = 4, setup.evictions = 4, setup.wipes = 4;
      expect_sound(walk(setup, 500, 120, min_copies));
    }
  }
}

TEST_CASE("each planted mistake is found") {
  const auto found = [](Plant plant, uint32_t copies, uint32_t min_copies) {
    Setup setup = setup_of(copies, min_copies, plant);
    setup.crashes = 5, setup.false_alarms = 3, setup.evictions = 3, setup.retargets = 1;
    setup.wipes = plant == Plant::believe_wiped ? 2 : 0;
    const Found result = walk(setup, 20'000, 120, 7);
    CAPTURE(result.worlds);
    return !result.wrong.empty();
  };
  CHECK(found(Plant::promote_by_epoch, 2, 1));
  CHECK(found(Plant::drop_in_base, 3, 2));
  CHECK(found(Plant::decide_outside_base, 2, 2));
  CHECK(found(Plant::ignore_epochs, 2, 1));
  CHECK(found(Plant::decide_without_promoted, 2, 1));
  CHECK(found(Plant::keep_undecided, 2, 1));
  CHECK(found(Plant::forget_waiting_base, 3, 2));
  CHECK(found(Plant::restart_while_asked, 2, 1));
  CHECK(found(Plant::activate_while_down, 2, 1));
  CHECK(found(Plant::believe_wiped, 3, 2));
}

}  // namespace sp::map::model
