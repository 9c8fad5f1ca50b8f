// Crash at every I/O of every short sequence of calls to a beacon's snapshot file, with every fate
// of the unflushed writes, and again while the next process opens the file and writes to it: the
// newest snapshot that was acknowledged is there, or a later one, whole. SP_CRASH_WHOLE=1 leaves
// nothing out.
#include <doctest/doctest.h>

#include <optional>
#include <string>

#include "base/checksum.h"
#include "beacon/snapshot_file.h"
#include "crash/fates.h"

using namespace sp;
using namespace sp::test;
using beacon::SnapshotFile;

namespace {

constexpr uint64_t capacity = 8 * 4096;

enum class Verb { write_small, write_large, reopen, count };
constexpr const char* verb_names[] = {"write_small", "write_large", "reopen"};

std::vector<std::byte> content(uint64_t index, bool large) {
  std::vector<std::byte> bytes(large ? capacity - index % 100 : 1 + index % 4096);
  io::SeededRandom(index).fill(bytes);
  return bytes;
}

// What may be found: the newest that was acknowledged (or was found before), or the one under way.
struct World {
  std::optional<SnapshotFile::Found> newest, under_way;
  uint64_t next = 1;
};

struct Rig {
  explicit Rig(PagedMedium& on) : medium(on), machine(1) {}
  ~Rig() {
    machine.reactor.drop_all();
    file.reset();
  }
  // False when the device stopped in it.
  bool load() {
    file = std::make_unique<SnapshotFile>(std::make_unique<PagedDisk>(machine.reactor, medium),
                                          capacity, 77);
    bool done = false;
    file->load([this, &done](Result<std::optional<SnapshotFile::Found>> result) {
      REQUIRE(result.ok());
      found = std::move(result).value();
      done = true;
    });
    return machine.reactor.run_until([&] { return done; });
  }
  bool write(World& world, bool large) {
    const uint64_t index = 100 * world.next++;
    world.under_way = {index, content(index, large)};
    std::optional<Status> status;
    file->write(index, world.under_way->bytes, [&status](Status s) { status = std::move(s); });
    if (!machine.reactor.run_until([&] { return status.has_value(); })) return false;
    REQUIRE(status->ok());
    world.newest = std::exchange(world.under_way, std::nullopt);
    return true;
  }
  bool run(Verb verb, World& world) {
    if (verb != Verb::reopen) return write(world, verb == Verb::write_large);
    if (!load()) return false;
    check(world);
    return true;
  }
  void check(World& world) {
    const auto equal = [this](const std::optional<SnapshotFile::Found>& other) {
      if (!found || !other) return found.has_value() == other.has_value();
      return found->index == other->index && found->bytes == other->bytes;
    };
    INFO("found " << (found ? found->index : 0) << ", acknowledged "
                  << (world.newest ? world.newest->index : 0));
    REQUIRE((equal(world.newest) || (world.under_way && equal(world.under_way))));
    world.newest = found;
    world.under_way.reset();
  }

  PagedMedium& medium;
  FakeMachine machine;
  std::unique_ptr<SnapshotFile> file;
  std::optional<SnapshotFile::Found> found;
};

class Explorer {
 public:
  void explore(const std::vector<Verb>& verbs) {
    if (!verbs.empty()) crash_everywhere(verbs);
    if (verbs.size() == 3) return;
    for (int verb = 0; verb < static_cast<int>(Verb::count); verb++) {
      std::vector<Verb> longer = verbs;
      longer.push_back(static_cast<Verb>(verb));
      explore(longer);
    }
  }
  uint64_t crashes = 0, cases = 0, second_crashes = 0;

 private:
  void crash_everywhere(const std::vector<Verb>& verbs) {
    std::string names;
    for (const Verb verb : verbs) names += std::string(" ") + verb_names[static_cast<int>(verb)];
    for (uint64_t stop = 0;; stop++) {
      PagedMedium medium(SnapshotFile::disk_bytes(capacity));
      World world;
      {
        Rig rig(medium);
        REQUIRE(rig.load());
        for (size_t i = 0; i + 1 < verbs.size(); i++) REQUIRE(rig.run(verbs[i], world));
        medium.stop_at = medium.operations + stop;
        rig.run(verbs.back(), world);
        if (!medium.stopped()) return;
      }
      crashes++;
      const std::string story = names + ", stopped at I/O " + std::to_string(stop);
      Fates<PagedMedium> ways(medium.unflushed.size(), whole_run() ? 256 : 16, random_);
      for (size_t way = 0; way < ways.count(); way++)
        go_on(ways.medium_after(medium, way), world, story + ", fate " + std::to_string(way));
      medium.stop_at = ~uint64_t{0};
      go_on(medium, world, story + ", process died");
    }
  }

  // Right; and the next process may stop anywhere, too.
  void go_on(const PagedMedium& first, const World& world, const std::string& story) {
    cases++;
    for (uint64_t stop = 0;; stop++) {
      PagedMedium medium = first;
      World later = world;
      bool went_through = false;
      INFO(story << ", then at I/O " << stop << " of the next process");
      {
        Rig rig(medium);
        medium.stop_at = medium.operations + stop;
        if (rig.load()) {
          rig.check(later);
          went_through = rig.write(later, cases % 2 == 0);
        }
      }
      Fates<PagedMedium> ways(medium.unflushed.size(), whole_run() ? 64 : 5, random_);
      for (size_t way = 0; way < ways.count(); way++) {
        second_crashes++;
        INFO("fate " << way);
        PagedMedium again = ways.medium_after(medium, way);
        World last = later;
        Rig rig(again);
        REQUIRE(rig.load());
        rig.check(last);
      }
      if (went_through && !medium.stopped()) return;
    }
  }

  io::SeededRandom random_{5};
};

}  // namespace

TEST_CASE(
    "a snapshot file that crashes at any I/O of any three calls, and of the next process, has the "
    "newest snapshot") {
  Explorer explorer;
  explorer.explore({});
  MESSAGE(explorer.crashes << " crashes, " << explorer.cases << " fates of them, "
                           << explorer.second_crashes << " second crashes");
}
