#include "attach/unaligned.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <chrono>
#include <cstring>
#include <vector>

#include "client/memory_device.h"
#include "io/sim_world.h"

using namespace sp;
using namespace std::chrono_literals;

namespace {

struct Stage {
  explicit Stage(uint64_t seed, uint64_t size)
      : world(seed),
        host(world.add_host("client", "10.0.0.1")),
        device(host.host(), size),
        bytes(device) {}
  io::SimWorld world;
  io::SimHost& host;
  client::MemoryDevice device;
  attach::Unaligned bytes;

  std::vector<std::byte> content(uint64_t offset, uint64_t size) {
    std::vector<std::byte> out(size);
    bool done = false;
    bytes.read(offset, out, [&](const Status& status) {
      CHECK(status.ok());
      done = true;
    });
    CHECK(world.run_until([&] { return done; }, 1s));
    return out;
  }
  bool all_are(const std::vector<std::byte>& bytes_, int value) {
    return std::all_of(bytes_.begin(), bytes_.end(),
                       [&](std::byte b) { return b == std::byte(value); });
  }
};

// What each byte may hold: the values of the changes that no later one, begun after their end, has
// replaced.
struct ByteModel {
  struct Change {
    int64_t begun = 0;
    int64_t ended = INT64_MAX;
    std::byte value{};
  };
  std::vector<Change> changes;
  std::vector<std::vector<size_t>> of_byte;

  explicit ByteModel(size_t size) : of_byte(size) {
    changes.push_back({-1, -1, std::byte{0}});
    for (auto& list : of_byte) list.push_back(0);
  }
  size_t begin(int64_t now, uint64_t offset, uint64_t size, std::byte value) {
    changes.push_back({now, INT64_MAX, value});
    for (uint64_t i = offset; i < offset + size; ++i) of_byte[i].push_back(changes.size() - 1);
    return changes.size() - 1;
  }
  bool allows(uint64_t at, std::byte value) const {
    const auto& list = of_byte[at];
    return std::any_of(list.begin(), list.end(), [&](size_t candidate) {
      if (changes[candidate].value != value) return false;
      return std::none_of(list.begin(), list.end(), [&](size_t other) {
        return changes[other].ended != INT64_MAX && changes[other].begun > changes[candidate].ended;
      });
    });
  }
};

}  // namespace

TEST_CASE("bytes written across the edges of blocks are read back, and their neighbours stay") {
  Stage stage(1, 64 << 10);
  const std::vector<std::byte> data(10000, std::byte{7});
  bool done = false;
  stage.bytes.write(4000, data, [&](const Status& status) {
    CHECK(status.ok());
    done = true;
  });
  CHECK_FALSE(done);
  CHECK(stage.world.run_until([&] { return done; }, 1s));
  CHECK(stage.all_are(stage.content(0, 4000), 0));
  CHECK(stage.all_are(stage.content(4000, 10000), 7));
  CHECK(stage.all_are(stage.content(14000, 6000), 0));
  CHECK(stage.content(13999, 2) == std::vector<std::byte>{std::byte{7}, std::byte{0}});
  CHECK(stage.bytes.idle());
}

TEST_CASE("zeroing part of a block keeps the rest of it; discarding part of a block keeps it all") {
  Stage stage(2, 64 << 10);
  const std::vector<std::byte> data(32 << 10, std::byte{9});
  int done = 0;
  const auto count = [&](const Status& status) {
    CHECK(status.ok());
    ++done;
  };
  stage.bytes.write(0, data, count);
  stage.bytes.write_zeroes(100, 5000, count);
  stage.bytes.discard(10000, 100, count);
  stage.bytes.discard(12000, 10000, count);
  CHECK(stage.world.run_until([&] { return done == 4; }, 1s));
  CHECK(stage.all_are(stage.content(0, 100), 9));
  CHECK(stage.all_are(stage.content(100, 5000), 0));
  CHECK(stage.all_are(stage.content(5100, 12288 - 5100), 9));
  CHECK(stage.all_are(stage.content(12288, 8192), 0));
  CHECK(stage.all_are(stage.content(20480, 4096), 9));
}

