// The store's promises on a disk that works: visibility, order, reopening, refusals.
#include <doctest/doctest.h>

#include "crash/store/store_rig.h"

using namespace sp;
using namespace sp::test;

namespace {
constexpr ObjectId object{9, 4};
constexpr SetId set{1, 0};
}  // namespace

TEST_CASE("a prepared write is invisible until it is decided, and stays after reopening") {
  FakeMedium medium = StoreRig::formatted(small_layout());
  {
    StoreRig rig(medium);
    REQUIRE(rig.open().ok());
    REQUIRE(rig.write(object, 3, 2, Version(1, 1), 42).ok());
    CHECK(rig.read(object, 3).zero());
    CHECK(rig.store->has_undecided(object, 4, 1));
    CHECK_FALSE(rig.store->has_undecided(object, 5, 1));
    CHECK(rig.store->undecided(set).size() == 1);
    rig.store->decide(set, Version(1, 1));
    CHECK(rig.read(object, 3).holds(42));
    CHECK(rig.read(object, 4).holds(42, 1));
    CHECK_FALSE(rig.store->has_undecided(object, 4, 1));
    rig.settle();
  }
  StoreRig rig(medium);
  REQUIRE(rig.open().ok());
  CHECK(rig.read(object, 3).holds(42));
  CHECK(rig.read(object, 3).version == Version(1, 1));
  CHECK(rig.store->decided_to(set) == Version(1, 1));
  CHECK(rig.store->operations(set).size() == 1);
}
