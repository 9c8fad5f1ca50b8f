// Repair: reads of one disk that do not take damage for an answer. What fails verification here is
// fetched from another copy of the set in exactly the version that this disk should hold, checked,
// used, and written back.
//
// The local version and checksum decide what is right: content of another copy counts only if it
// has both. Each finding is logged and counted.
#pragma once
#include <vector>

#include "base/callback.h"
#include "serve/context.h"

namespace sp::serve {

using CarefulReadDone = Callback<void(Result<std::vector<store::BlockRead>>)>;

// For a reader that goes on without blocks of which no copy has the content.
struct LostBlocks {
  // A copy that does not answer may have it: Code::transient. One that placement does not want any
  // more is waited for always: once others are complete nobody would ask it.
  bool wait_for_absent = true;
  std::vector<uint16_t> blocks;  // within the object, ascending; of these `into` says nothing
};

// As Store::read, but with repair. Code::damaged only when no copy has a block whole; the message
// names the block. `compare`: every block is also held against another copy, for a reader whose own
// checksum has failed. With `lost`, such a block is noted there, and no error.
void careful_read(Context& context, LocalDisk& disk, SetId set, ObjectId object,
                  uint16_t first_block, uint16_t block_count, MutableBytes into, bool compare,
                  const std::shared_ptr<LostBlocks>& lost, CarefulReadDone done);

// Finds out whether one block of this disk is damaged and mends it; for damage found while serving
// another copy. Of one block at most once a second: the other copies are asked, and where they are
// damaged too they would ask back.
void mend_block(Context& context, LocalDisk& disk, SetId set, ObjectId object, uint16_t block);

// Of a block that came to this disk as lost: takes the content from that copy, if it has exactly
// this version whole, for a copy that is to be cleared. Once done it is durable here. An error only
// when the copy could not be asked.
void take_lost_block(Context& context, LocalDisk& disk, const Place& from,
                     const store::LostBlock& block, Callback<void(Status)> done);

// Tries it, a few at a time, with blocks that came to this disk as lost: a copy that was away then
// may be back. Whoever is asked and finds its own damaged mends that, too.
void mend_lost_blocks(Context& context, LocalDisk& disk);

}  // namespace sp::serve
