// Crash at every I/O of every short sequence of what a beacon does with the database of its state,
// with every kind of fate of what was written, and again while it is opened. Nothing is ever
// flushed there, so all that was written may meet its fate, and a loss of power may leave anything:
// then the database holds what the state was at one of its indexes, or says that it is damaged.
// When only the process died it holds the newest, or the one that was under way. And a beacon,
// which makes it anew, always can, and ends up with what it should show.
//
// How sequences are explored: crash/explorer.h; fates: crash/state/file_fates.h.
#include <doctest/doctest.h>

#include "crash/explorer.h"
#include "crash/state/database_model.h"
#include "crash/state/file_fates.h"
#include "unit/state/world.h"

using namespace sp;
using namespace sp::test;

namespace {

struct Scene {
  const char* name;
  PagedMedium medium{SqliteVfs::disk_bytes};
  DatabaseWorld world{};
};

class DatabaseExplorer final
    : public Explorer<PagedMedium, DatabaseWorld, DatabaseVerb, FileFates> {
 public:
  DatabaseExplorer(const Scene& scene, const CrashLimits& limits, uint64_t seed)
      : Explorer(scene.name, scene.medium, scene.world, limits, seed) {}
  std::string found() const {
    return std::to_string(whole_) + " held one state, " + std::to_string(damaged_) +
           " were damaged";
  }

 private:
  // Of one verb all, of two one in ten at the least.
  bool wanted(size_t length, size_t length_max, uint64_t sample) override {
    return length == 1 || drawn(length == length_max ? sample : std::min<uint64_t>(sample, 10));
  }
  // Some verbs are hundreds of I/Os.
  uint64_t step(DatabaseVerb verb) override {
    if (whole_run()) return 1;
    return 1 + random_.below(verb == DatabaseVerb::start           ? 60
                             : verb == DatabaseVerb::take_snapshot ? 20
                                                                   : 10);
  }
  std::string name(DatabaseVerb verb) const override {
    return database_verb_names[static_cast<int>(verb)];
  }
  bool run_until(PagedMedium& medium, DatabaseWorld& world, const std::vector<DatabaseVerb>& verbs,
                 uint64_t stop) override {
    INFO(story_);
    DatabaseRig rig(medium);
    REQUIRE(rig.open().ok());
    DatabaseRunner runner(rig, medium, world);
    for (size_t i = 0; i + 1 < verbs.size(); i++) REQUIRE(runner.run(verbs[i]));
    medium.stop_at = medium.operations + stop;
    runner.run(verbs.back());
    return medium.stopped();
  }
  void open_until(PagedMedium& medium, uint64_t stop) override {
    DatabaseRig rig(medium);
    medium.stop_at = medium.operations + stop;
    (void)(stop % 2 == 0 ? rig.create_empty() : rig.recover()).ok();
  }

  // Right, and one of the two ways that there are from there.
  void verify(PagedMedium medium, const DatabaseWorld& world) override {
    INFO(story_ << fate_);
    const uint64_t way = verified_++;
    PagedMedium untouched = medium;
    {
      DatabaseRig rig(medium);
      if (opens(rig, world) && way % 2 == 0) return go_on(rig);
    }
    // What lies there is what the crash left, or what the opening has made of that.
    DatabaseRig rig(way % 4 == 1 ? medium : untouched);
    const Status made = rig.create_empty();
    if (!made.ok()) FAIL(made.error().message());
    CHECK_EQ(print_of(*rig.state), empty_print());
    REQUIRE(rig.state->restore(world.snapshot).ok());
    go_on(rig);
  }

  // Believed, and rightly so.
  bool opens(DatabaseRig& rig, const DatabaseWorld& world) {
    const Status opened = rig.recover();
    INFO((opened.ok() ? "" : opened.error().message()));
    if (process_died_) {
      REQUIRE(opened.ok());
      const uint64_t print = print_of(*rig.state);
      CHECK((print == world.shown || world.under_way.contains(print)));
    } else if (opened.ok()) {
      const uint64_t print = print_of(*rig.state);
      INFO("found index " << rig.state->applied_index());
      CHECK((print == empty_print() || world.reached.contains(print)));
    } else {
      CHECK(opened.error().code() == Code::damaged);
    }
    (opened.ok() ? whole_ : damaged_)++;
    return opened.ok();
  }

  // It follows what is agreed from now on, and another opening finds that.
  void go_on(DatabaseRig& rig) {
    auto without = copy_of(*rig.state);
    uint64_t index = without->applied_index();
    for (const map::Command& command : some_of_everything(verified_)) {
      ++index;
      CHECK_EQ(rig.state->apply(index, command).status.ok(),
               without->apply(index, command).status.ok());
      if (const auto& error = rig.state->database_error()) FAIL(error->message());
    }
    rig.state.reset();
    const Status opened = rig.open();
    if (!opened.ok()) FAIL(opened.error().message());
    CHECK_EQ(print_of(*rig.state), print_of(*without));
  }

  uint64_t whole_ = 0, damaged_ = 0;
};

// A cluster of four nodes with some volumes, none of it written back yet.
template <class Body>
Scene scene_of(const char* name, Body&& body) {
  Scene scene{name};
  SqliteVfs::seed(1);
  DatabaseRig rig(scene.medium);
  REQUIRE(rig.open().ok());
  auto commands = state::test::founding(4, 4);
  commands.emplace_back(map::CreateBucket{"b"});
  for (int i = 0; i < 5; ++i)
    commands.emplace_back(state::test::create_volume("first" + std::to_string(i)));
  DatabaseRunner runner(rig, scene.medium, scene.world);
  for (const map::Command& command : commands) {
    REQUIRE(rig.state->apply(rig.state->applied_index() + 1, command).status.ok());
    runner.note();
  }
  body(scene, rig, runner);
  Scene left = scene;  // before the database is closed
  return left;
}

void run_scene(const Scene& scene, uint64_t seed, size_t length, uint64_t sample) {
  const CrashLimits limits{whole_run() ? size_t{10} : size_t{3}, 151, 8};
  DatabaseExplorer explorer(scene, limits, seed);
  explorer.explore({}, length, whole_run() ? 1 : sample);
  MESSAGE(std::string(scene.name) << ": " << explorer.counts().text() << "; " << explorer.found());
}

}  // namespace

