// Crash at every I/O of every short sequence of what a member asks of its agreement log, with every
// fate of the unflushed writes, and again while the log is opened: what was acknowledged is there,
// what was not is there in whole frames or not at all, nothing is taken for loss that is none, and
// what is lost later is told from a torn end.
//
// Sequences are explored as a tree, as in crash/store/crash_test.cc: without SP_CRASH_WHOLE=1 the
// longest ones and the second crashes are sampled.
#include <doctest/doctest.h>

#include "base/checksum.h"
#include "crash/beacon/raft_log_model.h"
#include "crash/fates.h"

using namespace sp;
using namespace sp::test;

namespace {

struct Counts {
  uint64_t sequences = 0, crashes = 0, cases = 0, second_crashes = 0, damages = 0;
};

struct Scene {
  const char* name;
  PagedMedium medium;
  LogWorld world;
  std::vector<LogVerb> always;  // before each sequence
};

class Explorer {
 public:
  Explorer(const Scene& scene, uint64_t seed) : scene_(scene), random_(seed) {}

  // One of `sample` of the longest; of those of two verbs more, of one verb all.
  void explore(std::vector<LogVerb> verbs, size_t length_max, uint64_t sample) {
    const uint64_t share = verbs.size() == length_max ? sample : std::min<uint64_t>(sample, 6);
    if (verbs.size() == 1 || (verbs.size() > 1 && mix64(number_++) % share == 0))
      crash_everywhere(verbs);
    if (verbs.size() == length_max) return;
    for (int verb = 0; verb < static_cast<int>(LogVerb::count); verb++) {
      verbs.push_back(static_cast<LogVerb>(verb));
      explore(verbs, length_max, sample);
      verbs.pop_back();
    }
  }
  const Counts& counts() const { return counts_; }

 private:
  void crash_everywhere(const std::vector<LogVerb>& verbs) {
    counts_.sequences++;
    std::string names;
    for (const LogVerb verb : verbs)
      names += std::string(" ") + log_verb_names[static_cast<int>(verb)];
    for (uint64_t stop = 0;; stop++) {
      story_ = std::string(scene_.name) + ":" + names + ", stopped at I/O " + std::to_string(stop);
      PagedMedium medium = scene_.medium;
      LogWorld world = scene_.world;
      if (!run_until(medium, world, verbs, stop)) return;
      counts_.crashes++;
      crash_all_ways(medium, world);
    }
  }

  // False: the sequence ends before its I/O number `stop`.
  bool run_until(PagedMedium& medium, LogWorld& world, const std::vector<LogVerb>& verbs,
                 uint64_t stop) {
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

  void crash_all_ways(const PagedMedium& at_crash, const LogWorld& world) {
    Fates<PagedMedium> ways(at_crash.unflushed.size(), whole_run() ? 64 : 16, random_);
    for (size_t way = 0; way < ways.count(); way++) {
      counts_.cases++;
      fate_ = ", fate " + std::to_string(way);
      const PagedMedium medium = ways.medium_after(at_crash, way);
      if (whole_run() || counts_.cases % 4 == 0) crash_again(medium, world);
      verify(medium, world);
    }
    // Only the process died: what was written is in the cache of the device, and meets its fate
    // with what the opening writes.
    fate_ = ", process died";
    PagedMedium cached = at_crash;
    cached.stop_at = ~uint64_t{0};
    crash_again(cached, world);
    verify(cached, world);
  }

  // Crashes at I/Os of the opening; at each of them in a whole run, else at one.
  void crash_again(const PagedMedium& first, const LogWorld& world) {
    constexpr uint64_t ios = 5;  // of an opening: flush, two headers, flush; and one beyond
    const std::string fate = fate_;
    const uint64_t begin = whole_run() ? 0 : counts_.second_crashes % ios;
    for (uint64_t stop = begin; stop < (whole_run() ? ios : begin + 1); stop++) {
      PagedMedium medium = first;
      {
        LogRig rig(medium);
        medium.stop_at = medium.operations + stop;
        (void)rig.open();
      }
      Fates<PagedMedium> ways(medium.unflushed.size(), whole_run() ? 16 : 2, random_);
      for (size_t way = 0; way < ways.count(); way++) {
        counts_.second_crashes++;
        fate_ = fate + ", then stopped at I/O " + std::to_string(stop) + " of the opening, fate " +
                std::to_string(way);
        verify(ways.medium_after(medium, way), world);
      }
    }
    fate_ = fate;
  }

  void opens_as(LogRig& rig, LogWorld& world) {
    const Status opened = rig.open();
    INFO((opened.ok() ? "" : opened.error().message()));
    REQUIRE(opened.ok());
    const std::string wrong = log_contradicts(*rig.opened, world);
    if (!wrong.empty()) FAIL(wrong);
  }

  // Right, and able to go on: one more verb, another opening.
  void verify(PagedMedium medium, const LogWorld& world) {
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
    const uint64_t way = counts_.damages++;
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
  io::SeededRandom random_;
  Counts counts_;
  uint64_t number_ = 0;
  uint64_t verified_ = 0;
  std::string story_, fate_;
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
  Explorer explorer(scene, seed);
  explorer.explore({}, whole_run() ? 3 : length, whole_run() ? 1 : sample);
  const Counts& counts = explorer.counts();
  MESSAGE(std::string(scene.name) << ": " << counts.sequences << " sequences, " << counts.crashes
                                  << " crashes, " << counts.cases << " fates of them, "
                                  << counts.second_crashes << " second crashes, " << counts.damages
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
