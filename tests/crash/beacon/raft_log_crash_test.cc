// Crash at every I/O of every short sequence of what a member asks of its agreement log, with every
// fate of the unflushed writes, and again while the log is opened: what was acknowledged is there,
// what was not is there in whole frames or not at all, nothing is taken for loss that is none, and
// what is lost later is told from a torn end.
//
// How sequences are explored: crash/explorer.h.
#include <doctest/doctest.h>

#include "crash/beacon/raft_log_model.h"
#include "crash/explorer.h"

using namespace sp;
using namespace sp::test;

namespace {

struct Scene {
  const char* name;
  PagedMedium medium;
  LogWorld world;
  std::vector<LogVerb> always;  // before each sequence
};

class LogExplorer final : public Explorer<PagedMedium, LogWorld, LogVerb> {
 public:
  LogExplorer(const Scene& scene, uint64_t seed)
      : Explorer(scene.name, scene.medium, scene.world, {16, 5, 4}, seed), scene_(scene) {}
  uint64_t damages() const { return damages_; }

 private:
  // Of one verb all, of two one in six at the least.
  bool wanted(size_t length, size_t length_max, uint64_t sample) override {
    return length == 1 || drawn(length == length_max ? sample : std::min<uint64_t>(sample, 6));
  }
  std::string name(LogVerb verb) const override {
    return std::string(log_verb_names[static_cast<int>(verb)]);
  }
  bool run_until(PagedMedium& medium, LogWorld& world, const std::vector<LogVerb>& verbs,
                 uint64_t stop) override {
    INFO(story_);
    LogRig rig(medium);
    REQUIRE(rig.open().ok());
    LogRunner runner(rig, world);
    for (const LogVerb verb : scene_.always) REQUIRE(runner.run(verb));
    for (size_t i = 0; i + 1 < verbs.size(); i++) REQUIRE(runner.run(verbs[i]));
    medium.stop_at = medium.operations + stop;
    if (runner.run(verbs.back())) rig.settle();
    return medium.stopped();
  }
  // An opening flushes, writes two headers, and flushes.
  void open_until(PagedMedium& medium, uint64_t stop) override {
    LogRig rig(medium);
    medium.stop_at = medium.operations + stop;
    (void)rig.open();
  }

  void opens_as(LogRig& rig, LogWorld& world) {
    const Status opened = rig.open();
    INFO((opened.ok() ? "" : opened.error().message()));
    REQUIRE(opened.ok());
    const std::string wrong = log_contradicts(*rig.opened, world);
    if (!wrong.empty()) FAIL(wrong);
  }

  // Right, and able to go on: one more verb, another opening.
  void verify(PagedMedium medium, const LogWorld& world) override {
    INFO(story_ << fate_);
    LogWorld later = world;
    {
      LogRig rig(medium);
      opens_as(rig, later);
      const uint64_t start = rig.log->acknowledged().start, end = rig.log->acknowledged().end;
      if (verified_ % 4 == 0 && start < end) damage(medium, later, start, end);
      LogRunner runner(rig, later);
      for (const LogVerb verb : scene_.always) REQUIRE(runner.run(verb));
      const auto verb = static_cast<LogVerb>(verified_++ % static_cast<uint64_t>(LogVerb::count));
      INFO("then " << std::string(log_verb_names[static_cast<int>(verb)]));
      REQUIRE(runner.run(verb));
      rig.settle();
    }
    later.settle();
    LogRig again(medium);
    opens_as(again, later);
  }

  // Any page of a frame decays: that is loss, now and after a crash of the opening that finds it.
  void damage(const PagedMedium& sound, const LogWorld& world, uint64_t start, uint64_t end) {
    PagedMedium medium = sound;
    medium.settle();
    const std::vector<uint64_t> pages = frame_pages(medium, start, end);
    // One of the first or last frames, which are small, or anywhere.
    const uint64_t near = std::min<uint64_t>(pages.size(), 4);
    const uint64_t way = damages_++;
    const uint64_t page = way % 3 == 0   ? random_.below(pages.size())
                          : way % 3 == 1 ? random_.below(near)
                                         : pages.size() - 1 - random_.below(near);
    std::vector<std::byte> byte(1);
    copy_out(medium.bytes, pages[page] + 50, byte);
    byte[0] ^= std::byte{1};
    copy_in(medium.bytes, pages[page] + 50, byte);
    INFO("page " << page << " of " << pages.size() << " of the frames decayed");
    bool told = false;
    {
      LogRig rig(medium);
      medium.stop_at = medium.operations + way % 5;
      told = rig.open().ok();
    }
    Fates<PagedMedium> ways(medium.unflushed.size(), 64, random_);
    const size_t fate = way / 5 % ways.count();
    medium = ways.medium_after(medium, fate);
    LogRig rig(medium);
    REQUIRE(rig.open().ok());
    const auto& found = rig.opened->restored;
    CHECK(found.abstain);
    CHECK(found.hard_state == world.states.back().hard);
    if (told) CHECK(rig.opened->lost_from == 0);
    if (!told && fate == 0) CHECK(rig.opened->lost_from != 0);  // nothing of it is there
  }

