// A copy that is put out of its set, and what its server knows of it.
#include "serve/replica.h"

#include <doctest/doctest.h>

#include <optional>

#include "crash/store/store_rig.h"

namespace sp::serve {
namespace {

constexpr DiskId disk = 3;
constexpr SetId set{1, 0};

struct ReplicaRig : test::StoreRig {
  explicit ReplicaRig(test::FakeMedium& medium) : StoreRig(medium) {
    REQUIRE(open().ok());
    replica = std::make_unique<Replica>(machine().host, *store, disk, set);
  }
  void begin(uint32_t epoch, uint64_t revision) {
    wire::BeginEpoch request;
    request.set = set;
    request.disk = disk;
    request.epoch = epoch;
    request.revision = revision;
    request.recovering = true;
    replica->begin_epoch(request, [this](const wire::BeginEpochReply& reply) { begun = reply.ok; });
  }
  void finish(uint32_t epoch, uint64_t revision) {
    wire::RecoverObject request;
    request.set = set;
    request.disk = disk;
    request.epoch = epoch;
    request.revision = revision;
    request.last = true;
    replica->recover_object(request, {},
                            [this](const wire::RecoverObjectReply& reply) { finished = reply.ok; });
  }
  void remove(uint64_t revision) {
    replica->remove(revision, [this](const Status& status) { removed = status.ok(); });
  }
  bool has_record() const { return store->set_record(set).has_value(); }

  std::unique_ptr<Replica> replica;
  std::optional<bool> begun, finished, removed;
};

TEST_CASE("a row by which a copy is out clears it, though it is of the epoch that it promised") {
  test::FakeMedium medium = test::StoreRig::formatted(test::small_layout());
  ReplicaRig rig(medium);
  rig.begin(5, 9);
  rig.settle();
  REQUIRE_EQ(rig.begun, true);
  rig.remove(10);
  rig.settle();
  CHECK_EQ(rig.removed, true);
  CHECK_FALSE(rig.has_record());
  CHECK_EQ(rig.replica->epoch(), 0);
}

TEST_CASE("a copy that is told complete under a newer row is not cleared by an older one") {
  test::FakeMedium medium = test::StoreRig::formatted(test::small_layout());
  ReplicaRig rig(medium);
  rig.begin(5, 9);
  rig.settle();
  rig.finish(5, 11);
  rig.remove(10);
  rig.settle();
  CHECK_EQ(rig.finished, true);
  CHECK_EQ(rig.removed, false);
  CHECK(rig.has_record());
}

TEST_CASE("a copy that was cleared before it is told complete does not say that it is") {
  test::FakeMedium medium = test::StoreRig::formatted(test::small_layout());
  ReplicaRig rig(medium);
  rig.begin(5, 9);
  rig.settle();
  rig.remove(10);
  rig.finish(5, 11);
  rig.settle();
  CHECK_EQ(rig.removed, true);
  CHECK_EQ(rig.finished, false);
}

TEST_CASE("a copy that leaves and joins again while its record is being written stays") {
  test::FakeMedium medium = test::StoreRig::formatted(test::small_layout());
  ReplicaRig rig(medium);
  rig.begin(5, 9);
  rig.remove(10);
  rig.begin(5, 11);
  rig.settle();
  CHECK_EQ(rig.begun, true);
  CHECK_EQ(rig.removed, false);
  CHECK(rig.has_record());
}

TEST_CASE("a copy that acts by the map and has forgotten the end of its recovery says so") {
  test::FakeMedium medium = test::StoreRig::formatted(test::small_layout());
  ReplicaRig rig(medium);
  rig.begin(5, 9);
  rig.settle();
  wire::BeginEpoch acting;
  acting.set = set;
  acting.disk = disk;
  acting.epoch = 6;
  std::optional<wire::BeginEpochReply> reply;
  const auto note = [&reply](wire::BeginEpochReply told) { reply = std::move(told); };
  rig.replica->begin_epoch(acting, note);
  rig.settle();
  REQUIRE(reply.has_value());
  CHECK_FALSE(reply->ok);
  CHECK(reply->lost);
  CHECK_EQ(rig.replica->epoch(), 5);
  rig.finish(5, 11);
  rig.finish(5, 12);  // asked again, as the row had changed
  rig.settle();
  CHECK_EQ(rig.finished, true);
  rig.replica->begin_epoch(acting, note);
  rig.settle();
  CHECK(reply->ok);
}

TEST_CASE("a copy takes nothing of a primary whose epoch is over") {
  test::FakeMedium medium = test::StoreRig::formatted(test::small_layout());
  ReplicaRig rig(medium);
  rig.begin(5, 9);
  rig.begin(6, 10);
  rig.settle();
  wire::Prepare late;
  late.disk = disk;
  late.epoch = 5;
  late.record.set = set;
  late.record.version = Version(5, 1);
  late.record.object.volume = 1;
  late.record.block_count = 1;
  late.record.discard = true;
  std::optional<bool> taken, shown;
  rig.replica->prepare(late, {}, true, [&](const wire::PrepareReply& reply) { taken = reply.ok; });
  wire::FetchUndecided fetch;
  fetch.set = set;
  fetch.disk = disk;
  fetch.epoch = 5;
  fetch.version = late.record.version;
  wire::FetchUndecidedReply told;
  rig.replica->fetch_undecided(fetch, [&](wire::FetchUndecidedReply reply, const Buffer&) {
    shown = reply.ok;
    told = std::move(reply);
  });
  rig.finish(5, 11);
  rig.settle();
  CHECK_EQ(taken, false);
  CHECK_EQ(shown, false);
  CHECK_EQ(told.text, "disk 3 is in epoch 6, not 5");
  CHECK_EQ(rig.finished, false);
}

}  // namespace
}  // namespace sp::serve
