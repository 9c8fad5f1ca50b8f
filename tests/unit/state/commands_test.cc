// Every command: what it does, and each reason to refuse it.
#include "unit/state/world.h"

#include <algorithm>

namespace sp::state::test {

using namespace sp::map;

TEST_CASE("nothing is applied before the cluster is initialised, and it is initialised once") {
  auto state = std::move(State::open(":memory:")).value();
  CHECK_EQ(state->apply(1, NodeUp{1}).status.error().code(), Code::refused);
  CHECK_EQ(state->apply(2, InitCluster{0, "c"}).status.error().code(), Code::invalid);
  CHECK_EQ(state->apply(3, InitCluster{1, "a b"}).status.error().code(), Code::invalid);
  CHECK(state->apply(5, InitCluster{1, "c"}).status.ok());
  CHECK_EQ(state->apply(6, InitCluster{1, "c"}).status.error().code(), Code::exists);
  CHECK_EQ(state->applied_index(), 6);
}

TEST_CASE(
    "nodes have ids from 1 to 63, unique names, and keep being up when they are described anew") {
  World world;
  world.refused(put_node(0), Code::invalid, "1 to 63");
  world.refused(put_node(64), Code::invalid, "1 to 63");
  auto command = put_node(5);
  command.node.name = "n1";
  world.refused(command, Code::exists, "n1");
  command.node.name = "bad name";
  world.refused(command, Code::invalid, "letters");
  world.refused(NodeUp{9}, Code::not_found, "sp.toml");
  world.refused(NodeDown{9}, Code::not_found, "sp.toml");
  command = put_node(1);
  command.node.address = "10.0.0.1:1";
  world.done(command);
  CHECK(world.map().nodes.at(1).up);
}

TEST_CASE("a fault set that nodes join moves copies apart") {
  World world(6);
  for (NodeId node = 1; node <= 6; ++node) {
    auto command = put_node(node);
    command.node.fault_set = node <= 2 ? "a" : node <= 4 ? "b" : "c";
    world.done(command);
  }
  for (const auto& [id, set] : world.map().sets) {
    std::set<int> fault_sets;
    for (const DiskId disk : set.target) fault_sets.insert((disk / 10 - 1) / 2);
    CHECK_EQ(fault_sets.size(), 3);
  }
}

TEST_CASE("a node that goes down takes its services, disks and copies with it") {
  World world;
  world.done(NodeDown{1});
  CHECK_FALSE(world.map().services.at(server(1)).up);
  CHECK_FALSE(world.map().disks.at(10).up);
  for (const auto& [id, set] : world.map().sets)
    for (const DiskId disk : set.acting) CHECK(disk / 10 != 1);
  world.refused(service_up(server(1), 5), Code::transient, "node is down");
}

TEST_CASE(
    "a server that starts again brings its disks back in a new epoch, also when nobody saw it "
    "stop") {
  World world;
  const auto with_disk = [&world](DiskId disk) {
    for (const auto& [id, set] : world.map().sets)
      if (std::find(set.acting.begin(), set.acting.end(), disk) != set.acting.end()) return set;
    FAIL("no set has the disk");
    return DiskSet{};
  };
  const DiskSet before = with_disk(10);
  world.done(service_up(server(1), 1, {disk(10, server(1)), disk(11, server(1))}));
  CHECK_EQ(world.map().sets.at(before.id).epoch, before.epoch);  // the same start: told twice
  world.done(service_up(server(1), 99, {disk(10, server(1))}));
  CHECK(world.map().sets.at(before.id).epoch >= before.epoch + 2);
  CHECK(world.map().sets.at(before.id).acting == before.acting);
  CHECK_FALSE(world.map().disks.at(11).up);
  CHECK(world.map().disks.at(10).up);
}

bool lists(const std::vector<DiskId>& disks, DiskId disk) {
  return std::find(disks.begin(), disks.end(), disk) != disks.end();
}

TEST_CASE("a wiped disk under its old id is empty: no set counts it as complete any more") {
  World world;
  auto wiped = disk(11, server(1));
  wiped.uuid = 5;
  std::vector<SetId> with;
  for (const auto& [id, set] : world.map().sets)
    if (lists(set.base, 11)) with.push_back(id);
  REQUIRE_FALSE(with.empty());
  world.done(service_up(server(1), 99, {disk(10, server(1)), wiped}));
  CHECK(world.map().disks.at(10).up);
  CHECK(world.map().disks.at(11).up);
  CHECK_EQ(world.map().disks.at(11).uuid, 5);
  for (const SetId id : with) {
    const DiskSet& set = world.map().sets.at(id);
    CHECK_FALSE(lists(set.base, 11));
    CHECK_FALSE(lists(set.acting, 11));
    CHECK(lists(set.target, 11));
    CHECK(lists(set.recovering, 11));
  }
}

TEST_CASE("a disk that is swapped while its server runs is empty") {
  World world;
  auto wiped = disk(11, server(1));
  wiped.uuid = 5;
  world.done(DiskReturned{wiped, 1});
  for (const auto& [id, set] : world.map().sets) CHECK_FALSE(lists(set.base, 11));
  world.done(service_up(server(1), 1, {disk(10, server(1)), disk(11, server(1))}));
  CHECK_EQ(world.map().disks.at(11).uuid, disk(11).uuid);
  for (const auto& [id, set] : world.map().sets) CHECK_FALSE(lists(set.base, 11));
}

TEST_CASE("a wiped disk that held the only complete copy of a set is not taken for it") {
  World world;
  std::set<DiskId> others;
  const SetId id = [&] {
    for (const auto& [set_id, set] : world.map().sets)
      if (lists(set.target, 11)) return set_id;
    return SetId{};
  }();
  // Two more copies go for good; the set keeps one.
  for (const DiskId other : DiskSet(world.map().sets.at(id)).target) {
    if (other == 11) continue;
    const NodeId node = world.map().disks.at(other).server.node;
    world.done(NodeDown{node});
    world.done(NodeUp{node});
    world.done(ForgetDisk{other});
  }
  REQUIRE_EQ(world.map().sets.at(id).base, std::vector<DiskId>{11});
  auto wiped = disk(11, server(1));
  wiped.uuid = 5;
  world.refused(DiskReturned{wiped, 1}, Code::refused, "only complete copy of disk set");
  world.done(service_up(server(1), 99, {disk(10, server(1)), wiped}));
  CHECK_FALSE(world.map().disks.at(11).up);
  CHECK_EQ(world.map().disks.at(11).uuid, disk(11).uuid);
  CHECK(world.map().disks.at(11).failure.find("lost: it held the only") != std::string::npos);
  CHECK_EQ(world.map().sets.at(id).base, std::vector<DiskId>{11});
  CHECK_FALSE(world.map().sets.at(id).activated);
  const Applied served = world.apply(SetActivated{id, world.map().sets.at(id).epoch});
  CHECK_FALSE(served.status.ok());
  // The right one after all.
  world.done(service_up(server(1), 100, {disk(10, server(1)), disk(11, server(1))}));
  CHECK(world.map().disks.at(11).up);
  CHECK_EQ(world.map().sets.at(id).acting, std::vector<DiskId>{11});
}

TEST_CASE("a disk whose id was given twice does not push out the one that is in use") {
  World world;
  auto second = disk(11, server(2));
  second.uuid = 5;
  const DiskSet before = world.set();
  world.done(service_up(server(2), 99, {disk(20, server(2)), disk(21, server(2)), second}));
  CHECK(world.map().disks.at(11).up);
  CHECK(world.map().disks.at(11).server == server(1));
  CHECK_EQ(world.map().disks.at(11).uuid, disk(11).uuid);
  world.done(service_up(server(2), 99, {disk(20, server(2)), disk(21, server(2)), second}));
  CHECK(world.map().disks.at(11).server == server(1));
  world.refused(DiskReturned{second, 99}, Code::refused, "in use by server 1.1");
}

TEST_CASE("services are refused when malformed or of unknown nodes") {
  World world;
  world.refused(service_up(server(9), 1), Code::not_found, "node 9");
  world.refused(service_up({ServiceKind::server, 1, 13}, 1), Code::invalid, "1 to 12");
  world.refused(service_up({ServiceKind::mgmt, 1, 2}, 1), Code::invalid, "1 to 1");
  world.refused(service_up({ServiceKind::client, 1, 1}, 1, {disk(50)}), Code::invalid, "no server");
  world.refused(service_up(server(1), 9, {disk(10), disk(10)}), Code::invalid, "twice");
  world.refused(service_up(server(1), 9, {disk(0)}), Code::invalid, "1 to 4095");
  world.refused(ServiceDown{{ServiceKind::mgmt, 1, 1}, 1}, Code::not_found, "mgmt 1.1");
}

TEST_CASE("the active management service is the one that stays, then the lowest that is up") {
  World world;
  const auto mgmt = [](NodeId node) { return ServiceId{ServiceKind::mgmt, node, 1}; };
  world.done(service_up(mgmt(3), 31));
  CHECK(world.map().cluster.active_mgmt == mgmt(3));
  world.done(service_up(mgmt(2), 21));
  world.done(service_up(mgmt(1), 11));
  CHECK(world.map().cluster.active_mgmt == mgmt(3));
  world.done(ServiceDown{mgmt(3), 30});
  CHECK(world.map().cluster.active_mgmt == mgmt(3));  // an older start
  world.done(ServiceDown{mgmt(3), 31});
  CHECK(world.map().cluster.active_mgmt == mgmt(1));
  world.done(NodeDown{1});
  world.done(ServiceDown{mgmt(2), 21});
  CHECK_FALSE(world.map().cluster.active_mgmt.has_value());
}

TEST_CASE("disks fail, return, are described and forgotten") {
  World world;
  world.refused(DiskFailed{99, 1, "x"}, Code::not_found, "disk 99");
  world.refused(DiskFailed{10, 5, "x"}, Code::stale, "earlier start");
  world.refused(ForgetDisk{10}, Code::refused, "is up");
  world.refused(ForgetDisk{99}, Code::not_found, "disk 99");
  world.refused(DescribeDisk{99, "x"}, Code::not_found, "disk 99");
  world.refused(DescribeDisk{10, "tab\t"}, Code::invalid, "30 letters");
  world.done(DescribeDisk{10, "slot 4"});
  world.done(DiskFailed{10, 1, "write error"});
  CHECK_EQ(world.map().disks.at(10).failure, "write error");
  world.refused(DiskReturned{disk(10, server(1)), 4}, Code::stale, "earlier start");
  world.refused(DiskReturned{disk(11, server(2)), 2}, Code::refused, "in use by server 1.1");
  world.done(DiskReturned{disk(10, server(1)), 1});
  CHECK(world.map().disks.at(10).up);
  CHECK_EQ(world.map().disks.at(10).failure, "");
  CHECK_EQ(world.map().disks.at(10).description, "slot 4");
  world.done(DiskFailed{10, 1, ""});
  world.done(ForgetDisk{10});
  CHECK_FALSE(world.map().disks.contains(10));
  CHECK_FALSE(world.map().placement_groups.at("ssd").disks.contains(10));
  for (const auto& [id, set] : world.map().sets)
    for (const auto* list : {&set.acting, &set.base, &set.recovering, &set.target})
      CHECK(std::find(list->begin(), list->end(), 10) == list->end());
}

TEST_CASE("the only complete copy of a set is not forgotten") {
  World world;
  const DiskSet set = world.set();
  for (size_t i = 1; i < set.acting.size(); ++i)
    world.done(DiskFailed{set.acting[i], world.map().server_of(set.acting[i])->start_id, "x"});
  auto command = put_template("t", 0);
  command.create = false;
  command.row.min_copies = 1;
  world.done(command);
  world.done(SetActivated{set.id, world.set().epoch});
  world.done(DiskFailed{set.acting[0], world.map().server_of(set.acting[0])->start_id, "x"});
  world.refused(ForgetDisk{set.acting[0]}, Code::refused, "only complete copy");
}

TEST_CASE("primaries report activations, promotions and complaints") {
  World world;
  const SetId id{1, 0};
  world.refused(SetActivated{{9, 0}, 1}, Code::not_found, "disk set 9.0");
  world.refused(SetActivated{id, 7}, Code::stale, "epoch 1");
  world.done(SetActivated{id, 1});
  CHECK(world.set().activated);
  world.done(SetActivated{id, 1});
  const DiskId copy = world.set().acting[2];
  world.refused(SetEvict{id, 9, copy}, Code::stale, "epoch 1");
  world.refused(SetEvict{id, 1, 4000}, Code::refused, "does not act");
  world.done(SetEvict{id, 1, copy});
  CHECK(world.set().recovering == std::vector<DiskId>{copy});
  world.refused(SetEvict{id, 2, world.set().acting[1]}, Code::refused, "too few");
  world.refused(SetPromote{id, world.set().revision, copy}, Code::refused,
                "not recovering in an activated");
  world.done(SetActivated{id, 2});
  CHECK_EQ(world.set().base.size(), 2);
  world.refused(SetPromote{id, world.set().revision - 1, copy}, Code::stale, "revision");
  world.done(SetPromote{id, world.set().revision, copy});
  CHECK_EQ(world.set().acting.size(), 3);
  CHECK_FALSE(world.set().activated);
}

TEST_CASE("an activation by a disk that is registered as down waits for its registration") {
  World world;
  for (NodeId node = 1; node <= 4; ++node) world.done(NodeDown{node});
  world.refused(SetActivated{{1, 0}, world.set().epoch}, Code::transient, "registers first");
}

TEST_CASE("placement groups are made, changed, renamed and deleted") {
  World world;
  UpdatePlacementGroup command{"hdd", {}, {10}, {}};
  world.done(command);
  world.refused(UpdatePlacementGroup{"list", {}, {}, {}}, Code::invalid, "reserved");
  world.refused(UpdatePlacementGroup{"a.b", {}, {}, {}}, Code::invalid, "letters");
  world.refused(UpdatePlacementGroup{"hdd", {}, {999}, {}}, Code::not_found, "disk 999");
  world.refused(UpdatePlacementGroup{"hdd", {}, {}, {11}}, Code::not_found, "disk 11");
  world.refused(UpdatePlacementGroup{"hdd", "ssd", {}, {}}, Code::exists, "ssd");
  world.refused(UpdatePlacementGroup{"ssd", {}, {}, {10, 11, 20, 21, 30, 31, 40}}, Code::refused,
                "needs at least 2");
  world.refused(DeletePlacementGroup{"ssd"}, Code::refused, "template 't'");
  world.refused(DeletePlacementGroup{"none"}, Code::not_found, "none");
  world.done(UpdatePlacementGroup{"ssd", "fast", {}, {}});
  CHECK_EQ(world.map().templates.at("t").place_all, "fast");
  world.done(UpdatePlacementGroup{"fast", {}, {}, {10}});
  for (const auto& [id, set] : world.map().sets)
    CHECK(std::find(set.target.begin(), set.target.end(), 10) == set.target.end());
  world.done(DeletePlacementGroup{"hdd"});
}

TEST_CASE("a template that was changed since it was read is not put back to what it was") {
  World world;
  const Template read = world.map().templates.at("t");
  ChangeTemplate first{read, read};
  world.refused(first, Code::refused, "feature level 2");
  world.done(RaiseFeatureLevel{2});
  first.row.size_bytes = 1u << 20;
  ChangeTemplate second{read, read};
  second.row.limits.iops = 5;
  world.done(first);
  world.refused(second, Code::stale, "changed meanwhile");
  CHECK_EQ(world.map().templates.at("t").size_bytes, 1u << 20);
  second.read = world.map().templates.at("t");
  second.row = second.read;
  second.row.limits.iops = 5;
  world.done(second);
  CHECK_EQ(world.map().templates.at("t").limits.iops, 5);
  CHECK_EQ(world.map().templates.at("t").size_bytes, 1u << 20);
}

TEST_CASE("templates carry their allocation group, whose number of sets never changes") {
  World world;
  world.refused(put_template("t"), Code::exists, "'t'");
  world.refused(put_template("u", 3), Code::invalid, "power of two");
  world.refused(put_template("u", 65536), Code::invalid, "power of two");
  world.refused(put_template("list"), Code::invalid, "reserved");
  auto command = put_template("u", 0);
  command.row.copies = 4;
  world.refused(command, Code::invalid, "1 to 3");
  command.row.copies = 2, command.row.min_copies = 3;
  world.refused(command, Code::invalid, "least number");
  command.row.min_copies = 2, command.row.place_all = "none";
  world.refused(command, Code::not_found, "none");
  command.row.place_all = "";
  world.refused(command, Code::invalid, "placeAll");
  world.done(UpdatePlacementGroup{"empty", {}, {}, {}});
  command.row.place_all = "empty";
  world.refused(command, Code::refused, "no disks");
  command.row.place_all = "ssd", command.row.size_bytes = 512;
  world.refused(command, Code::invalid, "multiple of 4096");
  command.row.size_bytes = 8192;
  world.done(command);
  CHECK_EQ(world.map().groups.at(2).set_count, 256);  // 8 disks of 32 sets
  command.create = false, command.set_count = 64;
  world.refused(command, Code::refused, "never changes");
  command.set_count = 0, command.name_before = "v";
  world.refused(command, Code::not_found, "'v'");
  command.name_before = "t";
  world.refused(command, Code::exists, "'u'");
  world.done(create_volume("x", "u"));
  command.name_before = "u", command.row.name = "w";
  world.done(command);
  CHECK_EQ(world.map().volumes.at(1).template_name, "w");
  CHECK_EQ(world.map().groups.at(2).template_name, "w");
  world.refused(DeleteTemplate{"w"}, Code::refused, "volume 'x'");
  world.done(DeleteVolume{1});
  world.done(DeleteTemplate{"w"});
  world.refused(DeleteTemplate{"w"}, Code::not_found, "'w'");
  CHECK_FALSE(world.map().groups.contains(2));
  CHECK_EQ(world.map().sets.size(), 16);
}

TEST_CASE("a lower least number of copies starts a new epoch where it lets writes go on") {
  World world;
  const DiskSet set = world.set();
  for (size_t i = 1; i < set.acting.size(); ++i)
    world.done(DiskFailed{set.acting[i], world.map().server_of(set.acting[i])->start_id, "x"});
  world.done(SetActivated{set.id, world.set().epoch});
  CHECK_FALSE(may_decide(world.set(), 1));
  auto command = put_template("t", 0);
  command.create = false, command.row.min_copies = 1;
  world.done(command);
  CHECK_FALSE(world.set().activated);
  world.done(SetActivated{set.id, world.set().epoch});
  CHECK(may_decide(world.set(), 1));
}

TEST_CASE("too few nodes leave a warning at the allocation group, which goes with its cause") {
  World world(2);
  CHECK(world.map().groups.at(1).warning.find("too few nodes") != std::string::npos);
  world.done(put_node(3));
  world.done(NodeUp{3});
  world.done(service_up(server(3), 3, {disk(30, server(3)), disk(31, server(3))}));
  world.done(UpdatePlacementGroup{"ssd", {}, {30, 31}, {}});
  CHECK_EQ(world.map().groups.at(1).warning, "");
}

TEST_CASE("volumes are made, changed and deleted") {
  World world;
  world.done(create_volume("#a.b:c"));
  CHECK_EQ(world.map().volumes.at(1).root, 1);
  world.refused(create_volume("#a.b:c"), Code::exists, "exists already");
  for (const char* name : {"", "a b", "list", "status", "a#b", "#"})
    world.refused(create_volume(name), Code::invalid, "name");
  world.refused(create_volume(std::string(200, 'x')), Code::invalid, "too long");
  world.refused(create_volume("x", "none"), Code::not_found, "'none'");
  auto command = create_volume("x");
  command.size_bytes = 512;
  world.refused(command, Code::invalid, "multiple of 4096");
  command.size_bytes = 0;
  world.refused(command, Code::invalid, "give a size");
  command.size_bytes = limits::volume_bytes_max + 4096;
  world.refused(command, Code::invalid, "1 PiB");
  command.size_bytes = 4096, command.tags = {{"a b", "c"}};
  world.refused(command, Code::invalid, "tag");
  command.tags = {{"a", "1"}, {"b", "2"}};
  world.done(command);
  UpdateVolume update;
  update.volume = 9;
  world.refused(update, Code::not_found, "~9");
  update.volume = 2, update.rename = "#a.b:c";
  world.refused(update, Code::exists, "#a.b:c");
  update.rename = "y", update.size_bytes = 8192, update.limits = Limits{5, 6},
  update.tags = {{"a", ""}, {"c", "3"}};
  world.done(update);
  CHECK(world.map().volumes.at(2).tags ==
        std::map<std::string, std::string>{{"b", "2"}, {"c", "3"}});
  CHECK_EQ(world.map().find_volume("y")->size_bytes, 8192);
  CHECK_EQ(world.map().find_volume("~2")->limits.iops, 5);
  update = {};
  update.volume = 2, update.size_bytes = 4096;
  world.refused(update, Code::refused, "shrink");
  update.shrink_ok = true;
  world.done(update);
  world.done(create_volume("x"));  // its name is free again
  world.done(reassign(2, {1}));
  world.refused(DeleteVolume{2}, Code::refused, "client 1");
  world.done(DeleteVolume{1});
  world.refused(DeleteVolume{1}, Code::not_found, "~1");
  world.done(create_volume("#a.b:c"));
  CHECK(world.map().volumes.contains(4));  // ids are not used again
}

TEST_CASE("one client writes at a time, unless several are asked for at once or one is forced") {
  World world;
  world.done(create_volume("v"));
  world.refused(reassign(9, {1}), Code::not_found, "~9");
  world.refused(reassign(1, {60}), Code::not_found, "client 60");
  world.refused(reassign(1, {1}, {1}), Code::invalid, "named twice");
  world.done(reassign(1, {1}));
  const uint32_t first = world.map().attachment(1, 1)->generation;
  world.done(reassign(1, {1}));
  CHECK_EQ(world.map().attachment(1, 1)->generation, first);
  world.refused(AttachmentReady{1, 1, first + 1, "d"}, Code::stale, "replaced");
  world.refused(AttachmentReady{1, 2, first, "d"}, Code::not_found, "not attached");
  world.done(AttachmentReady{1, 1, first, "/dev/storpool/v"});
  world.refused(reassign(1, {2}), Code::refused, "client 1");
  world.done(reassign(1, {2}, {1}));
  CHECK(world.map().attachment(1, 1)->state == AttachmentState::detaching);
  world.refused(AttachmentReady{1, 1, first, "d"}, Code::stale, "being detached");
  world.refused(reassign(1, {3}, {2}), Code::transient, "still being detached");
  world.done(AttachmentGone{1, 1, first});
  Reassign readers;
  readers.volumes.push_back({1, {}, {4}, {}, false});
  world.done(readers);
  const uint32_t reader = world.map().attachment(1, 4)->generation;
  world.done(reassign(1, {3}, {}, true));
  CHECK(world.map().attachment(1, 2) == nullptr);
  CHECK(world.map().attachment(1, 4)->generation > reader);
  CHECK(world.map().attachment(1, 3)->generation > reader);
  world.refused(AttachmentGone{1, 4, reader}, Code::stale, "replaced");
  world.done(reassign(1, {}, {3}, true));
  CHECK(world.map().attachment(1, 3) == nullptr);
  world.done(reassign(1, {1, 2}));
  CHECK(world.map().attachment(1, 1)->generation != world.map().attachment(1, 2)->generation);
  Reassign all;
  all.volumes.push_back({1, {}, {}, {}, true});
  world.done(all);
  for (const auto& [key, row] : world.map().attachments)
    CHECK(row.state == AttachmentState::detaching);
}

TEST_CASE(
    "a reassignment of several volumes is all or none, and positions on a client are the lowest "
    "free ones") {
  World world;
  for (const char* name : {"a", "b", "c"}) world.done(create_volume(name));
  Reassign command = reassign(1, {1});
  command.volumes.push_back(reassign(99, {1}).volumes[0]);
  world.refused(command, Code::not_found, "~99");
  for (VolumeId id = 1; id <= 3; ++id) world.done(reassign(id, {1}));
  CHECK_EQ(world.map().attachment(3, 1)->position, 2);
  world.done(reassign(2, {}, {1}, true));
  world.done(create_volume("d"));
  world.done(reassign(4, {1}));
  CHECK_EQ(world.map().attachment(4, 1)->position, 1);
}

TEST_CASE("a client has at most 1024 volumes") {
  World world;
  Reassign command;
  for (VolumeId id = 1; id <= 1025; ++id) {
    world.state().apply(world.state().applied_index() + 1, create_volume("v" + std::to_string(id)));
    command.volumes.push_back(reassign(id, {1}).volumes[0]);
  }
  world.refused(command, Code::no_space, "1024");
  command.volumes.pop_back();
  world.done(command);
}

TEST_CASE("buckets count versions and compare them") {
  World world;
  world.done(CreateBucket{"b"});
  world.refused(CreateBucket{"b"}, Code::exists, "'b'");
  world.refused(CreateBucket{"b b"}, Code::invalid, "letters");
  world.refused(SetBucket{"none", {}, {}}, Code::not_found, "create it first");
  world.done(SetBucket{"b", 0, {{"k", "v\n\"\\\x01"}, {"l", "w"}}});
  world.refused(SetBucket{"b", 0, {{"k", "w"}}}, Code::stale, "version 1");
  world.refused(SetBucket{"b", {}, {{"", "w"}}}, Code::invalid, "keys");
  world.refused(SetBucket{"b", {}, {{std::string(1024, 'x'), "w"}}}, Code::invalid, "keys");
  world.refused(SetBucket{"b", {}, {{"k", std::string((1u << 20) + 1, 'x')}}}, Code::invalid,
                "1 MiB");
  world.done(SetBucket{"b", 1, {{"l", ""}}});
  CHECK_EQ(world.map().buckets.at("b").pairs.size(), 1);
  CHECK_EQ(world.map().buckets.at("b").version, 2);
  world.done(DeleteBucket{"b"});
  world.refused(DeleteBucket{"b"}, Code::not_found, "'b'");
}

}  // namespace sp::state::test
