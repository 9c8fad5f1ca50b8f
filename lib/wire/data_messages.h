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
#include "wire/copy_messages.h"
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

// What a server has done since it started, and its disks since they were opened.
struct AskStatistics {};
struct DiskStatistics {
  DiskId disk = 0;
  uint64_t device_reads = 0, device_bytes_read = 0;
  uint64_t device_writes = 0, device_bytes_written = 0, device_flushes = 0;
  uint64_t blocks_total = 0, blocks_used = 0;  // of 4 KiB
  uint64_t memory_bytes = 0;                   // index and caches
};
struct StatisticsReply {
  uint64_t reads = 0, writes = 0;  // of clients, as the primary of their sets
  uint64_t bytes_recovered = 0, blocks_repaired = 0, blocks_lost = 0;
  std::vector<DiskStatistics> disks;
};

// encode(): the body. decode(): nullopt unless the whole body is well formed. One pair for each
// struct above.
#define SP_DATA_MESSAGES(X) \
  X(ReadRequest)            \
  X(ReadReply)              \
  X(WriteRequest)           \
  X(WriteReply)             \
  X(BeginEpoch)             \
  X(BeginEpochReply)        \
  X(Prepare)                \
  X(PrepareReply)           \
  X(Decided)                \
  X(FetchUndecided)         \
  X(FetchUndecidedReply)    \
  X(RecoverObject)          \
  X(RecoverObjectReply)     \
  X(FetchBlock)             \
  X(FetchBlockReply)        \
  X(AskSpace)               \
  X(AskSpaceReply)          \
  X(Digest)                 \
  X(DigestReply)            \
  X(AskStatistics)          \
  X(StatisticsReply)
#define X(Name) \
  std::vector<std::byte> encode(const Name& message, uint8_t protocol = protocol_newest);
SP_DATA_MESSAGES(X)
#undef X

}  // namespace sp::wire