  // Offsets of the pages of the frames between two positions.
  static std::vector<uint64_t> frame_pages(const PagedMedium& medium, uint64_t position,
                                           uint64_t end) {
    const auto identity = LogRig::identity();
    std::vector<uint64_t> pages;
    while (position < end) {
      const uint64_t in_area = position % identity.frames_bytes;
      const uint64_t offset = identity.frames_offset() + in_area;
      Buffer page = Buffer::allocate(4096);
      copy_out(medium.bytes, offset, page.mutable_bytes());
      const uint32_t size = beacon::frame_size(page.bytes(), identity.log_id, position);
      REQUIRE(size != 0);
      for (uint64_t at = 0; at < size; at += 4096) pages.push_back(offset + at);
      const auto frame = size == 4096 ? beacon::decode_frame(page.bytes()) : std::nullopt;
      position += frame && frame->frame.skip ? identity.frames_bytes - in_area : size;
    }
    return pages;
  }

  const Scene& scene_;
  uint64_t damages_ = 0;
};

// Runs what a scene begins with, and leaves nothing in the cache.
template <class Body>
Scene scene_of(const char* name, Body&& body) {
  Scene scene{name, LogRig::formatted(), LogWorld{}, {}};
  scene.world.now().floor = {0, 0, {{{1, 11, true}, {2, 20, true}}}};
  scene.world.marks = {scene.world.now().floor};
  {
    LogRig rig(scene.medium);
    REQUIRE(rig.open().ok());
    LogRunner runner(rig, scene.world);
    REQUIRE(runner.run(LogVerb::vote));
    body(scene, rig, runner);
    rig.settle();
  }
  scene.medium.settle();
  LogRig rig(scene.medium);
  REQUIRE(rig.open().ok());
  REQUIRE(log_contradicts(*rig.opened, scene.world).empty());
  scene.medium.settle();
  return scene;
}

void run_scene(const Scene& scene, uint64_t seed, size_t length, uint64_t sample) {
  LogExplorer explorer(scene, seed);
  explorer.explore({}, whole_run() ? 3 : length, whole_run() ? 1 : sample);
  MESSAGE(std::string(scene.name) << ": " << explorer.counts().text() << ", " << explorer.damages()
                                  << " damages");
}

}  // namespace

TEST_CASE(
    "a new agreement log that crashes at any I/O of any three batches has what was acknowledged") {
  run_scene(scene_of("new log", [](Scene&, LogRig&, LogRunner&) {}), 1, 3, 100);
}

// A received snapshot, two entries behind it, and three pages left before the area begins again,
// where frames of an earlier lap lie.
TEST_CASE("an agreement log that wraps while it crashes has what was acknowledged") {
  run_scene(scene_of("log that wraps",
                     [](Scene&, LogRig& rig, LogRunner& runner) {
                       REQUIRE(runner.fill_to(2 * LogRig::identity().frames_bytes - 5 * 4096));
                       for (const auto verb : {LogVerb::install, LogVerb::append, LogVerb::append})
                         REQUIRE(runner.run(verb));
                       CHECK(rig.log->acknowledged().end ==
                             2 * LogRig::identity().frames_bytes - 3 * 4096);
                     }),
            2, 2, 6);
}

TEST_CASE(
    "a log that lost entries abstains, however it crashes, until it is told that it caught up") {
  Scene scene = scene_of("log that lost entries", [](Scene&, LogRig&, LogRunner& runner) {
    for (int i = 0; i < 4; i++) REQUIRE(runner.run(LogVerb::append));
  });
  std::vector<std::byte> noise(512, std::byte{0x5a});
  copy_in(scene.medium.bytes, LogRig::identity().frames_offset() + 2 * 4096, noise);
  {
    LogRig rig(scene.medium);
    REQUIRE(rig.open().ok());
    CHECK(rig.opened->lost_from == 3);
    CHECK(rig.opened->restored.entries.size() == 2);
  }
  scene.medium.settle();
  scene.world.now().entries.resize(2);
  scene.world.now().abstain = true;
  run_scene(scene, 3, 2, 6);
}

// Nothing fits before a compaction is durable.
TEST_CASE("a full agreement log that is compacted and crashes has what was acknowledged") {
  Scene scene = scene_of("full log", [](Scene&, LogRig& rig, LogRunner& runner) {
    while (rig.log->frames_used_bytes() + (4u << 20) < rig.log->frames_total_bytes())
      REQUIRE(runner.run(LogVerb::append_frames));
  });
  scene.always = {LogVerb::compact_all};
  run_scene(scene, 4, 1, 1);
}
