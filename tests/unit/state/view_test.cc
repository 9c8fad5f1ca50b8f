// The database is a view for people: whatever lies in its place, and whatever becomes of its
// writes, the state is what the commands make of it, and the view is made anew or follows later.
#include "unit/state/world.h"

#include <sys/resource.h>

#include <csignal>
#include <filesystem>
#include <fstream>

#include <sqlite3.h>

#include "base/checksum.h"

namespace sp::state::test {

using namespace sp::map;

namespace {

// A folder of its own, gone at the end.
struct Folder {
  Folder() {
    path = (std::filesystem::temp_directory_path() / "state_view_XXXXXX").string();
    REQUIRE(mkdtemp(path.data()) != nullptr);
    file = path + "/state.db";
  }
  ~Folder() { std::filesystem::remove_all(path); }
  std::string path, file;
};

std::string content_of(const std::string& path) {
  std::ifstream in(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), {}};
}
void put(const std::string& path, const std::string& content) {
  std::ofstream(path, std::ios::binary) << content;
}
std::string noise(size_t size, uint64_t seed) {
  std::string text;
  while (text.size() < size) text += static_cast<char>(seed = mix64(seed));
  return text;
}

void fill(State& state, int volumes = 30) {
  uint64_t index = state.applied_index();
  for (const Command& command : founding()) state.apply(++index, command);
  for (int i = 0; i < volumes; ++i) state.apply(++index, create_volume("v" + std::to_string(i)));
}

// What a beacon does at its start, over what lies there; then people read what was agreed.
void made_anew(const std::string& path) {
  auto state = State::create_empty(path);
  INFO((state.ok() ? "" : state.error().message()));
  REQUIRE(state.ok());
  CHECK_EQ((*state)->applied_index(), 0);
  CHECK((*state)->map().volumes.empty());
  fill(**state);
  CHECK_FALSE((*state)->database_error().has_value());
  const uint64_t hash = (*state)->content_hash();
  (*state).reset();
  const auto shown = State::open(path);
  REQUIRE(shown.ok());
  CHECK_EQ((*shown)->content_hash(), hash);
}

// No file of this process grows beyond so much while this lives, as on a full file system.
struct FullDisk {
  explicit FullDisk(rlim_t bytes) {
    std::signal(SIGXFSZ, SIG_IGN);
    REQUIRE(getrlimit(RLIMIT_FSIZE, &before) == 0);
    const rlimit now{bytes, before.rlim_max};
    REQUIRE(setrlimit(RLIMIT_FSIZE, &now) == 0);
  }
  ~FullDisk() { setrlimit(RLIMIT_FSIZE, &before); }
  rlimit before{};
};

}  // namespace

TEST_CASE("a state without a database does all that one with a database does") {
  for (const bool empty : {true, false}) {
    auto state = empty ? State::create_empty("") : State::open("");
    REQUIRE(state.ok());
    auto shown = std::move(State::open(":memory:")).value();
    fill(**state);
    fill(*shown);
    CHECK_EQ((*state)->content_hash(), shown->content_hash());
    CHECK((*state)->snapshot() == shown->snapshot());
    CHECK_FALSE((*state)->database_error().has_value());
    auto other = std::move(State::open("")).value();
    REQUIRE(other->restore((*state)->snapshot()).ok());
    CHECK_EQ(other->content_hash(), shown->content_hash());
    CHECK_EQ(other->apply(other->applied_index() + 1, create_volume("v1")).status.error().code(),
             Code::exists);
  }
}

