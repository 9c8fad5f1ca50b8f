// Records: what log pages carry. Each is a header of 8 bytes and a body of fixed structs, padded to
// 8 bytes, never split over pages. This file is the grammar of sp-disk-format(5); encoders append
// to a page's payload, the cursor walks one without trusting it.
#pragma once
#include <cstdint>
#include <span>

#include "base/bytes.h"
#include "base/result.h"
#include "store/store.h"

namespace sp::store {

constexpr uint32_t no_slot = 0xffff'ffff;

enum class RecordKind : uint8_t {
  write = 1,  // prepared write or discard: WriteBody, then a crc64 per block, then a slot per block
  decide = 2,         // SetVersionBody: everything prepared up to the version is decided
  set = 3,            // SetBody
  drop = 4,           // SetVersionBody: decide up to the version, then forget all undecided writes
  remove_set = 5,     // SetVersionBody, version unused
  remove_volume = 6,  // VolumeBody
  forget = 7,         // SetVersionBody: tombstones up to the version are gone
  tombstone = 8,      // TombstoneBody, then RangeEntry...: an object's discards, said again
  recovered = 9,      // ObjectBody, then RecoveredEntry...: decided blocks from another copy
  applied = 10,  // ObjectBody, then a bitmap of 128 bytes: blocks not in it are gone unless newer
                 // than `version`
  repair = 11,   // ObjectBody, then one RecoveredEntry: a block moved to a new slot
  homes = 12,    // HomeEntry...: table pages about to be, or known to be, written home
  operations = 13,  // SetVersionBody, then OperationEntry...: client operations, said again
  opened = 14,      // OpenedBody: a session begins; what the one before left torn is void
  index = 15,       // IndexBody: this saved index is on the device, whole
};
constexpr uint8_t flag_relogged = 1;  // of a write: said again, its data are long on the disk
// Of recovered: no copy had the content of these blocks. What is in their slots proves nothing of
// the round, as with data that are long on the disk.
constexpr uint8_t flag_lost = flag_relogged;
// Of homes: all images that were announced before this record are on the device.
constexpr uint8_t flag_homes_before_done = 1;

struct RecordHeader {
  uint8_t kind;
  uint8_t flags;
  uint16_t size_bytes;  // header, body and padding
  uint32_t body_bytes;
};
static_assert(sizeof(RecordHeader) == 8);

struct WriteBody {
  uint64_t version;
  uint64_t number;
  uint32_t set;
  uint32_t volume;
  uint32_t object;
  uint32_t generation;
  uint16_t client;
  uint16_t first_block;
  uint16_t block_count;
  uint16_t write_kind;
};
static_assert(sizeof(WriteBody) == 40);

struct SetVersionBody {
  uint64_t version;
  uint32_t set;
  uint32_t count;
};
static_assert(sizeof(SetVersionBody) == 16);

struct SetBody {
  uint64_t complete_to;
  uint32_t set;
  uint32_t epoch;
  uint32_t recovering;
  uint32_t reserved;
};
static_assert(sizeof(SetBody) == 24);

struct VolumeBody {
  uint32_t volume;
  uint32_t reserved;
};
static_assert(sizeof(VolumeBody) == 8);

struct ObjectBody {
  uint64_t version;
  uint32_t set;
  uint32_t volume;
  uint32_t object;
  uint32_t count;
};
static_assert(sizeof(ObjectBody) == 24);

struct RangeEntry {
  uint64_t version;
  uint16_t first_block;
  uint16_t block_count;
  uint32_t reserved;
};
static_assert(sizeof(RangeEntry) == 16);

struct RecoveredEntry {
  uint64_t version;
  uint64_t crc;
  uint32_t slot;
  uint16_t block;
  uint16_t reserved;
};
static_assert(sizeof(RecoveredEntry) == 24);

struct HomeEntry {
  uint64_t sequence;     // of the image; it goes to home sequence % 2
  uint64_t dirty_since;  // the home before it lacks changes from this lsn on; home_complete: the
                         // image is on the disk
  uint32_t page;
  uint32_t reserved;
};
constexpr uint64_t home_complete = ~uint64_t{0};
static_assert(sizeof(HomeEntry) == 24);

struct OperationEntry {
  uint64_t version;
  uint64_t number;
  uint32_t generation;
  uint16_t client;
  uint16_t reserved;
};
static_assert(sizeof(OperationEntry) == 24);

struct OpenedBody {
  int64_t wall_ms;
};

struct IndexBody {
  uint64_t lsn;      // it holds what the log tells below
  uint32_t home;     // 0 or 1
  uint32_t chunks;   // that it has
  uint32_t session;  // in which it was written: a lsn comes again where a round was torn
  uint32_t reserved;
};
static_assert(sizeof(IndexBody) == 24);

constexpr size_t padded(size_t bytes) { return (bytes + 7) / 8 * 8; }
constexpr size_t write_record_bytes(size_t blocks) {
  return padded(sizeof(RecordHeader) + sizeof(WriteBody) + 12 * blocks);
}
constexpr size_t recovered_per_record = 160;
constexpr size_t ranges_per_record = 200;
constexpr size_t entries_per_record = 120;  // homes, operations
constexpr size_t listed_bytes = limits::blocks_per_object / 8;

// One record as it lies in a page.
struct Record {
  RecordKind kind{};
  uint8_t flags = 0;
  Bytes body;

  template <class T>
  T head() const {
    return load<T>(body);
  }
  // Entry `index` of the array that follows a Head.
  template <class Head, class Entry>
  Entry entry(size_t index) const {
    return load<Entry>(body.subspan(sizeof(Head) + index * sizeof(Entry)));
  }
};

// The geometry that hostile records are held to.
struct Bounds {
  uint64_t slots = 0;
  uint64_t table_pages = 0;
};

class RecordCursor {
 public:
  RecordCursor(Bytes payload, Bounds bounds) : rest_(payload), bounds_(bounds) {}
  // False at the end, or at a record that breaks the grammar (then `failed`). A Record returned
  // here has a body of the right length with all slots, blocks and counts in range.
  bool next(Record& out);
  bool failed() const { return failed_; }

 private:
  Bytes rest_;
  Bounds bounds_;
  bool failed_ = false;
};

}  // namespace sp::store
