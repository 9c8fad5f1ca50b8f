// State: the agreed state of the cluster: a map::Map in memory, kept in SQLite so that an admin can
// read it with sqlite3(1).
//
// Commands are applied in log order by `apply`; the transaction that changes the tables also sets
// applied_index and the content hash. Equal index means equal content on every node: `content_hash`
// is the wrapping sum of row hashes, kept up per change and checked against the tables at open. The
// database is not fsynced, so after a loss of power it may be any mixture: a beacon never believes
// it, and makes it anew at each start from the Raft snapshot and log. A database that cannot be
// written changes nothing about the state; it gets what it missed once it can be written again.
// Thread rule: one thread.
// SQLite is used in state/*.cc only.
#pragma once
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/result.h"
#include "map/command.h"
#include "map/map.h"

namespace sp::state {

struct Applied {
  Status status;                     // what the proposer is told
  std::vector<map::Change> changes;  // rows as they are now, in the order of table and key
};

class State {
 public:
  // path: the database file, ":memory:", or empty: no database, only the map in memory.
  // Code::damaged: rebuild it (`restore` on a fresh one).
  static Result<std::unique_ptr<State>> open(const std::string& path);
  // Removes a database that did not open cleanly and starts an empty one.
  static Result<std::unique_ptr<State>> create_empty(const std::string& path);
  virtual ~State() = default;

  // index must be applied_index() + 1, or more (no-ops and configuration entries of the log are not
  // given here).
  virtual Applied apply(uint64_t index, const map::Command& command) = 0;
  virtual uint64_t applied_index() const = 0;
  virtual uint64_t content_hash() const = 0;
  virtual const map::Map& map() const = 0;
  // Why the database is behind the state; none when it is not, or there is none.
  virtual const std::optional<Error>& database_error() const = 0;

  // The whole state as bytes, for a Raft snapshot; and back (replaces everything, also of a
  // database that cannot be written now). Code::damaged when malformed.
  virtual std::vector<std::byte> snapshot() const = 0;
  virtual Status restore(Bytes snapshot) = 0;
};

}  // namespace sp::state
