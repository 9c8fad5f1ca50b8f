#include "cli/snapshots.h"

#include <doctest/doctest.h>

using namespace sp;
using namespace sp::cli;
using namespace std::chrono_literals;

TEST_CASE("what is to be taken is a volume, or a volume and the whole name of its snapshot") {
  CHECK(group_snapshot({"db@monday"}, {}, 0ms) ==
        R"({"volumes":[{"volume":"db","name":"db@monday"}]})");
  CHECK(group_snapshot({"db", "#log@a@b", "~x.b.1@c"}, {"job=7"}, 1500ms) ==
        R"({"volumes":[{"volume":"db"},{"volume":"#log","name":"log@a@b"},)"
        R"({"volume":"~x.b.1","name":"x.b.1@c"}],"tags":{"job":"7"},"deleteAfter":2})");
  CHECK(check_targets({"db", "db@monday"}).ok());
  for (const char* target : {"@monday", "db@", "@"}) {
    const Status status = check_targets({"db", target});
    REQUIRE_FALSE(status.ok());
    CHECK(status.error().code() == Code::invalid);
  }
}

TEST_CASE("snapshots and volumes are named apart when they are attached") {
  CHECK(reassignment({"web1", "web1@monday"}, {"web1@monday"}, 3, "ro", false) ==
        R"([{"volume":"web1","force":false,"ro":[3]},)"
        R"({"snapshot":"web1@monday","force":false,"ro":[3]}])");
}