TEST_CASE("whatever lies in place of the database, a start makes it anew") {
  Folder folder, other;
  {
    auto later = std::move(State::open(other.file)).value();  // of another cluster, further on
    later->apply(7'000'000, InitCluster{0xbad, "other"});
    fill(*later, 60);
    put(folder.path + "/sound", content_of(other.file));
    put(folder.path + "/sound-wal", content_of(other.file + "-wal"));
  }
  const std::string sound = content_of(folder.path + "/sound");
  const std::string log = content_of(folder.path + "/sound-wal");
  REQUIRE(log.size() > 100'000);
  const std::string trash[] = {
      "", "x", noise(512, 1), noise(100'000, 2), sound, sound.substr(0, 4096) + noise(8192, 3)};
  for (const std::string& main : trash)
    for (const std::string& wal : {std::string(), noise(40'000, 4), log, log.substr(0, 30'001)})
      for (const char* third : {"-shm", "-journal"}) {
        put(folder.file, main);
        put(folder.file + "-wal", wal);
        put(folder.file + third, noise(33'000, 5));
        made_anew(folder.file);
      }
}

// The files as a crash may leave them: SQLite does not wait for anything to be durable.
TEST_CASE("a database torn at any of its writes is refused or whole, and made anew") {
  Folder source, folder;
  std::vector<uint64_t> hashes;
  auto state = std::move(State::open(source.file)).value();
  uint64_t index = 0;
  auto commands = founding();
  for (int i = 0; i < 10; ++i) commands.push_back(create_volume("v" + std::to_string(i)));
  for (const Command& command : commands) {
    state->apply(++index, command);
    hashes.push_back(state->content_hash());
  }
  const std::string main = content_of(source.file), wal = content_of(source.file + "-wal");
  int refused = 0, whole = 0;
  for (size_t cut = 0; cut <= wal.size(); cut += 512) {
    for (const bool garbage : {false, true}) {
      CAPTURE(cut);
      for (const char* suffix : {"-shm", "-journal"}) std::filesystem::remove(folder.file + suffix);
      put(folder.file, main);
      std::string torn = wal.substr(0, cut);
      if (garbage && cut < wal.size())
        torn += noise(512, cut) + wal.substr(std::min(cut + 512, wal.size()));
      put(folder.file + "-wal", torn);
      auto opened = State::open(folder.file);
      if (!opened.ok()) {
        CHECK(opened.error().code() == Code::damaged);
        ++refused;
        continue;
      }
      ++whole;
      const uint64_t found = (*opened)->applied_index();
      CHECK((found == 0 || (*opened)->content_hash() == hashes[found - 1]));
    }
    if (cut % 8192 == 0) made_anew(folder.file);
  }
  CHECK(whole > 100);
}

TEST_CASE(
    "a full file system leaves the state as it is, and the database behind until there is room") {
  Folder folder;
  auto state = std::move(State::open(folder.file)).value();
  auto without = std::move(State::open("")).value();
  fill(*state, 3);
  fill(*without, 3);
  uint64_t index = state->applied_index();
  const auto both = [&](const Command& command) {
    ++index;
    CHECK_EQ(state->apply(index, command).status.ok(), without->apply(index, command).status.ok());
    CHECK_EQ(state->content_hash(), without->content_hash());
  };
  {
    const FullDisk full(std::filesystem::file_size(folder.file + "-wal"));
    for (int i = 0; i < 20; ++i) both(create_volume("late" + std::to_string(i)));
    CHECK(state->database_error().has_value());
  }
  both(create_volume("room again"));
  CHECK_FALSE(state->database_error().has_value());
  // A snapshot that is taken over is as good without room.
  auto leader = std::move(State::open("")).value();
  fill(*leader, 100);
  {
    const FullDisk full(std::filesystem::file_size(folder.file + "-wal"));
    REQUIRE(state->restore(leader->snapshot()).ok());
    REQUIRE(without->restore(leader->snapshot()).ok());
    CHECK_EQ(state->content_hash(), leader->content_hash());
    CHECK(state->database_error().has_value());
    index = state->applied_index();
  }
  for (int i = 0; i < 100; ++i) both(create_volume("later" + std::to_string(i)));
  CHECK_FALSE(state->database_error().has_value());
  state.reset();
  const auto shown = State::open(folder.file);
  REQUIRE(shown.ok());
  CHECK_EQ((*shown)->content_hash(), without->content_hash());
}

TEST_CASE("who locks the database does not hold the state up") {
  Folder folder;
  auto state = std::move(State::open(folder.file)).value();
  fill(*state, 3);
  sqlite3* admin = nullptr;
  REQUIRE(sqlite3_open(folder.file.c_str(), &admin) == SQLITE_OK);
  REQUIRE(sqlite3_exec(admin, "BEGIN IMMEDIATE", nullptr, nullptr, nullptr) == SQLITE_OK);
  // Waits of a second for each of these would be longer than the test may take.
  for (int i = 0; i < 1000; ++i)
    CHECK(state->apply(state->applied_index() + 1, create_volume("w" + std::to_string(i)))
              .status.ok());
  CHECK(state->database_error().has_value());
  sqlite3_close(admin);
  CHECK(state->apply(state->applied_index() + 1, create_volume("after")).status.ok());
  CHECK_FALSE(state->database_error().has_value());
  const uint64_t hash = state->content_hash();
  state.reset();
  const auto shown = State::open(folder.file);
  REQUIRE(shown.ok());
  CHECK_EQ((*shown)->content_hash(), hash);
}

TEST_CASE("a database that cannot be made is an error that names it, and hurts nothing there") {
  Folder folder;
  std::filesystem::create_directory(folder.file);
  const auto state = State::create_empty(folder.file);
  REQUIRE_FALSE(state.ok());
  CHECK(state.error().message().find(folder.file) != std::string::npos);
  CHECK(std::filesystem::is_directory(folder.file));
  const FullDisk full(0);
  CHECK_FALSE(State::create_empty(folder.path + "/other.db").ok());
}

}  // namespace sp::state::test
