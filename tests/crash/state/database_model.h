// What a state's database may hold, and the verbs that change it, for tests that crash it at every
// I/O. A state is told by a checksum over its index and all its rows.
#pragma once
#include <doctest/doctest.h>

#include <memory>
#include <set>
#include <string>
#include <vector>

#include "crash/fake_machine.h"
#include "crash/state/sqlite_vfs.h"
#include "state/state.h"

namespace sp::test {

enum class DatabaseVerb {
  change_row,     // one row
  create,         // rows of several tables
  fail_node,      // many rows; and back
  remove,         // rows go
  swell,          // rows of many pages; and back
  refused,        // nothing but the index
  batch,          // two commands in one transaction, because the first could not be written
  take_snapshot,  // a newer state replaces everything
  reopen,
  start,  // as a beacon does: made anew, from a snapshot
  count
};
constexpr const char* database_verb_names[] = {
    "change_row", "create", "fail_node",     "remove", "swell",
    "refused",    "batch",  "take_snapshot", "reopen", "start"};
static_assert(std::size(database_verb_names) == static_cast<size_t>(DatabaseVerb::count));

struct DatabaseWorld {
  std::vector<std::byte> snapshot;  // of the newest state
  std::set<uint64_t> reached;       // by any state that was given to the database
  uint64_t shown = 0;               // what it said last that it holds
  std::set<uint64_t> under_way;     // what it may hold instead when a process dies
  uint64_t next = 1;                // number of the next step: what its commands are made of
};

uint64_t print_of(const state::State& state);
uint64_t empty_print();
// A state without a database, as this one is.
std::unique_ptr<state::State> copy_of(const state::State& state);

// One process with the database on a disk of its own.
class DatabaseRig {
 public:
  explicit DatabaseRig(PagedMedium& medium)
      : disk_(reactor_, medium), vfs_(disk_, [this](const std::function<bool()>& done) {
          return reactor_.run_until(done);
        }) {}
  // Nothing waits for the database to be durable: it must not hold a beacon up.
  ~DatabaseRig() { CHECK_EQ(vfs_.syncs(), syncs_of_recovery_); }

  Status open() { return take(state::State::open(path)); }
  // What a process left that died while it made the database is first taken back, with flushes. A
  // beacon only comes to that before it takes part in anything.
  Status recover() {
    const Status opened = open();
    syncs_of_recovery_ = vfs_.syncs();
    return opened;
  }
  uint64_t file_bytes() const { return vfs_.size_bytes(path); }
  uint64_t log_bytes() const { return vfs_.size_bytes(std::string(path) + "-wal"); }
  Status create_empty() { return take(state::State::create_empty(path)); }

 private:
  static constexpr const char* path = "state.db";
  Status take(Result<std::unique_ptr<state::State>> opened) {
    if (!opened.ok()) return opened.error();
    state = std::move(opened).value();
    return {};
  }
  FakeReactor reactor_;
  PagedDisk disk_;
  SqliteVfs vfs_;
  uint64_t syncs_of_recovery_ = 0;

 public:
  std::unique_ptr<state::State> state;  // goes first
};

// Runs one verb; false when the device stopped in it.
class DatabaseRunner {
 public:
  DatabaseRunner(DatabaseRig& rig, PagedMedium& medium, DatabaseWorld& world)
      : rig_(rig), medium_(medium), world_(world) {}
  bool run(DatabaseVerb verb);
  // Takes the rig's state for what its database holds, or is to hold.
  void note();

 private:
  bool cut_off() const;
  bool opened(const Status& status);  // false when the device stopped; a failure otherwise
  bool apply(const map::Command& command, bool accepted = true);
  bool batch(uint64_t n);
  bool take_snapshot(uint64_t n);
  bool reopen();
  bool start();

  DatabaseRig& rig_;
  PagedMedium& medium_;
  DatabaseWorld& world_;
};

// What any verb may do to a state, on one that may be of any index.
std::vector<map::Command> some_of_everything(uint64_t n);

}  // namespace sp::test
