// What ends a process that makes several runs must be put down to the right one, and must not take
// the others with it.
#include <doctest/doctest.h>

#include <cstdio>
#include <cstdlib>
#include <map>

#include "sim/child_linux.h"

namespace sp::sim {
namespace {

std::map<uint64_t, ChildOutcome> all_of(Children& children) {
  std::map<uint64_t, ChildOutcome> outcomes;
  while (children.running() > 0) {
    for (ChildOutcome& outcome : children.wait()) {
      const uint64_t id = outcome.id;
      CHECK(outcomes.emplace(id, std::move(outcome)).second);
    }
  }
  return outcomes;
}

TEST_CASE("one of several pieces of work that dies says why, and those behind it are still done") {
  Children children([](uint64_t id, bool&) {
    // As an assertion does, but for the signal, which the test program would take for its own.
    if (id == 4) {
      std::fprintf(stderr, "assertion failed: id != 4\n");
      std::_Exit(3);
    }
    return std::string(id * 1000, static_cast<char>('a' + id));
  });
  children.start(2, 5);
  children.start(10, 1);
  const auto outcomes = all_of(children);
  CHECK(outcomes.size() == 6);
  for (const uint64_t id : {2u, 3u, 5u, 6u, 10u}) {
    CAPTURE(id);
    CHECK(outcomes.at(id).died == "");
    CHECK(outcomes.at(id).result == std::string(id * 1000, static_cast<char>('a' + id)));
  }
  CHECK(outcomes.at(4).died == "assertion: assertion failed: id != 4");
  CHECK(outcomes.at(4).result.empty());
}

TEST_CASE("what an earlier piece of work printed is not taken for the reason of a later death") {
  Children children([](uint64_t id, bool&) {
    if (id == 0) std::fprintf(stderr, "runtime error: of the first\n");
    if (id == 1) std::_Exit(3);
    return std::string("x");
  });
  children.start(0, 2);
  const auto outcomes = all_of(children);
  CHECK(outcomes.at(0).died == "");
  CHECK(outcomes.at(1).died == "crash: exit 3");
}

TEST_CASE("nothing is done behind the piece of work that says that it is the last") {
  Children children([](uint64_t id, bool& last) {
    last = id == 1;
    return std::to_string(id);
  });
  children.start(0, 4);
  const auto outcomes = all_of(children);
  CHECK(outcomes.size() == 2);
  CHECK(outcomes.at(1).result == "1");
}

}  // namespace
}  // namespace sp::sim
