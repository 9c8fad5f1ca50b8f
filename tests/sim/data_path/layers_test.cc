// Volumes that stand on snapshots: where their blocks come from, what discards hide, and what is
// given back when a snapshot is deleted.
#include "map/lineage.h"
#include "rig.h"

namespace sp::sim {
namespace {

// Clients 0 and 1 have volumes of their own at first; a third one and more are for snapshots.
struct LayerRig : Rig {
  static ClusterOptions with(ClusterOptions options) {
    options.clients = 3;
    return options;
  }
  explicit LayerRig(ClusterOptions options = quiet()) : Rig(with(std::move(options))) {
    source = clients[0].volume_id;
  }
  void agree(const map::Command& command) {
    const Status status = control.agree(command);
    REQUIRE_EQ(status.ok() ? "" : status.error().message(), "");
  }
  VolumeId id(const std::string& name) const {
    const map::Volume* const row = control.map().find_volume(name);
    return row == nullptr ? 0 : row->id;
  }
  void open_cut(VolumeId volume, const std::string& name) {
    map::OpenCut command;
    command.items.push_back({volume, name, {}, 0});
    agree(command);
  }
  VolumeId take(VolumeId volume, const std::string& name) {
    open_cut(volume, name);
    const uint64_t opened = control.map().index;
    REQUIRE(world.run_until([&] { return control.settled(opened); }, seconds(10)));
    agree(map::CloseCut{id(name), true});
    return id(name);
  }
  VolumeId clone(VolumeId snapshot, const std::string& name) {
    map::CloneVolume command;
    command.snapshot = snapshot;
    command.name = name;
    agree(command);
    return id(name);
  }
  // The client has that volume or snapshot now.
  void give(size_t client, VolumeId volume) {
    ClientProcess& process = clients[client];
    end_client(process, Death::process);
    process.volume_id = volume;
    process.reader = map::is_snapshot(control.map(), volume);
    start_client(process);
    REQUIRE(world.run_until([&] { return process.volume->size_bytes() > 0; }, seconds(10)));
  }
  // Whose stamp is there: the volume that wrote it, and what; zeros are volume 0.
  std::pair<VolumeId, uint64_t> look(size_t client, uint64_t block) {
    Buffer data;
    const Status status = read_into(data, block, client);
    REQUIRE_EQ(status.ok() ? "" : status.error().message(), "");
    for (VolumeId writer = 1; writer <= control.map().cluster.volume_last; ++writer) {
      const auto stamp = decode_stamp(data.bytes(), {writer, block});
      if (stamp) return {*stamp == 0 ? 0 : writer, *stamp};
    }
    FAIL("block " << block << " is something that nobody wrote");
    return {};
  }
  using Who = std::pair<VolumeId, uint64_t>;
  void discard(size_t client, uint64_t block, uint64_t count) {
    Status outcome;
    bool done = false;
    clients[client].volume->discard(
        block * limits::block_bytes, count * limits::block_bytes,
        [&](Status status) { outcome = std::move(status), done = true; });
    const Status status = end_of(outcome, done);
    REQUIRE_EQ(status.ok() ? "" : status.error().message(), "");
  }
  // Blocks of the layer that the primary's disk holds.
  size_t held(VolumeId layer) {
    const map::DiskSet& row = control.map().sets.begin()->second;
    for (auto& server : servers)
      for (const DiskId disk : server.disks) {
        if (disk != row.acting.front()) continue;
        store::BlockSet present;
        server.server->store(disk)->add_present({layer, 0}, 0, limits::blocks_per_object, present);
        return present.count();
      }
    return 0;
  }
  VolumeId source = 0;
};

constexpr std::pair<VolumeId, uint64_t> zeros{0, 0};

}  // namespace

TEST_CASE("a snapshot keeps what the volume writes over and discards") {
  LayerRig rig;
  for (uint64_t block = 0; block < 8; ++block) REQUIRE(rig.write(block, 10 + block).ok());
  const VolumeId snapshot = rig.take(rig.source, "s");
  REQUIRE(rig.write(1, 101).ok());
  rig.discard(0, 2, 2);
  rig.give(1, snapshot);
  for (uint64_t block = 0; block < 8; ++block)
    CHECK_EQ(rig.look(1, block), LayerRig::Who(rig.source, 10 + block));
  CHECK_EQ(rig.look(0, 0), LayerRig::Who(rig.source, 10));
  CHECK_EQ(rig.look(0, 1), LayerRig::Who(rig.source, 101));
  CHECK_EQ(rig.look(0, 2), zeros);
  CHECK_EQ(rig.look(0, 3), zeros);
  CHECK_EQ(rig.look(0, 4), LayerRig::Who(rig.source, 14));
  CHECK_EQ(rig.look(1, 9), zeros);
  rig.same_copies();
}

TEST_CASE("a read over many blocks is put together from all layers") {
  LayerRig rig;
  for (uint64_t block = 0; block < 12; ++block) REQUIRE(rig.write(block, 10 + block).ok());
  rig.take(rig.source, "s1");
  for (uint64_t block = 1; block < 12; block += 3) REQUIRE(rig.write(block, 100 + block).ok());
  rig.take(rig.source, "s2");
  for (uint64_t block = 2; block < 12; block += 3) REQUIRE(rig.write(block, 200 + block).ok());
  rig.discard(0, 6, 1);
  Buffer data = Buffer::allocate(14 * limits::block_bytes);
  bool done = false;
  rig.clients[0].volume->read(0, data.mutable_bytes(), [&](Status status) {
    CHECK(status.ok());
    done = true;
  });
  REQUIRE(rig.world.run_until([&] { return done; }, seconds(10)));
  for (uint64_t block = 0; block < 14; ++block) {
    const uint64_t expected = block >= 12 || block == 6 ? 0
                              : block % 3 == 0          ? 10 + block
                              : block % 3 == 1          ? 100 + block
                                                        : 200 + block;
    const Bytes bytes = data.bytes().subspan(block * limits::block_bytes, limits::block_bytes);
    CHECK_EQ(decode_stamp(bytes, {rig.source, block}).value(), expected);
  }
}

TEST_CASE("a write that comes while a snapshot is taken waits, and is not in it") {
  LayerRig rig;
  REQUIRE(rig.write(0, 10).ok());
  rig.open_cut(rig.source, "s");
  const uint64_t opened = rig.control.map().index;
  REQUIRE(rig.world.run_until([&] { return rig.control.settled(opened); }, seconds(10)));
  Buffer data = Buffer::allocate(limits::block_bytes);
  encode_stamp(data.mutable_bytes(), {rig.source, 0}, 11);
  bool done = false;
  rig.clients[0].volume->write(0, data.bytes(), [&done](Status status) {
    CHECK(status.ok());
    done = true;
  });
  rig.world.run_for(milliseconds(500));
  CHECK_FALSE(done);
  CHECK_EQ(rig.look(0, 0), LayerRig::Who(rig.source, 10));
  rig.agree(map::CloseCut{rig.id("s"), true});
  REQUIRE(rig.world.run_until([&] { return done; }, seconds(10)));
  CHECK_EQ(rig.look(0, 0), LayerRig::Who(rig.source, 11));
  rig.give(1, rig.id("s"));
  CHECK_EQ(rig.look(1, 0), LayerRig::Who(rig.source, 10));
}

TEST_CASE("a cut that is given up lets the writes go on in the same layer") {
  LayerRig rig;
  REQUIRE(rig.write(0, 10).ok());
  rig.open_cut(rig.source, "s");
  rig.world.run_for(milliseconds(100));
  rig.agree(map::CloseCut{rig.id("s"), false});
  REQUIRE(rig.write(0, 11).ok());
  CHECK_EQ(rig.held(rig.source), 1);
  CHECK_EQ(rig.look(0, 0), LayerRig::Who(rig.source, 11));
}

TEST_CASE("a set is not settled while a write of the volume is undecided") {
  LayerRig rig;
  REQUIRE(rig.write(0, 10).ok());
  // Two copies hear nothing of the primary: what it orders stays undecided.
  rig.world.net().set_link(rig.servers[0].ip, rig.servers[1].ip, false);
  rig.world.net().set_link(rig.servers[0].ip, rig.servers[2].ip, false);
  Buffer data = Buffer::allocate(limits::block_bytes);
  encode_stamp(data.mutable_bytes(), {rig.source, 0}, 11);
  bool done = false;
  rig.clients[0].volume->write(0, data.bytes(), [&done](Status) { done = true; });
  rig.world.run_for(milliseconds(20));
  rig.open_cut(rig.source, "s");
  const uint64_t opened = rig.control.map().index;
  rig.world.run_for(milliseconds(200));
  CHECK_FALSE(done);
  CHECK_FALSE(rig.control.settled(opened));
  rig.world.net().heal();
  REQUIRE(rig.world.run_until([&] { return rig.control.settled(opened); }, seconds(30)));
  rig.agree(map::CloseCut{rig.id("s"), true});
  REQUIRE(rig.world.run_until([&] { return done; }, seconds(30)));
}

TEST_CASE("what a clone writes and discards is its own, also after its primary has changed") {
  LayerRig rig;
  for (uint64_t block = 0; block < 8; ++block) REQUIRE(rig.write(block, 10 + block).ok());
  const VolumeId snapshot = rig.take(rig.source, "s");
  const VolumeId clone = rig.clone(snapshot, "c");
  rig.give(1, clone);
  REQUIRE(rig.write(1, 101, 1).ok());
  rig.discard(1, 2, 1);
  rig.discard(1, 1, 1);
  rig.discard(1, 20, 5);  // where nothing is
  const auto check = [&] {
    CHECK_EQ(rig.look(1, 0), LayerRig::Who(rig.source, 10));
    CHECK_EQ(rig.look(1, 1), zeros);
    CHECK_EQ(rig.look(1, 2), zeros);
    CHECK_EQ(rig.look(1, 3), LayerRig::Who(rig.source, 13));
    CHECK_EQ(rig.look(0, 2), LayerRig::Who(rig.source, 12));
  };
  check();
  rig.end_server(rig.servers[0], Death::power);
  rig.world.run_for(seconds(3));
  check();
  rig.discard(1, 3, 1);
  CHECK_EQ(rig.look(1, 3), zeros);
  CHECK_EQ(rig.look(1, 2), zeros);
  rig.heal();
  CHECK_EQ(rig.look(1, 3), zeros);
  CHECK_EQ(rig.look(1, 2), zeros);
  CHECK_EQ(rig.look(1, 1), zeros);
  rig.same_copies();
}

// A block of holes is written as a whole: one that lacks what is still undecided takes it back.
TEST_CASE("discards side by side do not take each other's holes away") {
  LayerRig rig;
  for (uint64_t block = 0; block < 32; ++block) REQUIRE(rig.write(block, 10 + block).ok());
  rig.give(1, rig.clone(rig.take(rig.source, "s"), "c"));
  uint32_t open = 0;
  for (uint64_t block = 0; block < 32; block += 2) {
    ++open;
    rig.clients[1].volume->discard(block * limits::block_bytes, limits::block_bytes,
                                   [&open](Status status) {
                                     CHECK(status.ok());
                                     --open;
                                   });
  }
  REQUIRE(rig.world.run_until([&] { return open == 0; }, seconds(10)));
  for (uint64_t block = 0; block < 32; ++block) {
    const auto expected = block % 2 == 0 ? zeros : LayerRig::Who(rig.source, 10 + block);
    CHECK_EQ(rig.look(1, block), expected);
  }
}

TEST_CASE("a clone of a snapshot of a clone sees holes of the layers between") {
  LayerRig rig;
  for (uint64_t block = 0; block < 4; ++block) REQUIRE(rig.write(block, 10 + block).ok());
  const VolumeId first = rig.clone(rig.take(rig.source, "s"), "c1");
  rig.give(1, first);
  rig.discard(1, 1, 1);
  REQUIRE(rig.write(2, 102, 1).ok());
  rig.give(2, rig.clone(rig.take(first, "s1"), "c2"));
  CHECK_EQ(rig.look(2, 0), LayerRig::Who(rig.source, 10));
  CHECK_EQ(rig.look(2, 1), zeros);
  CHECK_EQ(rig.look(2, 2), LayerRig::Who(first, 102));
  REQUIRE(rig.write(1, 201, 2).ok());
  CHECK_EQ(rig.look(2, 1), LayerRig::Who(rig.clients[2].volume_id, 201));
  rig.discard(2, 1, 1);
  CHECK_EQ(rig.look(2, 1), zeros);
  CHECK_EQ(rig.look(1, 1), zeros);
}

TEST_CASE("a damaged block of a parent layer is mended from another copy") {
  LayerRig rig;
  for (uint64_t block = 0; block < 4; ++block) REQUIRE(rig.write(block, 10 + block).ok());
  const VolumeId clone = rig.clone(rig.take(rig.source, "s"), "c");
  rig.give(1, clone);
  REQUIRE(rig.write(0, 100, 1).ok());
  rig.corrupt(0, 2);
  CHECK_EQ(rig.look(1, 2), LayerRig::Who(rig.source, 12));
  CHECK_GE(rig.sum(&serve::Counters::blocks_repaired), 1);
  CHECK_EQ(rig.look(1, 0), LayerRig::Who(clone, 100));
}

TEST_CASE("of a deleted snapshot only what nobody sees any more is given back") {
  LayerRig rig;
  for (uint64_t block = 0; block < 8; ++block) REQUIRE(rig.write(block, 10 + block).ok());
  const VolumeId snapshot = rig.take(rig.source, "s");
  const VolumeId clone = rig.clone(snapshot, "c");
  rig.give(1, clone);
  for (uint64_t block = 0; block < 4; ++block) REQUIRE(rig.write(block, 100 + block).ok());
  for (uint64_t block = 2; block < 6; ++block) REQUIRE(rig.write(block, 200 + block, 1).ok());
  rig.world.run_for(seconds(5));
  CHECK_EQ(rig.held(rig.source), 8);
  rig.agree(map::DeleteVolume{snapshot});
  REQUIRE(rig.world.run_until([&] { return rig.held(rig.source) == 6; }, seconds(20)));
  rig.world.run_for(seconds(5));
  CHECK_EQ(rig.held(rig.source), 6);
  for (uint64_t block = 0; block < 8; ++block) {
    const auto own =
        block < 4 ? LayerRig::Who(rig.source, 100 + block) : LayerRig::Who(rig.source, 10 + block);
    const auto cloned = block >= 2 && block < 6 ? LayerRig::Who(clone, 200 + block)
                                                : LayerRig::Who(rig.source, 10 + block);
    CHECK_EQ(rig.look(0, block), own);
    CHECK_EQ(rig.look(1, block), cloned);
  }
  // As they go on, so does that; discards hide as well as writes.
  rig.discard(0, 4, 4);
  rig.discard(1, 6, 1);
  REQUIRE(rig.world.run_until([&] { return rig.held(rig.source) == 3; }, seconds(20)));
  // The clone goes: what only it saw goes with it.
  rig.end_client(rig.clients[1], Death::process);
  rig.control.detach(clone, rig.clients[1].id);
  rig.agree(map::DeleteVolume{clone});
  REQUIRE(rig.world.run_until([&] { return rig.held(rig.source) == 0; }, seconds(20)));
  rig.same_copies();
}

TEST_CASE("what was discarded between two snapshots stays so, however much else is read") {
  ClusterOptions options = quiet();
  options.serve.layer_views_max = 1;
  LayerRig rig(std::move(options));
  constexpr uint64_t other = limits::blocks_per_object;
  for (const uint64_t block : {uint64_t{0}, other}) REQUIRE(rig.write(block, 10 + block).ok());
  rig.take(rig.source, "s1");
  rig.discard(0, 0, 1);
  rig.take(rig.source, "s2");
  rig.world.run_for(seconds(1));  // until the servers have heard of it
  for (int pass = 0; pass < 3; ++pass) {
    CHECK_EQ(rig.look(0, 0), zeros);
    CHECK_EQ(rig.look(0, other), LayerRig::Who(rig.source, 10 + other));
  }
}

TEST_CASE("a sweep leaves no more undecided than a set may have, when a copy does not answer") {
  ClusterOptions options = quiet();
  options.serve.undecided_max = 8;
  LayerRig rig(std::move(options));
  for (uint64_t block = 0; block < 60; block += 2) REQUIRE(rig.write(block, 10 + block).ok());
  const VolumeId first = rig.take(rig.source, "s1");
  for (uint64_t block = 0; block < 60; block += 2) REQUIRE(rig.write(block, 100 + block).ok());
  const map::DiskSet& row = rig.control.map().sets.begin()->second;
  const DiskId leads = row.acting.front(), follows = row.acting.back();
  std::string primary, copy;
  store::Store* store = nullptr;
  for (auto& server : rig.servers) {
    for (const DiskId disk : server.disks) {
      if (disk == leads) primary = server.ip, store = server.server->store(disk);
      if (disk == follows) copy = server.ip;
    }
  }
  REQUIRE(store != nullptr);
  rig.world.net().clog(primary, copy, milliseconds(900));
  rig.agree(map::DeleteVolume{first});
  size_t most = 0;
  REQUIRE(rig.world.run_until(
      [&] {
        most = std::max(most, store->undecided(row.id).size());
        return rig.held(rig.source) == 0;
      },
      seconds(20)));
  CHECK_GE(most, 2);
  CHECK_LE(most, 4);
  for (uint64_t block = 0; block < 60; block += 2)
    CHECK_EQ(rig.look(0, block), LayerRig::Who(rig.source, 100 + block));
}

TEST_CASE("on a full disk a discard that uncovers nothing needs no room") {
  ClusterOptions options = quiet();
  options.volume_bytes = 64u << 20;
  LayerRig rig(std::move(options));
  REQUIRE(rig.write(0, 10).ok());
  rig.take(rig.source, "s");
  uint64_t block = 1;
  while (rig.write(block, 10 + block).ok()) ++block;
  REQUIRE_GT(block, 4000);
  rig.discard(0, 1, block - 1);
  CHECK_EQ(rig.look(0, 1), zeros);
  CHECK_EQ(rig.look(0, 0), LayerRig::Who(rig.source, 10));
}

TEST_CASE("what lies below two deleted snapshots is given back through both") {
  LayerRig rig;
  for (uint64_t block = 0; block < 4; ++block) REQUIRE(rig.write(block, 10 + block).ok());
  const VolumeId first = rig.take(rig.source, "s1");
  const VolumeId middle = map::layer_of(rig.control.map(), rig.source);
  REQUIRE(rig.write(1, 101).ok());
  const VolumeId second = rig.take(rig.source, "s2");
  REQUIRE(rig.write(2, 202).ok());
  rig.agree(map::DeleteVolume{first});
  rig.agree(map::DeleteVolume{second});
  // Block 1 is hidden by the layer in the middle, block 2 by the highest one through it.
  REQUIRE(rig.world.run_until([&] { return rig.held(rig.source) == 2; }, seconds(20)));
  CHECK_EQ(rig.held(middle), 1);
  REQUIRE(rig.write(1, 301).ok());
  REQUIRE(rig.world.run_until([&] { return rig.held(middle) == 0; }, seconds(20)));
  for (uint64_t block = 0; block < 4; ++block) {
    const uint64_t expected = block == 1 ? 301 : block == 2 ? 202 : 10 + block;
    CHECK_EQ(rig.look(0, block), LayerRig::Who(rig.source, expected));
  }
}

TEST_CASE("a volume that goes back to its snapshot shows it, and what came since is given back") {
  LayerRig rig;
  for (uint64_t block = 0; block < 4; ++block) REQUIRE(rig.write(block, 10 + block).ok());
  const VolumeId snapshot = rig.take(rig.source, "s");
  const VolumeId top = map::layer_of(rig.control.map(), rig.source);
  REQUIRE(rig.write(0, 100).ok());
  rig.discard(0, 1, 1);
  CHECK_EQ(rig.held(top), 1);
  rig.end_client(rig.clients[0], Death::process);
  rig.control.detach(rig.source, rig.clients[0].id);
  rig.agree(map::RevertVolume{rig.source, snapshot});
  rig.give(0, rig.source);
  for (uint64_t block = 0; block < 4; ++block)
    CHECK_EQ(rig.look(0, block), LayerRig::Who(rig.source, 10 + block));
  REQUIRE(rig.world.run_until([&] { return rig.held(top) == 0; }, seconds(20)));
  REQUIRE(rig.write(0, 300).ok());
  CHECK_EQ(rig.look(0, 0), LayerRig::Who(rig.source, 300));
}

TEST_CASE("a long chain of snapshots reads right, whichever layer has the block") {
  LayerRig rig;
  for (uint64_t i = 0; i < 60; ++i) {
    REQUIRE(rig.write(i % 7, 1000 + i).ok());
    rig.take(rig.source, "s" + std::to_string(i));
  }
  for (uint64_t block = 0; block < 7; ++block)
    CHECK_EQ(rig.look(0, block), LayerRig::Who(rig.source, 1000 + (block < 4 ? 56 : 49) + block));
  rig.give(1, rig.id("s30"));
  for (uint64_t block = 0; block < 7; ++block)
    CHECK_EQ(rig.look(1, block), LayerRig::Who(rig.source, 1000 + (block < 3 ? 28 : 21) + block));
}

// Decided when the snapshot was taken, as the primary of that time knew; nobody else had heard
// (sp-sim seeds 910000702, 910000784).
TEST_CASE("a write below a snapshot is not missed by a primary that does not know it is decided") {
  LayerRig rig;
  REQUIRE(rig.write(1, 11).ok());
  rig.world.run_for(milliseconds(500));
  REQUIRE(rig.write(1, 12).ok());
  rig.world.net().set_link(rig.servers[0].ip, rig.servers[1].ip, false);
  rig.world.net().set_link(rig.servers[0].ip, rig.servers[2].ip, false);
  const VolumeId snapshot = rig.take(rig.source, "s");
  rig.give(1, snapshot);
  rig.end_server(rig.servers[0], Death::power);
  rig.end_server(rig.servers[2], Death::power);
  rig.world.run_for(seconds(3));
  store::Store* const store = rig.servers[1].server->store(rig.servers[1].disks[0]);
  REQUIRE(store->has_undecided({rig.source, 0}, 1, 1));
  Buffer data[2] = {Buffer::allocate(limits::block_bytes), Buffer::allocate(limits::block_bytes)};
  uint32_t done = 0;
  for (const size_t client : {0, 1})
    rig.clients[client].volume->read(limits::block_bytes, data[client].mutable_bytes(),
                                     [&done](Status status) {
                                       CHECK(status.ok());
                                       ++done;
                                     });
  rig.world.run_for(seconds(3));
  rig.world.net().heal();
  rig.start_server(rig.servers[2]);
  rig.start_server(rig.servers[0]);
  REQUIRE(rig.world.run_until([&] { return done == 2; }, seconds(30)));
  for (const Buffer& read : data) CHECK_EQ(decode_stamp(read.bytes(), {rig.source, 1}).value(), 12);
}

// Such a discard is nobody's operation, and copies vouched for operations (sp-sim seed 99 with
// --set cameras=2).
TEST_CASE("a disk that lost the discard of a sweep, and does not know, is found out") {
  for (const size_t liar : {0, 2}) {
    CAPTURE(liar);
    LayerRig rig;
    for (uint64_t block = 0; block < 4; ++block) REQUIRE(rig.write(block, 10 + block).ok());
    const VolumeId snapshot = rig.take(rig.source, "s");
    for (uint64_t block = 0; block < 4; ++block) REQUIRE(rig.write(block, 100 + block).ok());
    rig.world.run_for(seconds(3));
    io::SimDiskOptions lying = rig.options.world.disk;
    lying.volatile_cache = true;
    lying.lying_flush = 1;
    lying.crash_keep = lying.crash_tear = lying.crash_garbage = 0;
    lying.crash_drop = 1;
    rig.world.disks().set_options(rig.servers[liar].paths[0], lying);
    rig.agree(map::DeleteVolume{snapshot});
    REQUIRE(rig.world.run_until([&] { return rig.held(rig.source) == 0; }, seconds(20)));
    rig.world.run_for(milliseconds(500));
    for (auto& process : rig.servers) rig.end_server(process, Death::power);
    rig.world.run_for(seconds(2));
    lying.lying_flush = 0;
    rig.world.disks().set_options(rig.servers[liar].paths[0], lying);
    rig.start_server(rig.servers[liar]);
    rig.world.run_for(milliseconds(500));
    rig.heal();
    rig.same_copies();
  }
}

// New ones would be written without them (sp-sim seed 910000702).
TEST_CASE("while holes cannot be read nothing is discarded, and nothing below is shown") {
  LayerRig rig;
  for (uint64_t block = 0; block < 4; ++block) REQUIRE(rig.write(block, 10 + block).ok());
  const VolumeId clone = rig.clone(rig.take(rig.source, "s"), "c");
  rig.give(1, clone);
  rig.discard(1, 1, 1);
  rig.world.run_for(milliseconds(500));
  for (auto& server : rig.servers) {
    store::Store* const store = server.server->store(server.disks[0]);
    const auto place = store::locate(*store, {clone | map::hole_bit, 0}, 0);
    REQUIRE(place.has_value());
    rig.world.disks().corrupt(server.paths[0], place->device_offset, 512);
  }
  rig.end_server(rig.servers[0], Death::process);
  rig.heal();
  bool discarded = false, read = false;
  rig.clients[1].volume->discard(3 * limits::block_bytes, limits::block_bytes,
                                 [&discarded](Status) { discarded = true; });
  Buffer data = Buffer::allocate(limits::block_bytes);
  rig.clients[1].volume->read(limits::block_bytes, data.mutable_bytes(), [&read](Status status) {
    CHECK_EQ(code_name(status.error().code()), code_name(Code::damaged));
    read = true;
  });
  rig.world.run_for(seconds(5));
  CHECK_FALSE(discarded);
  CHECK(read);
  CHECK_EQ(rig.look(0, 1), LayerRig::Who(rig.source, 11));
}

}  // namespace sp::sim
