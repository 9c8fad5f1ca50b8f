// The snapshots of a beacon's own state on a simulated disk: power fails at every I/O, with what
// was not flushed lost, torn or turned to garbage; the two places are damaged; other logs have
// written there before.
#include <doctest/doctest.h>

#include "base/checksum.h"
#include "beacon/snapshot_file.h"
#include "io/sim_world.h"

using namespace sp;
using namespace sp::beacon;
using namespace std::chrono_literals;

namespace {

const char* const path = "snapshot";
constexpr uint64_t capacity = 16 * 4096;
constexpr uint64_t log_id = 77;

std::vector<std::byte> content(uint64_t index, uint64_t salt = 0) {
  std::vector<std::byte> bytes(mix64(index + salt) % capacity + 1);
  io::SeededRandom(index + salt).fill(bytes);
  return bytes;
}

struct Bench {
  io::SimWorld world;
  io::SimHost& host;
  std::unique_ptr<SnapshotFile> file;
  std::optional<Result<std::optional<SnapshotFile::Found>>> loaded;

  explicit Bench(uint64_t seed) : world(seed), host(world.add_host("beacon", "10.0.0.1")) {
    REQUIRE(world.disks().add(path, SnapshotFile::disk_bytes(capacity)).ok());
  }
  bool crashed() { return world.disks().crash_point_reached(path); }
  // False when power fails meanwhile.
  bool open(uint64_t log = log_id) {
    auto disk = host.host().disks.open(path, {});
    REQUIRE(disk.ok());
    file = std::make_unique<SnapshotFile>(std::move(disk).value(), capacity, log);
    loaded.reset();
    file->load([this](Result<std::optional<SnapshotFile::Found>> found) {
      loaded.emplace(std::move(found));
    });
    world.run_until([&] { return loaded.has_value() || crashed(); }, 10s);
    return loaded.has_value();
  }
  bool write(uint64_t index, uint64_t salt = 0) {
    std::optional<Status> status;
    file->write(index, content(index, salt), [&status](Status s) { status = std::move(s); });
    world.run_until([&] { return status.has_value() || crashed(); }, 10s);
    if (!status) return false;
    REQUIRE(status->ok());
    return true;
  }
  void power_failure() {
    host.kill(io::SimHost::Death::power);
    file.reset();
    world.disks().crash(path);
    host.restart();
  }
  uint64_t found_index() const { return loaded->ok() && **loaded ? (**loaded)->index : 0; }
  bool found_is_whole(uint64_t salt = 0) const {
    return found_index() == 0 || (**loaded)->bytes == content(found_index(), salt);
  }
};

}  // namespace

TEST_CASE(
    "power failing at every I/O leaves the last snapshot that was acknowledged, or the next") {
  for (uint64_t seed = 1; seed <= 8; ++seed) {
    for (uint64_t n = 1;; ++n) {
      CAPTURE(seed);
      CAPTURE(n);
      Bench bench(seed * 1000 + n);
      bench.world.disks().fail_after(path, n);
      uint64_t written = 0;
      bool through = bench.open();
      while (through && written < 6) {
        through = bench.write(written + 1);
        if (through) ++written;
      }
      bench.power_failure();
      REQUIRE(bench.open());
      REQUIRE(bench.loaded->ok());
      CHECK_GE(bench.found_index(), written);
      CHECK_LE(bench.found_index(), written + 1);
      CHECK(bench.found_is_whole());
      // And once more from there: what was found is not overwritten by the next.
      const uint64_t base = bench.found_index();
      bench.world.disks().fail_after(path, 1 + n % 5);
      const bool again = bench.write(base + 10);
      bench.power_failure();
      REQUIRE(bench.open());
      CHECK((bench.found_index() == base + 10 || (!again && bench.found_index() == base)));
      CHECK(bench.found_is_whole());
      if (through) break;
      REQUIRE_LT(n, 200);
    }
  }
}

TEST_CASE("a snapshot that decayed is not taken: the one before it is") {
  for (uint64_t page : {0, 1}) {  // its head, its bytes
    Bench bench(1);
    REQUIRE(bench.open());
    REQUIRE(bench.write(1));
    REQUIRE(bench.write(2));
    bench.file.reset();
    bench.world.disks().corrupt(path, 4096 + capacity + page * 4096, 1);
    REQUIRE(bench.open());
    CHECK_EQ(bench.found_index(), 1);
    CHECK(bench.found_is_whole());
    // It goes where the damaged one is.
    REQUIRE(bench.write(3));
    bench.file.reset();
    bench.world.disks().corrupt(path, 4096 + capacity, 1);
    REQUIRE(bench.open());
    CHECK_EQ(bench.found_index(), 1);
  }
}

TEST_CASE("snapshots of a log that was here before are neither taken nor in the way") {
  Bench bench(1);
  REQUIRE(bench.open());
  for (uint64_t index : {900, 901}) REQUIRE(bench.write(index));
  bench.file.reset();
  REQUIRE(bench.open(78));
  CHECK_EQ(bench.found_index(), 0);
  for (uint64_t index : {5, 6, 7}) {
    REQUIRE(bench.write(index, 50));
    bench.file.reset();
    REQUIRE(bench.open(78));
    CHECK_EQ(bench.found_index(), index);
    CHECK(bench.found_is_whole(50));
  }
}

TEST_CASE("a state that is too large for its snapshot file is refused, not cut") {
  Bench bench(1);
  REQUIRE(bench.open());
  std::optional<Status> status;
  bench.file->write(1, std::vector<std::byte>(capacity + 1),
                    [&status](Status s) { status = std::move(s); });
  REQUIRE(bench.world.run_until([&] { return status.has_value(); }, 1s));
  CHECK(status->error().code() == Code::no_space);
}

TEST_CASE("an opening that is given up in the middle leaves nothing behind") {
  Bench bench(1);
  REQUIRE(bench.open());
  REQUIRE(bench.write(1));
  bench.file.reset();
  auto disk = bench.host.host().disks.open(path, {});
  REQUIRE(disk.ok());
  auto file = std::make_unique<SnapshotFile>(std::move(disk).value(), capacity, log_id);
  file->load([](const auto&) { FAIL("completed after its end"); });
  file.reset();
  bench.world.run_for(1s);
}
