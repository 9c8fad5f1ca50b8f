// Messages between the copies of a set; the sender is the primary of `epoch`. Encoded with the
// other messages of the data path, through wire/data_messages.h.
#pragma once
#include <cstdint>
#include <string>
#include <vector>

#include "base/ids.h"

namespace sp::wire {

struct AttachmentId {  // proves a client's right to a volume
  ClientId client = 0;
  uint32_t generation = 0;
};

struct CopyRecord {  // a store::WriteRecord on the wire
  bool discard = false;
  SetId set;
  Version version;
  ObjectId object;
  uint16_t first_block = 0, block_count = 0;
  AttachmentId attachment;
  uint64_t operation = 0;
};

struct BeginEpoch {  // "I lead epoch; what do you hold?" The copy notes the epoch durably before it
                     // answers, and refuses older ones from then on
  SetId set;
  DiskId disk = 0;    // the copy spoken to
  uint64_t uuid = 0;  // as the map knows it; another disk under the same id refuses
  uint32_t epoch = 0;
  uint64_t revision = 0;    // of the row that makes the copy a member, as the sender knows it
  bool recovering = false;  // it joins as a recovering copy: drop undecided records first
  // Acting: nothing of the set exists anywhere, so a disk without a record of it may start one.
  // Recovering: what is here is too old to be completed, the copy clears it and starts anew.
  bool create = false;
};
struct KnownOperation {  // decided or not: a retry of it is answered, not applied again
  AttachmentId attachment;
  uint64_t operation = 0;
  Version version;
};
struct BeginEpochReply {
  bool ok = false;
  bool known = false;  // false with ok = false: this disk has no record of the set
  bool lost = false;   // not ok: what is here proves that acknowledged content is missing
  uint32_t epoch = 0;  // the newest that the copy knows
  Version decided_to;
  Version complete_to;  // recovering: where recovery has to begin; else see store::SetRecord
  std::vector<CopyRecord> undecided;
  std::vector<KnownOperation> operations;  // the newest of them
  uint64_t blocks_free = 0;                // that the copy's disk will still take
  std::string text;
};

struct Prepare {  // make durable, do not show
  DiskId disk = 0;
  uint32_t epoch = 0;
  CopyRecord record;
  Version decided_to;  // everything of the set up to here is decided
  std::vector<uint64_t> crcs;
};
struct PrepareReply {
  bool ok = false;
  SetId set;
  uint32_t epoch = 0;
  Version version;
  bool no_space = false;     // the only thing wrong: the same may be taken later
  uint64_t blocks_free = 0;  // that the copy's disk will still take
  std::string text;
};
struct Decided {  // no reply; sent when no Prepare follows soon
  SetId set;
  DiskId disk = 0;
  uint32_t epoch = 0;
  Version decided_to;
  Version tombstones_passed;  // discards up to here are on every copy that matters: forget them
};
struct FetchUndecided {
  SetId set;
  DiskId disk = 0;
  uint32_t epoch = 0;
  Version version;
};
struct FetchUndecidedReply {
  bool ok = false;
  std::vector<uint64_t> crcs;
  std::string text;
};

struct RecoverBlock {
  uint16_t block = 0;
  Version version;
  uint64_t crc = 0;
};
// Of a number in `carried`: no copy has the content of this block, and none follows.
constexpr uint16_t carried_lost = 0x8000;
struct RecoverObject {  // the primary's decided state of one object, and the content of the blocks
                        // numbered in `carried` (block numbers)
  SetId set;
  DiskId disk = 0;
  uint32_t epoch = 0;
  uint64_t revision = 0;  // of the row, as in BeginEpoch
  ObjectId object;
  Version changed;
  std::vector<RecoverBlock> blocks;
  std::vector<uint16_t> carried;
  bool last = false;  // nothing more to come: the copy notes complete_to
  Version complete_to;
};
struct RecoverObjectReply {
  bool ok = false;
  std::string text;
};

struct FetchBlock {  // a decided block of exactly this version, for repair
  SetId set;
  DiskId disk = 0;
  uint32_t epoch = 0;
  ObjectId object;
  uint16_t block = 0;
  Version version;
};
struct FetchBlockReply {
  bool ok = false;             // without content: its disk is away, or has failed for now
  bool perhaps_later = false;  // the same, or it has not decided this version
  uint64_t crc = 0;
  std::string text;
};

struct AskSpace {
  DiskId disk = 0;
};
struct AskSpaceReply {
  bool ok = false;
  uint64_t blocks_free = 0;
};

}  // namespace sp::wire
