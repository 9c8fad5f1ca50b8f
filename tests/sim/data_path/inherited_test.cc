// Undecided records that a new primary inherits, and that it cannot copy to the others.
#include "rig.h"

namespace sp::sim {
namespace {

// Writes that only the first disk has: it could not send them on, and then power failed everywhere.
struct PartialWrites : Rig {
  explicit PartialWrites(std::initializer_list<uint64_t> blocks) : Rig(quiet()) {
    REQUIRE(write(1, 11).ok());
    world.run_for(milliseconds(500));
    for (const size_t copy : {1, 2}) world.net().set_link(servers[0].ip, servers[copy].ip, false);
    for (const uint64_t block : blocks) {
      Buffer& data = content.emplace_back(Buffer::allocate(limits::block_bytes));
      encode_stamp(data.mutable_bytes(), {clients[0].volume_id, block}, 20 + block);
      clients[0].volume->write(block * limits::block_bytes, data.bytes(), [](const Status&) {});
      world.run_for(milliseconds(10));
    }
    REQUIRE_EQ(undecided(0), content.size());
    for (auto& process : servers) end_server(process, Death::power);
    end_client(clients[0], Death::silent);
    world.net().heal();
    world.run_for(seconds(6));
  }
  const std::string& path(size_t server) const { return servers[server].paths[0]; }
  size_t undecided(size_t server) {
    return servers[server].server->store(servers[server].disks[0])->undecided({group, 0}).size();
  }
  // Lets the first disk say what it holds, while the second one has not answered yet.
  void start_two_of_three() {
    start_server(servers[1]);
    REQUIRE(world.run_until([&] { return row().activated; }, seconds(5)));
    world.disks().stall(path(1), seconds(4));
    start_server(servers[0]);
    REQUIRE(world.run_until([&] { return row().acting.size() == 2; }, seconds(2)));
    REQUIRE_FALSE(row().activated);
    world.run_for(milliseconds(100));
    REQUIRE_EQ(undecided(0), content.size());
  }
  const map::DiskSet& row() const { return control.map().sets.begin()->second; }
  bool leads_two() const { return row().activated && row().acting.size() == 2; }
  std::vector<Buffer> content;
};

// The copy drops the record with its volume; the primary, which had been told of it, asked for its
// content for ever, and with no copy to spare the set stood still (sp-sim seed 40004042).
TEST_CASE("an undecided record whose volume is deleted does not keep its set from serving") {
  PartialWrites rig({1});
  rig.start_two_of_three();
  rig.control.detach(rig.clients[0].volume_id, rig.clients[0].id);
  rig.control.remove_volume(rig.clients[0].volume_id);
  REQUIRE(rig.world.run_until([&] { return rig.undecided(0) == 0; }, seconds(3)));
  CHECK(rig.world.run_until([&] { return rig.leads_two(); }, seconds(5)));
  rig.heal();
  rig.world.run_for(seconds(2));
  rig.same_copies();
}

TEST_CASE("an undecided record that its only copy cannot show goes with that copy") {
  PartialWrites rig({1, 2, 3});
  // Not the newest: that would be taken for torn when the disk is opened.
  Buffer page = Buffer::allocate(limits::block_bytes);
  size_t found = 0;
  for (uint64_t at = 0; at < rig.options.disk_bytes; at += limits::block_bytes) {
    rig.world.disks().peek(rig.path(0), at, page.mutable_bytes());
    if (!std::equal(page.bytes().begin(), page.bytes().end(), rig.content[0].bytes().begin()))
      continue;
    rig.world.disks().make_unreadable(rig.path(0), at, 512);
    ++found;
  }
  REQUIRE_EQ(found, 1);
  rig.start_two_of_three();
  REQUIRE(rig.world.run_until([&] { return rig.leads_two(); }, seconds(15)));
  rig.heal();
  rig.same_copies();
  rig.start_client(rig.clients[0]);
  REQUIRE(rig.world.run_until([&] { return rig.clients[0].volume->size_bytes() > 0; }, seconds(5)));
  CHECK_EQ(*rig.read(1), 11);
}

}  // namespace
}  // namespace sp::sim
