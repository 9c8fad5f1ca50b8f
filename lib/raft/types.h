// The plain values of agreement: members, entries, what must be durable. No behaviour beyond
// lookups and encoding.
//
// A member is a node *with its log*: {node, log id}. The log id is drawn at random when a log is
// created. A node whose log was lost comes back with another id, is no longer the voter that the
// configuration names, and has to be removed and added again as a learner; so nothing that the lost
// log promised (votes, acknowledged entries) is ever attributed to the new one.
#pragma once
#include <compare>
#include <cstdint>
#include <memory>
#include <vector>

#include "base/bytes.h"
#include "base/ids.h"
#include "base/result.h"

namespace sp::raft {

using Index = uint64_t;  // of an entry; the first one is 1
using Term = uint64_t;   // 0 only before the first election

struct Member {
  NodeId node = 0;
  uint64_t log_id = 0;  // never 0
  bool voter = false;   // otherwise a learner
  auto operator<=>(const Member&) const = default;
};

// At most limits::nodes_max members, sorted by node, each node once. Empty: a node that nobody has
// added yet.
struct Config {
  std::vector<Member> members;

  const Member* find(NodeId node) const;
  bool is_voter(NodeId node, uint64_t log_id) const;
  uint32_t voter_count() const;
  bool operator==(const Config&) const = default;

  void encode(Writer& out) const;
  static Result<Config> decode(Reader& in);
  std::vector<std::byte> encoded() const;         // the data of a configuration entry
  static Result<Config> decode_all(Bytes bytes);  // the inverse; Code::damaged
};

struct MemberChange {
  enum class Kind : uint8_t { add_learner = 1, promote = 2, remove = 3 };
  Kind kind = Kind::add_learner;
  NodeId node = 0;
  uint64_t log_id = 0;  // add_learner only
};

enum class EntryKind : uint8_t { command = 1, configuration = 2, noop = 3 };

struct LogEntry {
  Index index = 0;
  Term term = 0;
  EntryKind kind = EntryKind::command;
  std::vector<std::byte> data;
  bool operator==(const LogEntry&) const = default;
};

// What a node may never forget: one vote a term.
struct HardState {
  Term term = 0;
  NodeId vote = 0;  // 0: none in this term
  bool operator==(const HardState&) const = default;
};

// Where a snapshot stands in the log: everything up to `index` is in it; `config` is the
// configuration in force *at* index, never a later one.
struct Mark {
  Index index = 0;
  Term term = 0;
  Config config;
  bool operator==(const Mark&) const = default;
};

using SharedBytes = std::shared_ptr<const std::vector<std::byte>>;

// Opaque bytes of the caller's state after applying everything up to mark.index.
struct Snapshot {
  Mark mark;
  SharedBytes bytes;
};

}  // namespace sp::raft
