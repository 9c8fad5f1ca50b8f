// Slot table: for every data slot who owns it, with which version and checksum, and which slots are
// free. Who owns a slot is known here of those whose entries are in memory (TablePages); that
// somebody does, of all.
//
// A slot is free, uncommitted (written or being written, its owner not yet decided and stable) or
// committed (part of what the table page says on the device). Page images hold committed entries
// only. A page is dirty from the lsn of the oldest log record whose effect its newest home lacks:
// the log's tail must not pass that lsn before the page was written home. Freeing has two steps:
// `clear` ends ownership, `release` lets the slot be allocated again; in between stand the readers.
// Pure memory, no I/O.
#pragma once
#include <cstdint>
#include <map>
#include <optional>
#include <vector>

#include "base/bytes.h"
#include "base/ids.h"
#include "base/result.h"
#include "disk/superblock.h"
#include "store/lsn_index.h"
#include "store/records.h"
#include "store/slot_bits.h"
#include "store/table_pages.h"

namespace sp::store {

struct TablePageHeader {
  uint64_t magic;
  uint64_t cluster;
  uint64_t uuid;
  uint64_t sequence;  // counts from 1; this home is number sequence % 2
  uint32_t page;
  uint32_t entries;
  uint64_t reserved[2];
  uint64_t crc;  // of the page with this field zero
};
static_assert(sizeof(TablePageHeader) == 64);
static_assert(sizeof(TablePageHeader) + disk::slots_per_table_page * sizeof(Descriptor) ==
              disk::table_page_bytes);
constexpr uint64_t table_page_magic = 0x313042415450532f;  // "/SPTAB01"

// A whole home. Code::not_found: never written in this life of the disk; Code::damaged: broken, or
// the page of another place.
struct TableHome {
  uint64_t sequence = 0;
  Bytes entries;
  Descriptor at(size_t index) const {
    return load<Descriptor>(entries.subspan(index * sizeof(Descriptor)));
  }
};
Result<TableHome> open_table_home(Bytes page, const disk::Superblock& superblock,
                                  uint32_t page_number);
uint64_t table_home_offset(const disk::Layout& layout, uint32_t page_number, uint64_t sequence);

class SlotTable {
 public:
  SlotTable(const disk::Superblock& superblock, size_t pages_bytes_max);

  uint32_t slot_count() const { return slot_count_; }
  uint32_t page_count() const { return static_cast<uint32_t>(sequences_.size()); }
  static uint32_t page_of(uint32_t slot) { return slot / disk::slots_per_table_page; }
  uint64_t slot_offset(uint32_t slot) const {
    return superblock_.layout.data_offset + uint64_t{slot} * 4096;
  }
  bool owned(uint32_t slot) const { return owned_.test(slot); }
  // Null when its entry is not in memory. Of a slot that is nobody's: the last owner, as long as it
  // is not free.
  const Descriptor* find(uint32_t slot) const { return pages_.find(slot); }
  const Descriptor& descriptor(uint32_t slot) const;  // of an owned slot, in memory
  // Blocks without content, by slot.
  const std::map<uint32_t, Descriptor>& lost() const { return lost_; }

  // ownership
  void claim(uint32_t slot, const Descriptor& owner);  // free -> uncommitted
  void commit(uint32_t slot, uint64_t lsn);  // uncommitted -> committed, page dirty since lsn
  void clear(uint32_t slot,
             uint64_t lsn);  // -> nobody's; page dirty since lsn if the entry was committed

  // allocation. Successive calls give adjacent slots where the device allows.
  std::optional<uint32_t> allocate();
  void release(uint32_t slot);
  uint32_t free_count() const { return free_count_; }
  bool is_free(uint32_t slot) const { return free_.test(slot); }
  void rebuild_free();  // after recovery: what has no owner is free

  // homes
  struct PageState {
    uint64_t sequence = 0;     // newest image that was, or may have been, written home
    uint64_t dirty_since = 0;  // 0: clean
    uint64_t intent_lsn = 0;   // the log record that vouches for `sequence`
    bool intent_open = false;  // logged, its image not yet durable
  };
  PageState state(uint32_t page) const {
    return {sequence(page), dirty_.at(page), intents_.at(page), open_[page]};
  }
  // The newest image that is on the device for sure; 0: none.
  uint64_t durable_sequence(uint32_t page) const { return sequence(page) - (open_[page] ? 1 : 0); }
  const LsnIndex& dirty() const { return dirty_; }
  const LsnIndex& intents() const { return intents_; }
  void mark_dirty(uint32_t page, uint64_t lsn);
  // An intent was logged at lsn. `opens`: for a new image (sequence + 1, returned by next_sequence
  // before); otherwise the old one said again.
  uint64_t next_sequence(uint32_t page) const;
  void set_intent(uint32_t page, uint64_t lsn, bool opens);
  // The image to be written home, with the page's newest sequence; the page, which is whole, is
  // clean from here on.
  void take_image(uint32_t page, MutableBytes out);
  void home_written(uint32_t page);

  // entries in memory
  TablePages& pages() { return pages_; }
  const TablePages& pages() const { return pages_; }

  // recovery
  void load_entry(uint32_t slot, const Descriptor& entry);    // committed, as found at home
  bool own(uint32_t slot) { return owned_.set_clear(slot); }  // false: it is somebody's
  void own_soon(uint32_t slot) const { owned_.prefetch(slot); }
  void load_lost(uint32_t slot, const Descriptor& entry) { lost_[slot] = entry; }
  void load_page_state(uint32_t page, uint64_t sequence, uint64_t intent_lsn);

  uint64_t memory_bytes() const;

 private:
  uint64_t sequence(uint32_t page) const;
  void set_sequence(uint32_t page, uint64_t sequence);

  disk::Superblock superblock_;
  uint32_t slot_count_;
  TablePages pages_;
  std::vector<uint32_t> sequences_;              // their lower halves
  std::map<uint32_t, uint32_t> sequences_high_;  // by page, where they are not 0: hardly ever
  LsnIndex dirty_, intents_;
  std::vector<bool> open_;
  std::map<uint32_t, Descriptor> lost_;

  SlotBits owned_, free_;
  std::vector<uint64_t> summary_;  // bit per 64 slots of which one is free
  uint32_t free_count_ = 0;
  uint32_t cursor_ = 0;
};

}  // namespace sp::store
