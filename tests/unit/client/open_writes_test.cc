#include "client/open_writes.h"

#include <doctest/doctest.h>

#include "io/random.h"

namespace sp::client {
namespace {

using Ids = std::vector<uint64_t>;

TEST_CASE("a write that touches a block of an open one waits until that is answered") {
  OpenWrites writes;
  CHECK(writes.add(1, {0, 10, 4}));
  CHECK_FALSE(writes.add(2, {0, 13, 1}));
  CHECK(writes.add(3, {0, 14, 2}));
  CHECK(writes.add(4, {1, 10, 4}));
  CHECK_EQ(writes.remove(3, {0, 14, 2}), Ids{});
  CHECK_EQ(writes.remove(1, {0, 10, 4}), Ids{2});
  CHECK_EQ(writes.remove(2, {0, 13, 1}), Ids{});
  CHECK_EQ(writes.remove(4, {1, 10, 4}), Ids{});
}

TEST_CASE("a write waits for one that waits itself, so overlapping writes keep their order") {
  OpenWrites writes;
  CHECK(writes.add(1, {0, 0, 2}));
  CHECK_FALSE(writes.add(2, {0, 1, 2}));
  CHECK_FALSE(writes.add(3, {0, 2, 1}));
  CHECK_EQ(writes.remove(1, {0, 0, 2}), Ids{2});
  CHECK_EQ(writes.remove(2, {0, 1, 2}), Ids{3});
}

TEST_CASE(
    "a write given up while it waits frees those behind it only when nothing else holds them") {
  OpenWrites writes;
  CHECK(writes.add(1, {0, 0, 1}));
  CHECK_FALSE(writes.add(2, {0, 0, 3}));
  CHECK_FALSE(writes.add(3, {0, 0, 3}));
  CHECK_EQ(writes.remove(2, {0, 0, 3}), Ids{});
  CHECK_EQ(writes.remove(1, {0, 0, 1}), Ids{3});
}

TEST_CASE("of random writes no two that touch are ever free at once, and all get their turn") {
  io::SeededRandom random(5);
  for (int round = 0; round < 200; ++round) {
    OpenWrites writes;
    std::map<uint64_t, OpenWrites::Range> going, held;
    uint64_t last = 0, ended = 0;
    const auto touch = [](const OpenWrites::Range& a, const OpenWrites::Range& b) {
      return a.object == b.object && a.first_block < b.first_block + b.block_count &&
             b.first_block < a.first_block + a.block_count;
    };
    const auto go = [&](uint64_t id, const OpenWrites::Range& range) {
      for (const auto& [other, with] : going) REQUIRE_FALSE(touch(range, with));
      going.emplace(id, range);
    };
    while (last < 60 || !going.empty()) {
      if (last < 60 && (going.empty() || random.below(2) == 0)) {
        const OpenWrites::Range range{static_cast<uint32_t>(random.below(2)),
                                      static_cast<uint16_t>(random.below(12)),
                                      static_cast<uint16_t>(1 + random.below(4))};
        if (writes.add(++last, range))
          go(last, range);
        else
          held.emplace(last, range);
        continue;
      }
      const auto one =
          std::next(going.begin(), static_cast<std::ptrdiff_t>(random.below(going.size())));
      const auto [id, range] = *one;
      going.erase(one);
      ++ended;
      for (const uint64_t freed : writes.remove(id, range)) {
        const auto found = held.find(freed);
        REQUIRE(found != held.end());
        go(freed, found->second);
        held.erase(found);
      }
    }
    CHECK_EQ(ended, 60);
    CHECK(held.empty());
  }
}

}  // namespace
}  // namespace sp::client
