// What management may answer, and what it may not: the rules of Success.
#include "sim/success.h"

#include <doctest/doctest.h>

namespace sp::sim {
namespace {

using Outcome = Success::Outcome;

bool has_text(const Success& success, const char* part) {
  return success.failure().find(part) != std::string::npos;
}

TEST_CASE("what was answered with success is in every later answer") {
  for (const bool stale : {false, true}) {
    Success success;
    const auto size = success.add("the size");
    success.started(size, 5);
    const uint64_t during = success.now();
    success.ended(size, 5, Outcome::success);
    success.found(size, 0, during);  // asked before the success came
    success.found(size, 5, success.now());
    CHECK_EQ(success.failure(), "");
    if (stale) success.found(size, 0, success.now());
    CHECK_EQ(has_text(success, "the size"), stale);
  }
}

TEST_CASE("what was refused is never there, what was not answered may be") {
  Success success;
  const auto tag = success.add("the tag");
  success.started(tag, 1);
  success.ended(tag, 1, Outcome::unknown);
  success.found(tag, 0, success.now());
  success.found(tag, 1, success.now());
  CHECK_EQ(success.failure(), "");
  success.started(tag, 2);
  success.ended(tag, 2, Outcome::refused);
  success.found(tag, 1, success.now());
  CHECK_EQ(success.failure(), "");
  success.found(tag, 2, success.now());
  CHECK(has_text(success, "refused"));
}

TEST_CASE("what was seen once does not go back, whoever is asked") {
  Success success;
  const auto tag = success.add("the tag");
  success.started(tag, 1);
  success.ended(tag, 1, Outcome::unknown);
  success.found(tag, 1, success.now());
  success.found(tag, 0, success.now());
  CHECK(has_text(success, "the tag"));
}

TEST_CASE("a volume that was deleted with success is not listed any more") {
  Success success;
  const auto there = success.add("whether it is there");
  success.started(there, 1);
  success.ended(there, 1, Outcome::success);
  success.removal_started(there, 2);
  success.found(there, 1, success.now());
  success.ended(there, 2, Outcome::success);
  success.found(there, 0, success.now());
  CHECK_EQ(success.failure(), "");
  success.found(there, 1, success.now());
  CHECK(has_text(success, "whether it is there"));
}

TEST_CASE("generations do not fall from one answer to a request that was sent after it") {
  Success success;
  const uint64_t early = success.now();
  success.generation(7, success.now());
  success.generation(6, early);
  CHECK_EQ(success.failure(), "");
  success.generation(6, success.now());
  CHECK(has_text(success, "generation 6"));
}

TEST_CASE(
    "of two changes on condition of one version one succeeds, and it makes the next version") {
  {
    Success success;
    success.set_ended(1, 0, Outcome::success);
    success.bucket_found(1, 1, success.now());
    CHECK_EQ(success.failure(), "");
    success.set_ended(2, 0, Outcome::success);
    CHECK(has_text(success, "both"));
  }
  {
    Success success;
    success.bucket_found(3, 9, success.now());
    success.set_ended(1, 2, Outcome::success);
    CHECK(has_text(success, "next version holds 9"));
  }
  {
    Success success;
    success.set_ended(1, 4, Outcome::success);
    success.bucket_found(4, 3, success.now());
    CHECK(has_text(success, "after version 5"));
  }
  {
    Success success;
    success.set_ended(1, 4, Outcome::unknown);
    success.bucket_found(4, 1, success.now());
    CHECK(has_text(success, "on condition of version 4"));
  }
  {
    Success success;
    success.bucket_found(4, 1, success.now());
    success.bucket_found(4, 2, success.now());
    CHECK(has_text(success, "held 1 before"));
  }
  {
    Success success;
    success.set_ended(8, 4, Outcome::refused);
    success.mismatch_confirmed(4, 5);
    CHECK_EQ(success.failure(), "");
    success.mismatch_confirmed(5, 5);
    CHECK(has_text(success, "that is the version"));
  }
}

}  // namespace
}  // namespace sp::sim
