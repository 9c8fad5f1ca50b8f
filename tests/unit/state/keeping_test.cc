// The state as it is kept: equal commands are equal content everywhere, across snapshots and
// reopening; damage is noticed.
#include "unit/state/world.h"

#include <filesystem>
#include <fstream>

#include "base/checksum.h"

namespace sp::state::test {

using namespace sp::map;

namespace {

// A database file of its own, gone at the end.
struct File {
  File() {
    static int count = 0;
    path = (std::filesystem::temp_directory_path() /
            ("state_test_" + std::to_string(reinterpret_cast<uintptr_t>(&count)) + "_" +
             std::to_string(++count) + ".db"))
               .string();
    remove();
  }
  ~File() { remove(); }
  void remove() const {
    for (const char* suffix : {"", "-wal", "-shm"}) std::filesystem::remove(path + suffix);
  }
  std::string path;
};

struct Random {
  uint64_t state;
  uint64_t below(uint64_t bound) {
    state = mix64(state);
    return (state >> 8) % bound;
  }
};

// Any command, with arguments that are often, not always, acceptable now.
Command draw(const map::Map& now, Random& random) {
  const auto node = static_cast<NodeId>(1 + random.below(5));
  const auto pick = static_cast<DiskId>(node * 10 + random.below(2));
  const auto volume = static_cast<VolumeId>(1 + random.below(1 + now.cluster.volume_last));
  auto any_set = now.sets.begin();
  if (!now.sets.empty()) std::advance(any_set, random.below(now.sets.size()));
  const DiskSet set = now.sets.empty() ? DiskSet{} : any_set->second;
  const auto member = set.base.empty() ? DiskId{1} : set.base[random.below(set.base.size())];
  const std::string name = "v" + std::to_string(random.below(30));
  switch (random.below(24)) {
    case 0: return NodeDown{node};
    case 1:
    case 2: return NodeUp{node};
    case 3:
    case 4:
    case 5: {
      const DiskId first = node * 10, second = node * 10 + 1;
      return service_up(server(node), random.below(1u << 20),
                        {disk(first, server(node)), disk(second, server(node))});
    }
    case 6: return service_up({ServiceKind::mgmt, node, 1}, random.below(3));
    case 7:
      return ServiceDown{server(node), now.services.contains(server(node))
                                           ? now.services.at(server(node)).start_id
                                           : 0};
    case 8:
      return DiskFailed{pick, now.server_of(pick) ? now.server_of(pick)->start_id : 0, "worn"};
    case 9:
      return DiskReturned{disk(pick, server(node)),
                          now.server_of(pick) ? now.server_of(pick)->start_id : 0};
    case 10:
      return random.below(8) == 0 ? Command(ForgetDisk{pick}) : Command(DescribeDisk{pick, name});
    case 11:
    case 12:
    case 13: return SetActivated{set.id, set.epoch};
    case 14:
    case 15:
      return SetPromote{set.id, set.revision,
                        set.recovering.empty() ? pick : set.recovering.front()};
    case 16: return SetEvict{set.id, set.epoch, member};
    case 17: {
      UpdatePlacementGroup group{random.below(2) == 0 ? "ssd" : "hdd", {}, {}, {}};
      (random.below(2) == 0 ? group.add : group.remove).push_back(pick);
      return group;
    }
    case 18: {
      auto row = put_template(random.below(2) == 0 ? "t" : "u", random.below(2) == 0 ? 0 : 16);
      row.create = random.below(2) == 0;
      row.row.min_copies = static_cast<uint8_t>(1 + random.below(3));
      return row;
    }
    case 19: return create_volume(name);
    case 20:
      return random.below(2) == 0
                 ? Command(DeleteVolume{volume})
                 : Command(UpdateVolume{volume, name, {}, false, {}, {{"tag", name}}});
    case 21: return reassign(volume, {node}, {}, random.below(2) == 0);
    case 22:
      return random.below(2) == 0 ? Command(CreateBucket{"b"})
                                  : Command(SetBucket{"b", {}, {{name, "\"" + name + "\n"}}});
    default: {
      auto row = put_node(node);
      row.node.fault_set = random.below(2) == 0 ? "" : "f" + std::to_string(random.below(4));
      return row;
    }
  }
}

uint64_t summed(const map::Map& map) {
  uint64_t sum = 0;
  for (const Change& row : rows(map)) sum += row_hash(row);
  return sum;
}

}  // namespace

TEST_CASE(
    "thousands of random commands leave file, memory, a reopened and a restored instance, and a "
    "follower of changes, equal") {
  for (uint64_t seed = 1; seed <= 3; ++seed) {
    CAPTURE(seed);
    Random random{seed};
    File file;
    auto filed = std::move(State::open(file.path)).value();
    auto memory = std::move(State::open(":memory:")).value();
    Map follower;
    int accepted = 0;
    uint64_t index = 0;
    auto founders = founding();
    for (int n = 0; n < 1500; ++n) {
      const Command command = static_cast<size_t>(n) < founders.size()
                                  ? founders[static_cast<size_t>(n)]
                                  : draw(memory->map(), random);
      index += 1 + random.below(2);
      const Applied a = filed->apply(index, command);
      const Applied b = memory->apply(index, *decode(encode(command)));
      REQUIRE_EQ(a.status.ok(), b.status.ok());
      accepted += a.status.ok();
      REQUIRE_EQ(filed->content_hash(), memory->content_hash());
      for (const Change& change : a.changes) REQUIRE(apply(follower, change));
      for (const auto& [id, set] : memory->map().sets) REQUIRE_EQ(check_set(set), "");
      if (n % 50 == 0) {
        filed.reset();
        filed = std::move(State::open(file.path)).value();
        REQUIRE_EQ(filed->applied_index(), index);
        REQUIRE_EQ(filed->content_hash(), memory->content_hash());
      }
      if (n % 70 == 0) {
        auto restored = std::move(State::open(":memory:")).value();
        REQUIRE(restored->restore(memory->snapshot()).ok());
        REQUIRE_EQ(restored->content_hash(), memory->content_hash());
        memory = std::move(restored);
      }
    }
    CHECK(accepted > 500);
    CHECK_EQ(summed(memory->map()), memory->content_hash());
    follower.index = index;
    CHECK(encode(follower, true) == encode(memory->map(), true));
    CHECK(encode(filed->map(), true) == encode(memory->map(), true));
  }
}

TEST_CASE("a snapshot that is cut short or changed anywhere is refused and changes nothing") {
  World world;
  world.done(create_volume("v"));
  auto target = std::move(State::open(":memory:")).value();
  const auto snapshot = world.state().snapshot();
  for (size_t size = 0; size < snapshot.size(); size += 7)
    CHECK_EQ(target->restore(Bytes(snapshot).first(size)).error().code(), Code::damaged);
  for (size_t at = 0; at < snapshot.size(); at += 5) {
    auto changed = snapshot;
    changed[at] ^= std::byte{4};
    CHECK_EQ(target->restore(changed).error().code(), Code::damaged);
  }
  CHECK_EQ(target->applied_index(), 0);
  REQUIRE(target->restore(snapshot).ok());
  CHECK_EQ(target->content_hash(), world.state().content_hash());
  CHECK_EQ(target->apply(target->applied_index() + 1, create_volume("v")).status.error().code(),
           Code::exists);
}

TEST_CASE("a changed byte in the database is found at open, or changes nothing") {
  File file;
  uint64_t hash = 0, index = 0;
  {
    auto state = std::move(State::open(file.path)).value();
    for (const Command& command : founding()) state->apply(++index, command);
    state->apply(++index, create_volume("v"));
    hash = state->content_hash();
  }
  std::string bytes;
  {
    std::ifstream in(file.path, std::ios::binary);
    bytes.assign(std::istreambuf_iterator<char>(in), {});
  }
  REQUIRE(bytes.size() > 10'000);
  int found = 0;
  for (size_t at = 0; at < bytes.size(); at += 97) {
    std::string changed = bytes;
    changed[at] = static_cast<char>(changed[at] ^ 0x11);
    file.remove();
    std::ofstream(file.path, std::ios::binary) << changed;
    auto state = State::open(file.path);
    if (state.ok()) {
      CHECK_EQ(state.value()->content_hash(), hash);
      CHECK_EQ(summed(state.value()->map()), hash);
    } else {
      ++found;
      CAPTURE(state.error().message());
      CHECK_EQ(code_name(state.error().code()), code_name(Code::damaged));
    }
  }
  CHECK(found > 10);
  auto fresh = State::create_empty(file.path);
  REQUIRE(fresh.ok());
  CHECK_EQ(fresh.value()->applied_index(), 0);
}

TEST_CASE(
    "a file that is no database, and a path that cannot be opened, are errors that say what to "
    "do") {
  File file;
  std::ofstream(file.path) << std::string(5000, 'x');
  auto state = State::open(file.path);
  REQUIRE_FALSE(state.ok());
  CHECK_EQ(state.error().code(), Code::damaged);
  CHECK(state.error().message().find("rebuilt") != std::string::npos);
  CHECK_FALSE(State::open("/nonexistent/directory/state.db").ok());
}

}  // namespace sp::state::test
