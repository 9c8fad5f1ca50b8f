// TablePages: what is in memory of the slot table's entries. Entries that the device lacks, or has
// not said to have (*fresh* ones), stay here; what can be read again is dropped, the longest unused
// first (by a clock), while all together take more than their share. So a disk of many TiB is
// served with a small part of its table in memory, and a small disk with all of it.
//
// A page is *whole* when all its entries are here; it becomes so by `fill` with its content on the
// device. Pinned pages are kept. Pure memory, no I/O.
#pragma once
#include <array>
#include <bitset>
#include <cstdint>
#include <memory>
#include <utility>
#include <vector>

#include "base/bytes.h"
#include "disk/superblock.h"
#include "store/records.h"

namespace sp::store {

struct Descriptor {
  uint64_t crc = 0;
  uint64_t version = 0;
  uint32_t volume = 0;
  uint32_t object = 0;
  uint32_t set = 0;
  uint16_t block_and_flags = 0;  // 13 bits of block within the object, then flags
  uint16_t zeros = 0;

  static constexpr uint16_t flag_used = 0x8000;
  static constexpr uint16_t flag_uncommitted = 0x4000;  // in memory only
  static constexpr uint16_t flag_lost = 0x2000;         // the content was nowhere to be had
  static constexpr uint16_t block_mask = 0x1fff;

  bool used() const { return (block_and_flags & flag_used) != 0; }
  bool uncommitted() const { return (block_and_flags & flag_uncommitted) != 0; }
  bool lost() const { return (block_and_flags & flag_lost) != 0; }
  uint16_t block() const { return block_and_flags & block_mask; }
  ObjectId object_id() const { return {volume, object}; }
};
static_assert(sizeof(Descriptor) == 32);

class TablePages {
 public:
  // `bytes_max`: what clean and fresh entries may take together; fresh ones exceed it where nothing
  // can be written home.
  TablePages(uint32_t pages, size_t bytes_max);

  Descriptor* find(uint32_t slot) const;  // null when it is not here
  bool is_whole(uint32_t page) const;
  void put(uint32_t slot, const Descriptor& entry);  // fresh from here on
  void drop_fresh(uint32_t slot);  // the device need not have this entry: nobody's any more
  // `entries` as on the device, empty for a page that was never written: those not here yet are
  // taken from there.
  void fill(uint32_t page, Bytes entries);
  bool has_room() const { return bytes_ + sizeof(Entries) <= bytes_max_; }
  // Whether all that any slot has is here, as far as has been told by `miss` and by what was
  // dropped.
  bool has_all() const { return has_all_; }
  void miss() { has_all_ = false; }

  // An image of the page is made now, and: it is on the device. What was committed at the first
  // moment is fresh no more, unless it was put anew in between.
  void begin_image(uint32_t page);
  void end_image(uint32_t page);

  template <class Visit>
  void for_each_fresh(const Visit& visit) const;  // visit(slot, entry)

  void pin(uint32_t page);  // it is here, if only in part
  void unpin(uint32_t page);
  void trim();
  // Fresh entries take more than half of the share, and these pages have some that could be
  // written.
  bool wants_relief() const { return fresh_bytes_ > bytes_max_ / 2; }
  std::vector<uint32_t> relief(size_t pages_max) const;

  uint64_t bytes() const { return bytes_; }
  uint64_t memory_bytes() const {
    return bytes_ + here_.size() * sizeof(here_[0]) + pages_.size() * sizeof(pages_[0]);
  }

 private:
  static constexpr uint32_t per_page = disk::slots_per_table_page;
  static constexpr size_t few_max = 8;
  using Entries = std::array<Descriptor, per_page>;
  using Bits = std::bitset<per_page>;
  struct Few {
    Descriptor entry;
    uint8_t index;
  };
  struct Page {
    std::unique_ptr<Entries> all;  // else they are in `few`
    std::vector<Few> few;
    Bits known, fresh, imaged;
    uint32_t number = 0;
    uint32_t place = 0;  // in clean_, while nothing of it is fresh
    bool in_clean = false;
    Page *older = nullptr, *newer = nullptr;  // among those with fresh entries
    uint32_t pins = 0;
    bool recent = false;
  };
  Page* page_at(uint32_t number) const { return pages_[here_[number]].get(); }
  // Takes a page out of sums and lists, and back, around a change of it.
  class Change;
  void leave(Page& page);
  void join(Page& page);

  static size_t bytes_of(const Page& page);
  Page& present(uint32_t page);
  static Descriptor* entry(Page& page, uint32_t index);
  static void widen(Page& page);

  size_t bytes_max_;
  std::vector<uint32_t> here_;                // by number; 0: nothing of it is here
  std::vector<std::unique_ptr<Page>> pages_;  // by what here_ says; the first one is null
  std::vector<uint32_t> unused_;              // of pages_
  std::vector<Page*> clean_;                  // the clock goes round these
  size_t hand_ = 0;
  Page *fresh_oldest_ = nullptr, *fresh_newest_ = nullptr;  // by the time when they became so
  bool has_all_ = true;
  uint64_t bytes_ = 0;
  uint64_t fresh_bytes_ = 0;  // of pages with fresh entries
};

template <class Visit>
void TablePages::for_each_fresh(const Visit& visit) const {
  for (Page* page = fresh_oldest_; page != nullptr; page = page->newer)
    for (uint32_t index = 0; index < per_page; index++)
      if (page->fresh.test(index))
        visit(page->number * per_page + index, std::as_const(*entry(*page, index)));
}

}  // namespace sp::store
