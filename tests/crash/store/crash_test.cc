// Crash at every I/O of every short sequence of operations, with every fate of the unflushed
// writes, and again while the disk is opened: what was acknowledged is there, nothing else is
// visible, and the store goes on from there.
//
// How sequences are explored: crash/explorer.h.
#include <doctest/doctest.h>

#include "crash/explorer.h"
#include "crash/store/crash_model.h"
#include "store/check.h"

using namespace sp;
using namespace sp::test;

namespace {

// The disk at the begin of a sequence.
struct Scene {
  const char* name;
  FakeMedium medium;
  World world;
  uint64_t table_bytes_max = store::table_bytes_max;
};

class StoreExplorer final : public Explorer<FakeMedium, World, Verb> {
 public:
  StoreExplorer(const Scene& scene, uint64_t seed)
      : Explorer(scene.name, scene.medium, scene.world, {64, 4, 1}, seed) {
    options_.table_bytes_max = scene.table_bytes_max;
  }

 private:
  std::string name(Verb verb) const override {
    return std::string(verb_names[static_cast<int>(verb)]);
  }
  bool run_until(FakeMedium& medium, World& world, const std::vector<Verb>& verbs,
                 uint64_t stop) override {
    StoreRig rig(medium);
    rig.options = options_;
    REQUIRE(rig.open().ok());
    Runner runner(rig, world);
    for (size_t i = 0; i + 1 < verbs.size(); i++) REQUIRE(runner.run(verbs[i]));
    medium.stop_at = medium.operations + stop;
    if (runner.run(verbs.back())) rig.settle();
    return medium.stopped();
  }
  // An opening flushes, writes a page of the log, and flushes.
  void open_until(FakeMedium& medium, uint64_t stop) override {
    StoreRig rig(medium);
    rig.options = options_;
    medium.stop_at = medium.operations + stop;
    (void)rig.open();
  }

  // The state of the disk, which has to be one of those that are possible.
  Model state_of(StoreRig& rig, const World& world) {
    Shown shown[2] = {shown_by(rig, 0), shown_by(rig, 1)};
    const std::vector<Model> possible = world.possible();
    // Newest first: a decision that is not missing is not to be looked for.
    for (auto model = possible.rbegin(); model != possible.rend(); ++model)
      if (expected_of(*model, 0) == shown[0] && expected_of(*model, 1) == shown[1]) {
        CHECK(operations_known(rig, *model));
        return *model;
      }
    std::string text;
    for (size_t set = 0; set < 2; set++) {
      text += "\nset " + std::to_string(set) + " has     " + shown[set].text();
      for (const Model& model : possible)
        text += "\n      possible " + expected_of(model, set).text();
    }
    FAIL(text);
    return {};
  }

  void check_space(StoreRig& rig) {
    rig.settle();
    const store::Stats stats = rig.store->stats();
    CHECK(stats.blocks_used + stats.blocks_free == stats.blocks_total);
  }

  void check_clean(FakeMedium& medium) {
    StoreRig rig(medium);
    store::Report report;
    REQUIRE(rig.check(report).ok());
    for (const auto& finding : report.findings) INFO(finding.place << ": " << finding.explanation);
    CHECK(report.worst() < store::Severity::damage);
  }

  // Right, and able to go on: one more verb, another opening.
  void verify(FakeMedium medium, const World& world) override {
    INFO(story_ << fate_);
    check_clean(medium);
    World later = world;
    {
      StoreRig rig(medium);
      rig.options = options_;
      const Status opened = rig.open();
      INFO((opened.ok() ? "" : opened.error().message()));
      REQUIRE(opened.ok());
      later.states = {state_of(rig, world)};
      later.nothing_under_way();
      check_space(rig);
      Runner runner(rig, later);
      const auto verb = static_cast<Verb>(verified_++ % static_cast<uint64_t>(Verb::count));
      INFO("then " << std::string(verb_names[static_cast<int>(verb)]));
      REQUIRE(runner.run(verb));
      REQUIRE(runner.run(Verb::decide_both));
      later.states = {later.now()};
      (void)state_of(rig, later);
      check_space(rig);
    }
    medium.settle();
    StoreRig again(medium);
    again.options = options_;
    REQUIRE(again.open().ok());
    (void)state_of(again, later);
  }

