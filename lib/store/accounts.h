// Accounts: where every data slot of a store is, found by walking all that it holds in memory, and
// held against the numbers that it keeps as it goes. For checkers: a slot that nobody holds and
// that is not free is lost until the store is opened anew, one that two hold is worse.
//
// Thread rule: the store's. Takes time in proportion to the disk.
#pragma once
#include <cstdint>
#include <string>

#include "store/store.h"

namespace sp::store {

struct Accounts {
  uint64_t slots = 0;                                   // of the disk
  uint64_t free = 0;                                    // may be given to the next write
  uint64_t owned = 0;                                   // the slot table names an owner
  uint64_t decided = 0;                                 // held by blocks that are read
  uint64_t undecided = 0;                               // held by prepared writes
  uint64_t counted_decided = 0, counted_undecided = 0;  // the store's own running numbers
  uint64_t objects = 0, counted_objects = 0;
  uint64_t tombstone_bytes = 0, counted_tombstone_bytes = 0;
  std::string misplaced;  // the first block whose slot names another owner, or that two hold

  // What does not fit in a store at rest, that is with no call open and nothing decided or written
  // for some time (limits: store/bounds.h, lazy_delay); or nothing.
  std::string difference() const;
};

// Of a store made by Store::open. What a slot's entry says is looked at where it is in memory, or
// the disk can be looked into (io::Disk::peek).
Accounts accounts_of(const Store& store);
// What Store::object_state would tell, at once: of stores on simulated disks, and of those small
// enough to have their whole table in memory.
ObjectState state_of(const Store& store, ObjectId object);

}  // namespace sp::store