TEST_CASE(
    "a database that crashes at any I/O of any three verbs holds one state or says that it is "
    "damaged, and is made anew") {
  run_scene(scene_of("all in the log",
                     [](Scene& scene, DatabaseRig&, DatabaseRunner&) { scene.medium.settle(); }),
            1, 3, 100);
}

TEST_CASE(
    "a database whose log was taken into the file, and that crashes, holds one state or none") {
  run_scene(scene_of("all in the file",
                     [](Scene& scene, DatabaseRig& rig, DatabaseRunner& runner) {
                       REQUIRE(runner.run(DatabaseVerb::reopen));
                       rig.state.reset();
                       scene.medium.settle();
                     }),
            2, 2, 30);
}

// The next command makes SQLite take the log into the file while it runs, and one after it begins
// the log anew.
TEST_CASE("a database whose log is full, and that crashes, holds one state or none") {
  const Scene scene =
      scene_of("full log", [](Scene& begin, DatabaseRig& rig, DatabaseRunner& runner) {
        constexpr uint64_t frame_bytes = 4096 + 24, checkpoint_frames = 1000;
        uint64_t bytes_each = 0;
        while (rig.log_bytes() + bytes_each < checkpoint_frames * frame_bytes) {
          const uint64_t before = rig.log_bytes();
          REQUIRE(runner.run(DatabaseVerb::change_row));
          REQUIRE(rig.log_bytes() > before);
          bytes_each = rig.log_bytes() - before;
        }
        begin.medium.settle();
      });
  {
    Scene other = scene;
    DatabaseRig rig(other.medium);
    REQUIRE(rig.open().ok());
    const uint64_t file_bytes = rig.file_bytes();
    DatabaseRunner runner(rig, other.medium, other.world);
    REQUIRE(runner.run(DatabaseVerb::change_row));
    CHECK(rig.file_bytes() > file_bytes);
    const uint64_t log_bytes = rig.log_bytes();
    REQUIRE(runner.run(DatabaseVerb::change_row));
    CHECK_EQ(rig.log_bytes(), log_bytes);
  }
  run_scene(scene, 3, 2, 30);
}

TEST_CASE(
    "a database of which nothing was ever written back, and that crashes, holds one state or "
    "none") {
  run_scene(scene_of("nothing written back", [](Scene&, DatabaseRig&, DatabaseRunner&) {}), 4, 1,
            1);
}