  store::Options options_;
};

Scene scene_of(const char* name, uint64_t slots, uint64_t index_chunks = 0) {
  return {name, StoreRig::formatted(small_layout(128, slots, index_chunks)), World{}};
}

// Runs what a scene begins with, and leaves nothing in the cache.
template <class Body>
void prepare_scene(Scene& scene, Body&& body) {
  StoreRig rig(scene.medium);
  REQUIRE(rig.open().ok());
  scene.world.states.resize(1);
  Runner runner(rig, scene.world);
  // Something to overwrite, discard, repair and recover.
  REQUIRE(runner.run(Verb::write_many));
  REQUIRE(runner.run(Verb::decide));
  body(rig, runner);
  rig.settle();
  scene.medium.settle();
  scene.world.acknowledged(scene.world.now());
}

Scene new_disk() {
  Scene scene = scene_of("new disk", 130);
  prepare_scene(scene, [](StoreRig&, Runner&) {});
  return scene;
}

// Both homes of the table page are written, the log has gone round once and is about to be freed
// and to wrap again.
Scene used_disk() {
  Scene scene = scene_of("used disk", 130);
  prepare_scene(scene, [](StoreRig&, Runner& runner) {
    for (int i = 0; i < 4; i++) {
      REQUIRE(runner.run(Verb::write_two));
      REQUIRE(runner.run(Verb::decide_both));
      REQUIRE(runner.run(Verb::checkpoint));
    }
    // Each of these is a page of the log: more than a lap of it.
    for (int i = 0; i < 170; i++) {
      REQUIRE(runner.run(Verb::write_two));
      REQUIRE(runner.run(Verb::decide_both));
    }
  });
  return scene;
}

// No room for growth; a few free slots are left for overwrites.
Scene full_disk() {
  Scene scene = scene_of("full disk", 130);
  prepare_scene(scene, [&scene](StoreRig& rig, Runner& runner) {
    REQUIRE(runner.run(Verb::write_two));
    REQUIRE(runner.run(Verb::decide_both));
    // 123 slots are for users; 4 are used.
    const uint64_t n = scene.world.next++;
    REQUIRE(rig.write(other_object, 200, 119, version_of(n), n, other_set).ok());
    Model model = scene.world.now();
    model.sets[1].prepare(version_of(n), {other_object, 200, 119, n});
    scene.world.acknowledged(model);
    REQUIRE(runner.run(Verb::decide_both));
    CHECK(rig.write(other_object, 1, 1, version_of(n + 1), n + 1, other_set).error().code() ==
          Code::no_space);
  });
  scene.world.full = true;
  return scene;
}

void run_scene(const Scene& scene, uint64_t seed, size_t length, uint64_t sample) {
  StoreExplorer explorer(scene, seed);
  explorer.explore({}, whole_run() ? 3 : length, whole_run() ? 1 : sample);
  MESSAGE(std::string(scene.name) << ": " << explorer.counts().text());
}

}  // namespace

TEST_CASE(
    "a new disk that crashes at any I/O of any three operations has what was acknowledged and "
    "nothing else") {
  run_scene(new_disk(), 1, 3, 60);
}

TEST_CASE("a disk whose log wraps while it crashes has what was acknowledged and nothing else") {
  run_scene(used_disk(), 2, 2, 8);
}

TEST_CASE("a full disk that crashes has what was acknowledged and nothing else") {
  run_scene(full_disk(), 3, 2, 8);
}

// Decisions, an undecided write and a discard stand before, beside and behind what it tells.
TEST_CASE("a disk with a saved index that crashes has what was acknowledged and nothing else") {
  Scene scene = scene_of("saved index", 130, 1);
  prepare_scene(scene, [](StoreRig&, Runner& runner) {
    REQUIRE(runner.run(Verb::write_two));
    REQUIRE(runner.run(Verb::decide_both));
    REQUIRE(runner.run(Verb::discard));
    REQUIRE(runner.run(Verb::save_index));
    REQUIRE(runner.run(Verb::write));
  });
  run_scene(scene, 5, 2, 8);
}

TEST_CASE(
    "a disk of whose slot table next to nothing fits in memory has what was acknowledged and "
    "nothing "
    "else") {
  Scene scene = new_disk();
  scene.name = "little memory";
  scene.table_bytes_max = 1;
  run_scene(scene, 4, 2, 48);
}
