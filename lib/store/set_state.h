// SetState: what a store knows of one disk set: its record, what is decided, and the writes that
// are not. Plain values; State changes them.
#pragma once
#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "store/index.h"
#include "store/known_operations.h"
#include "store/store.h"

namespace sp::store {

// The slots of one write; one or two of them without a heap allocation.
class SlotList {
 public:
  SlotList() = default;
  explicit SlotList(std::span<const uint32_t> slots);
  std::span<const uint32_t> view() const { return {many_ ? many_.get() : few_, count_}; }

 private:
  uint32_t few_[2] = {no_slot, no_slot};
  uint32_t count_ = 0;
  std::unique_ptr<uint32_t[]> many_;
};

struct Undecided {
  WriteRecord record;
  SlotList slots;          // empty for a discard
  uint64_t lsn = 0;        // of the newest log record that holds it
  uint32_t growth = 0;     // blocks that hold nothing yet
  bool overtaken = false;  // something older was logged behind it, see State::overtake
  // Blocks of it that are decided in a version as new or newer by now. So that a decision, which
  // takes effect at once, need not ask the slot table, of which only a part is in memory.
  std::vector<uint16_t> superseded;
};

// A write that was decided though something older stands behind it in the log.
struct SayAgain {
  WriteRecord record;
  SlotList slots;
  uint64_t lsn = 0;  // of the record that holds it
};

struct SetState {
  std::optional<SetRecord> record;
  uint64_t record_lsn = 0;
  Version decided;
  uint64_t decided_lsn = 0;     // of the newest decide record; 0: none
  bool decide_pending = false;  // `decided` has to be logged
  bool decide_listed = false;   // and the store has noted so
  Version forget;
  bool forget_pending = false;
  uint32_t drops_queued = 0;  // while not 0, decide waits in deferred_decide
  Version deferred_decide;
  std::deque<Undecided> undecided;  // ascending by version
  std::deque<Undecided> dropping;   // given to a drop that is not durable yet
  KnownOperations operations;
  std::map<ObjectId, Object*> objects;
  uint64_t tombstone_bytes = 0;  // that those of its objects take in the log
};

struct Commit {
  uint32_t commit_slot = no_slot;
  uint32_t free_slot = no_slot;
  uint64_t lsn = 0;  // of the record that caused it
};

}  // namespace sp::store
