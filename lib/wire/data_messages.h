// Messages of the data path: bodies of fixed layout, encoded by wire/data_messages.cc. Every decode
// checks counts and ranges before it allocates. Fields, bytes and examples: sp-protocol(7). Block
// data travels in Message::data.
#pragma once
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "base/ids.h"
#include "map/map.h"
#include "wire/message.h"

namespace sp::wire {

// Outcome of a data request as the client has to treat it.
enum class DataStatus : uint8_t {
  ok = 0,
  stale_epoch = 1,  // `current` carries the newer entry: route again
  not_ready = 2,    // not activated yet, or no lease: ask again after a moment
  fenced = 3,       // the attachment's generation is not valid (any more)
  damaged = 4,      // all copies of a block fail verification
  no_space = 5,
  invalid = 6,  // malformed request, beyond the object
  busy = 7,     // window full: ask again
};

struct AttachmentId {  // proves a client's right to a volume
  ClientId client = 0;
  uint32_t generation = 0;
};

struct ReadRequest {
  SetId set;
  uint32_t epoch = 0;
  ObjectId object;
  uint16_t first_block = 0, block_count = 0;
  AttachmentId attachment;
  bool checksum_failed =
      false;  // the last answer failed the client's check: compare with another copy and repair
};
struct ReadReply {
  DataStatus status = DataStatus::ok;
  std::vector<uint64_t> crcs;  // ok: one per block, of the content as the writer made it (of zeros
                               // where nothing is stored)
  std::optional<map::DiskSet> current;  // stale_epoch
  std::string text;                     // why, for people
};

struct WriteRequest {
  SetId set;
  uint32_t epoch = 0;
  ObjectId object;
  uint16_t first_block = 0, block_count = 0;
  AttachmentId attachment;
  uint64_t operation = 0;  // counts from 1 within the attachment; the same on every retry
  uint64_t oldest_open_operation =
      0;                   // every operation below is answered and will not be retried: forget it
  bool discard = false;    // no data, no crcs: the blocks read as zeros after
  Version writer_version;  // zero in version 1; reserved for writes that the attachment's holder
                           // orders itself
  std::vector<uint64_t> crcs;
};
struct WriteReply {
  DataStatus status = DataStatus::ok;
  std::optional<map::DiskSet> current;
  std::string text;
};

// between copies; the sender is the primary of `epoch`
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
  DiskId disk = 0;  // the copy spoken to
  uint32_t epoch = 0;
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
struct RecoverObject {  // the primary's decided state of one object, and the content of the blocks
                        // numbered in `carried` (block numbers)
  SetId set;
  DiskId disk = 0;
  uint32_t epoch = 0;
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
  bool ok = false;
  bool perhaps_later = false;  // it has not decided this version, or its disk has failed for now
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

struct Digest {  // of all decided blocks of a set on one disk, to compare copies at rest
  SetId set;
  DiskId disk = 0;
};
struct DigestReply {
  bool ok = false;
  uint64_t hash = 0;  // order-independent sum over (object, block, version, crc)
  uint64_t blocks = 0;
  std::string text;
};

// encode(): the body. decode(): nullopt unless the whole body is well formed. One pair for each
// struct above.
#define SP_DATA_MESSAGES(X)                                                       \
  X(ReadRequest)                                                                  \
  X(ReadReply)                                                                    \
  X(WriteRequest)                                                                 \
  X(WriteReply)                                                                   \
  X(BeginEpoch)                                                                   \
  X(BeginEpochReply) X(Prepare) X(PrepareReply) X(Decided) X(FetchUndecided)      \
      X(FetchUndecidedReply) X(RecoverObject) X(RecoverObjectReply) X(FetchBlock) \
          X(FetchBlockReply) X(AskSpace) X(AskSpaceReply) X(Digest) X(DigestReply)
#define X(Name) std::vector<std::byte> encode(const Name& message);
SP_DATA_MESSAGES(X)
#undef X
template <class T>
std::optional<T> decode(Bytes body);

}  // namespace sp::wire
