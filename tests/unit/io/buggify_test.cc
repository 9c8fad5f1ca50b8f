#include <doctest/doctest.h>

#include <vector>

#include "io/sim_world.h"

using namespace sp::io;

namespace {

std::vector<uint32_t> draws(SimHost& host, size_t point, int count) {
  std::vector<uint32_t> out;
  for (int i = 0; i < count; ++i) out.push_back(host.host().buggify->draw(point));
  return out;
}

bool any(const std::vector<uint32_t>& list) {
  for (const uint32_t draw : list) {
    if (draw != 0) return true;
  }
  return false;
}

}  // namespace

TEST_CASE("no point fires while it is not asked for") {
  for (uint64_t seed = 0; seed < 50; ++seed) {
    SimWorld world(seed);
    SimHost& host = world.add_host("a", "10.0.0.1");
    for (size_t point = 0; point < buggify_points(); ++point)
      CHECK_FALSE(any(draws(host, point, 50)));
  }
}

TEST_CASE("a point fires alike whatever other points and hosts are asked") {
  size_t firing = 0;
  for (uint64_t seed = 0; seed < 50; ++seed) {
    SimWorld alone(seed), busy(seed);
    alone.set_buggify(true);
    busy.set_buggify(true);
    SimHost& a = alone.add_host("a", "10.0.0.1");
    SimHost& b = busy.add_host("a", "10.0.0.1");
    SimHost& other = busy.add_host("b", "10.0.0.2");
    for (size_t point = 0; point < buggify_points(); ++point) {
      draws(other, point, 20);
      const auto expected = draws(a, 0, 20);
      CHECK_EQ(draws(b, 0, 20), expected);
      firing += any(expected);
      if (point != 0) draws(b, point, 20);
    }
  }
  CHECK_GT(firing, 0u);
}

TEST_CASE("each point fires in some run and never more often than it may") {
  for (size_t point = 0; point < buggify_points(); ++point) {
    int active = 0;
    for (uint64_t seed = 0; seed < 400; ++seed) {
      SimWorld world(seed);
      world.set_buggify(true);
      const auto list = draws(world.add_host("a", "10.0.0.1"), point, 400);
      uint32_t hits = 0;
      for (const uint32_t draw : list) hits += draw != 0;
      active += hits != 0;
      CHECK_LE(hits, 4 * buggify_point(point).percent_max + 60);
    }
    CHECK_GT(active, 20);
    CHECK_LT(active, 300);
  }
}
