// Saved index: what State knew when the log was at one place, in a region of its own, so that
// opening a large disk neither reads its whole slot table nor replays its whole log. Opening never
// depends on it: where it is missing, old, or not what was written, the table and the log tell all.
// This file is the grammar of sp-disk-format(5), "Saved index".
//
// The region has two homes, of chunks of 64 KiB. A chunk is a header and records in the frame of
// those of the log, never split over chunks. Pure.
#pragma once
#include <cstdint>
#include <initializer_list>

#include "base/bytes.h"
#include "base/result.h"
#include "disk/superblock.h"
#include "store/index.h"
#include "store/records.h"
#include "store/table_pages.h"

namespace sp::store {

struct IndexChunkHeader {
  uint64_t magic;
  uint64_t cluster;
  uint64_t uuid;
  uint64_t lsn;      // of the whole, as in IndexBody
  uint32_t session;  // likewise
  uint32_t number;   // of the chunk, from 0
  uint32_t bytes;    // of the records that follow
  uint32_t reserved;
  uint64_t crc;  // of header and records, with this field zero
};
static_assert(sizeof(IndexChunkHeader) == 56);
constexpr uint64_t index_chunk_magic = 0x313058444950532f;  // "/SPIDX01"
constexpr size_t index_payload_bytes = disk::index_chunk_bytes - sizeof(IndexChunkHeader);

// Kinds of records. Those of the log of kind set, decide, operations and write stand here, too.
enum class SavedKind : uint8_t {
  at = 64,       // uint64_t: the records of the log that follow were logged at this lsn
  entries = 65,  // SavedEntry...: of the slot table, which no home has for sure
  lost = 66,     // SavedEntry...: blocks without content
  dirty = 67,    // SavedDirty...
  object = 68,   // SavedObject, its RangeEntry..., then what `runs` and `filled` tell of
  end = 69,      // SavedEnd
};

struct SavedEntry {
  Descriptor entry;
  uint32_t slot;
  uint32_t reserved;
};
static_assert(sizeof(SavedEntry) == 40);

struct SavedDirty {
  uint64_t since;  // SlotTable::PageState::dirty_since
  uint32_t page;
  uint32_t reserved;
};
static_assert(sizeof(SavedDirty) == 16);

// Then for each chunk of 64 blocks, ascending: the slot of its first block, 4 bytes, where its bit
// is in `runs` (the others follow it); the slots of all, 256 bytes, where it is in `filled`
// (no_slot: nothing).
struct SavedObject {
  uint64_t changed;
  uint64_t floor;
  uint64_t tombstone_lsn;
  uint32_t volume;
  uint32_t object;
  uint32_t set;
  uint16_t runs;
  uint16_t filled;
  uint32_t ranges;
  uint32_t reserved;
};
static_assert(sizeof(SavedObject) == 48);

struct SavedEnd {
  uint64_t objects;
};

constexpr size_t saved_per_record = 256;  // entries, lost, dirty

uint64_t index_chunk_offset(const disk::Layout& layout, uint32_t home, uint32_t number);
void seal_index_chunk(MutableBytes chunk, const disk::Superblock& superblock,
                      const IndexBody& index, uint32_t number, size_t record_bytes);
// Its records. Code::damaged: it is not that chunk of that saved index.
Result<Bytes> open_index_chunk(Bytes chunk, const disk::Superblock& superblock,
                               const IndexBody& index, uint32_t number);

// A record of a saved index: one of the log, or one of the kinds above, whose body has the right
// length, with all slots, pages and blocks in range.
struct SavedRecord {
  bool logged = false;
  Record record;
  SavedKind kind() const { return static_cast<SavedKind>(record.kind); }
};

class SavedCursor {
 public:
  SavedCursor(Bytes records, Bounds bounds) : rest_(records), bounds_(bounds) {}
  bool next(SavedRecord& out);  // as RecordCursor
  bool failed() const { return failed_; }

 private:
  Bytes rest_;
  Bounds bounds_;
  bool failed_ = false;
};

}  // namespace sp::store
