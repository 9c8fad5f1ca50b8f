// Crash at every I/O of every short sequence of operations, with every fate of the unflushed
// writes, and again while the disk is opened: what was acknowledged is there, nothing else is
// visible, and the store goes on from there.
//
// Sequences are explored as a tree: of each, the I/Os of its last verb and of what follows it when
// nothing else comes; those of the verbs before are in the shorter sequences. SP_CRASH_WHOLE=1 in
// the environment leaves nothing out; without it the longest sequences and the second crashes are
// sampled.
#include <doctest/doctest.h>

#include "crash/fates.h"
#include "crash/store/crash_model.h"
#include "store/check.h"

using namespace sp;
using namespace sp::test;

namespace {

struct Counts {
  uint64_t sequences = 0, crashes = 0, cases = 0, second_crashes = 0;
};

// The disk at the begin of a sequence.
struct Scene {
  const char* name;
  FakeMedium medium;
  World world;
};

class Explorer {
 public:
  Explorer(const Scene& scene, uint64_t seed) : scene_(scene), random_(seed) {}

  // All sequences that begin with `verbs`, up to `length_max`; one of `sample` of the longest.
  void explore(std::vector<Verb> verbs, size_t length_max, uint64_t sample) {
    if (!verbs.empty() &&
        (verbs.size() < length_max || sample == 1 || mix64(number_++) % sample == 0))
      crash_everywhere(verbs);
    if (verbs.size() == length_max) return;
    for (int verb = 0; verb < static_cast<int>(Verb::count); verb++) {
      verbs.push_back(static_cast<Verb>(verb));
      explore(verbs, length_max, sample);
      verbs.pop_back();
    }
  }
  const Counts& counts() const { return counts_; }

 private:
  void crash_everywhere(const std::vector<Verb>& verbs) {
    counts_.sequences++;
    std::string names;
    for (const Verb verb : verbs) names += std::string(" ") + verb_names[static_cast<int>(verb)];
    for (uint64_t stop = 0;; stop++) {
      story_ = std::string(scene_.name) + ":" + names + ", stopped at I/O " + std::to_string(stop);
      FakeMedium medium = scene_.medium;
      World world = scene_.world;
      if (!run_until(medium, world, verbs, stop)) return;
      counts_.crashes++;
      crash_all_ways(medium, world);
    }
  }

  // False: the sequence ends before its I/O number `stop`.
  bool run_until(FakeMedium& medium, World& world, const std::vector<Verb>& verbs, uint64_t stop) {
    StoreRig rig(medium);
    REQUIRE(rig.open().ok());
    Runner runner(rig, world);
    for (size_t i = 0; i + 1 < verbs.size(); i++) REQUIRE(runner.run(verbs[i]));
    medium.stop_at = medium.operations + stop;
    if (runner.run(verbs.back())) rig.settle();
    return medium.stopped();
  }

  void crash_all_ways(const FakeMedium& at_crash, const World& world) {
    Fates<FakeMedium> ways(at_crash.unflushed.size(), whole_run() ? 256 : 64, random_);
    for (size_t way = 0; way < ways.count(); way++) {
      counts_.cases++;
      const FakeMedium medium = ways.medium_after(at_crash, way);
      fate_ = ", fate " + std::to_string(way);
      crash_again(medium, world);
      FakeMedium opened = medium;
      verify(opened, world);
    }
    // Only the process died: what was written is in the cache of the device, and meets its fate
    // with what the opening writes.
    fate_ = ", process died";
    FakeMedium cached = at_crash;
    cached.stop_at = ~uint64_t{0};
    crash_again(cached, world);
    FakeMedium opened = cached;
    verify(opened, world);
  }

  // Crashes at I/Os of the opening; at each of them in a whole run, else at one.
  void crash_again(const FakeMedium& first, const World& world) {
    constexpr uint64_t ios = 4;  // of an opening: flush, log page, flush; and one beyond
    const std::string fate = fate_;
    const uint64_t begin = whole_run() ? 0 : counts_.second_crashes % ios;
    for (uint64_t stop = begin; stop < (whole_run() ? ios : begin + 1); stop++) {
      FakeMedium medium = first;
      {
        StoreRig rig(medium);
        medium.stop_at = medium.operations + stop;
        (void)rig.open();
      }
      Fates<FakeMedium> ways(medium.unflushed.size(), whole_run() ? 16 : 2, random_);
      for (size_t way = 0; way < ways.count(); way++) {
        counts_.second_crashes++;
        fate_ = fate + ", then stopped at I/O " + std::to_string(stop) + " of the opening, fate " +
                std::to_string(way);
        FakeMedium again = ways.medium_after(medium, way);
        verify(again, world);
      }
    }
    fate_ = fate;
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
  void verify(FakeMedium& medium, const World& world) {
    INFO(story_ << fate_);
    check_clean(medium);
    World later = world;
    {
      StoreRig rig(medium);
      const Status opened = rig.open();
      INFO((opened.ok() ? "" : opened.error().message()));
      REQUIRE(opened.ok());
      later.states = {state_of(rig, world)};
      later.after.reset();
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
    REQUIRE(again.open().ok());
    (void)state_of(again, later);
  }

  const Scene& scene_;
  io::SeededRandom random_;
  Counts counts_;
  uint64_t number_ = 0;
  uint64_t verified_ = 0;
  std::string story_, fate_;
};

Scene scene_of(const char* name, uint64_t slots) {
  return {name, StoreRig::formatted(small_layout(128, slots)), World{}};
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
  Explorer explorer(scene, seed);
  explorer.explore({}, whole_run() ? 3 : length, whole_run() ? 1 : sample);
  const Counts& counts = explorer.counts();
  MESSAGE(std::string(scene.name) << ": " << counts.sequences << " sequences, " << counts.crashes
                                  << " crashes, " << counts.cases << " fates of them, "
                                  << counts.second_crashes << " second crashes");
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
