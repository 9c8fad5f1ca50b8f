// TableLoader: brings pages of the slot table into memory that were dropped to make room, from
// their newest home. One read serves all who wait for a page. A page that is not what was written,
// also when it is read again, is damage: without it the disk cannot tell whose its blocks are.
//
// Thread rule: the store's.
#pragma once
#include <cstdint>
#include <deque>
#include <memory>
#include <span>
#include <unordered_map>
#include <vector>

#include "base/callback.h"
#include "base/result.h"
#include "io/host.h"
#include "store/slot_table.h"

namespace sp::store {

// Keeps pages in memory while it lives; the table outlives it.
class PagePins {
 public:
  PagePins() = default;
  PagePins(TablePages& pages, std::span<const uint32_t> pinned);
  ~PagePins() { release(); }
  PagePins(PagePins&& other) noexcept;
  PagePins& operator=(PagePins&& other) noexcept;
  void release();

 private:
  TablePages* pages_ = nullptr;
  std::vector<uint32_t> pinned_;
};

class TableLoader {
 public:
  using Loaded = Callback<void(Result<PagePins>)>;
  TableLoader(io::Host& host, const disk::Superblock& superblock, SlotTable& table);
  ~TableLoader();

  // `disk` stays the same and outlives all loads. `loaded` comes in a later turn, with all pages
  // whole and kept; not at all when the disk is destroyed before.
  void load(io::Disk& disk, std::span<const uint32_t> pages, Loaded loaded);
  // True when the page is whole now: a page that was never written is, without a read.
  bool is_here(uint32_t page);
  // The entries of a page whose home this is; Code::damaged when it is not.
  Result<TableHome> open_home(uint32_t page, Bytes home) const;

 private:
  static constexpr size_t reads_max = 64;
  struct Wait {
    PagePins pins;
    Loaded loaded;
    size_t outstanding = 0;
    Status status;
  };
  struct Read {
    uint32_t page = 0;
    uint64_t sequence = 0;  // of the home that is read
    bool again = false;     // it was not what it should be once
    Buffer buffer;
    std::vector<Wait*> waits;
  };
  void start_reads(io::Disk& disk);
  void start(io::Disk& disk, Read& read);
  void finish(io::Disk& disk, Read& read, Status status);
  void one_less(Wait* wait, const Status& status);

  io::Host& host_;
  disk::Superblock superblock_;
  SlotTable& table_;
  std::unordered_map<uint32_t, std::unique_ptr<Read>> reads_;
  std::deque<uint32_t> queue_;
  std::unordered_map<Wait*, std::unique_ptr<Wait>> waits_;  // never iterated
  size_t active_ = 0;
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
};

}  // namespace sp::store