TEST_CASE("an aligned write acknowledged while a part of its block is being changed is not lost") {
  for (uint64_t seed = 1; seed <= 50; ++seed) {
    Stage stage(seed, 8 << 10);
    const std::vector<std::byte> part(10, std::byte{1}), whole(4096, std::byte{2});
    int done = 0;
    const auto count = [&](const Status&) { ++done; };
    stage.bytes.write(5, part, count);
    stage.bytes.write(0, whole, count);
    CHECK(stage.world.run_until([&] { return done == 2; }, 1s));
    CHECK(stage.all_are(stage.content(0, 4096), 2));
  }
}

TEST_CASE("random overlapping operations leave each byte as the last change of it allows") {
  constexpr uint64_t size = 32 << 10;
  constexpr size_t in_flight_max = 24;
  for (uint64_t seed = 1; seed <= 12; ++seed) {
    Stage stage(seed, size);
    auto& random = stage.world.random();
    ByteModel model(size);
    struct Running {
      std::vector<std::byte> data;
      size_t change;
    };
    size_t in_flight = 0;
    int64_t tick = 0;
    for (int i = 0; i < 1500; ++i) {
      if (in_flight >= in_flight_max || random.below(3) == 0) stage.world.step();
      uint64_t offset = random.below(size),
               length = 1 + random.below(std::min<uint64_t>(size - offset, 9000));
      if (random.below(3) == 0) {
        offset = offset / 4096 * 4096;
        length = 4096 * (1 + random.below(std::min<uint64_t>(3, (size - offset) / 4096)));
      }
      const bool zero = random.below(5) == 0;
      const auto value = std::byte(zero ? 0 : 1 + random.below(255));
      auto running = std::make_unique<Running>();
      running->data.assign(length, value);
      running->change = model.begin(++tick, offset, length, value);
      ++in_flight;
      const Bytes data = running->data;
      auto done = [&, running = std::move(running)](const Status& status) {
        REQUIRE(status.ok());
        model.changes[running->change].ended = ++tick;
        --in_flight;
      };
      if (zero)
        stage.bytes.write_zeroes(offset, length, std::move(done));
      else
        stage.bytes.write(offset, data, std::move(done));
      if (i % 300 != 299) continue;
      REQUIRE(stage.world.run_until([&] { return in_flight == 0; }, 10s));
      const auto content = stage.content(0, size);
      size_t wrong = 0;
      for (uint64_t at = 0; at < size; ++at) wrong += model.allows(at, content[at]) ? 0 : 1;
      REQUIRE(wrong == 0);
    }
    CHECK(stage.bytes.idle());
  }
}

TEST_CASE(
    "an error in one part of an unaligned write is reported, and the block that could not be read "
    "is not written") {
  Stage stage(3, 64 << 10);
  stage.device.fail_range(0, 4096, Code::damaged);
  const std::vector<std::byte> data(8192, std::byte{5});
  std::optional<Code> code;
  stage.bytes.write(100, data, [&](const Status& status) {
    REQUIRE_FALSE(status.ok());
    code = status.error().code();
  });
  CHECK(stage.world.run_until([&] { return code.has_value(); }, 1s));
  CHECK(*code == Code::damaged);
  CHECK(stage.bytes.idle());
}

TEST_CASE("changes that wait for one another are made in the order of their arrival") {
  Stage stage(4, 16 << 10);
  const std::vector<std::byte> first(10, std::byte{1}), across(4096, std::byte{2}),
      whole(4096, std::byte{3});
  int done = 0;
  const auto count = [&](const Status&) { ++done; };
  stage.bytes.write(0, first, count);
  stage.bytes.write(5, first, count);      // waits for the first
  stage.bytes.write(2048, across, count);  // waits for both: it ends in the next block
  stage.bytes.write(4096, whole, count);   // waits for that one only
  CHECK(stage.world.run_until([&] { return done == 4; }, 1s));
  CHECK(stage.all_are(stage.content(2048, 2048), 2));
  CHECK(stage.all_are(stage.content(4096, 4096), 3));
}
