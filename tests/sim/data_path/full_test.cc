// Disks that are full, above all those that the primary does not hold.
#include "rig.h"

namespace sp::sim {
namespace {

constexpr uint64_t write_blocks = limits::io_blocks_max;

struct FullRig : Rig {
  explicit FullRig(ClusterOptions options) : Rig(std::move(options)) {}
  Status write_many(uint64_t block, uint64_t stamp) {
    Buffer data = Buffer::allocate(write_blocks * limits::block_bytes);
    for (uint64_t i = 0; i < write_blocks; ++i)
      encode_stamp(data.mutable_bytes().subspan(i * limits::block_bytes, limits::block_bytes),
                   {clients[0].volume_id, block + i}, stamp + i);
    Status outcome;
    bool done = false;
    clients[0].volume->write(block * limits::block_bytes, data.bytes(),
                             [&](Status status) { outcome = std::move(status), done = true; });
    return end_of(outcome, done);
  }
  Status discard(uint64_t block, uint64_t count) {
    Status outcome;
    bool done = false;
    clients[0].volume->discard(block * limits::block_bytes, count * limits::block_bytes,
                               [&](Status status) { outcome = std::move(status), done = true; });
    return end_of(outcome, done);
  }
  // Writes until there is no room; the error, and how many blocks were written.
  std::pair<Error, uint64_t> fill() {
    for (uint64_t block = 0;; block += write_blocks) {
      const Status status = write_many(block, 1 + block);
      if (!status.ok()) return {status.error(), block};
    }
  }
};

ClusterOptions small(DiskId disk) {
  ClusterOptions options = quiet();
  options.volume_bytes = 128u << 20;
  options.disk_bytes = 96u << 20;
  options.small_disk = disk;
  options.small_disk_bytes = 40u << 20;
  return options;
}

TEST_CASE("a full copy is named to the client, not put out of its set") {
  for (const DiskId disk : {DiskId{1}, DiskId{2}, DiskId{3}}) {
    CAPTURE(disk);
    FullRig rig(small(disk));
    const auto [error, written] = rig.fill();
    CHECK_EQ(error.code(), Code::no_space);
    CHECK_NE(error.message().find("disk " + std::to_string(disk) + " is full"), std::string::npos);
    CHECK_GT(written, 4000);
    CHECK_EQ(rig.sum(&serve::Counters::evictions), 0);
    CHECK(rig.settled());
    // Reads and discards go on; what they free can be written.
    CHECK_EQ(*rig.read(7), 8);
    REQUIRE(rig.discard(0, 4 * write_blocks).ok());
    rig.world.run_for(seconds(2));
    CHECK(rig.write_many(0, 77).ok());
    rig.same_copies();
    CHECK_EQ(rig.sum(&serve::Counters::evictions), 0);
  }
}

TEST_CASE("a disk with as many objects as it may have is full, and nothing waits for it") {
  ClusterOptions options = quiet();
  options.volume_bytes = uint64_t{8192} * limits::object_bytes;
  FullRig rig(std::move(options));
  uint64_t object = 0;
  Status status;
  while (status.ok() && object < 8192) {
    status = rig.write(object * limits::blocks_per_object, 10 + object);
    if (status.ok()) ++object;
  }
  REQUIRE(!status.ok());
  CHECK_EQ(status.error().code(), Code::no_space);
  CHECK_GT(object, 3000);
  CHECK_LT(object, 4096);
  CHECK(rig.settled());
  CHECK_EQ(rig.sum(&serve::Counters::evictions), 0);
  // Reads and discards go on; what frees objects is that volumes are deleted.
  CHECK_EQ(*rig.read(0), 10);
  REQUIRE(rig.discard(0, limits::blocks_per_object).ok());
  CHECK_EQ(*rig.read(0), 0);
  rig.same_copies();
}

TEST_CASE("a copy that was away recovers on a full disk, and volumes can be deleted there") {
  FullRig rig(small(2));
  const auto [error, written] = rig.fill();
  CHECK_EQ(error.code(), Code::no_space);
  rig.end_server(rig.servers[1], Death::process);
  rig.world.run_for(seconds(1));
  // The others have room: what is written over meanwhile has to find a place on the full disk.
  for (uint64_t block = 0; block < written; block += write_blocks)
    REQUIRE(rig.write_many(block, 50'000 + block).ok());
  rig.heal();
  rig.same_copies();
  CHECK_EQ(*rig.read(9), 50'009);
  rig.control.detach(rig.clients[0].volume_id, rig.clients[0].id);
  rig.control.remove_volume(rig.clients[0].volume_id);
  const auto gone = [&] {
    return std::all_of(rig.servers.begin(), rig.servers.end(), [](auto& process) {
      return process.server->store(process.disks[0])->stats().blocks_used == 0;
    });
  };
  CHECK(rig.world.run_until(gone, seconds(30)));
}

}  // namespace
}  // namespace sp::sim
