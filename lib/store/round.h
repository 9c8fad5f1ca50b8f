// Round: the unit of durability. Data blocks and log pages of all writes that came together are
// written side by side, then one flush makes them durable at once. A RoundBuilder collects the
// pages' records and the data pieces; it is reused, and does no I/O itself.
#pragma once
#include <cstdint>
#include <initializer_list>
#include <vector>

#include "base/buffer.h"
#include "store/log_page.h"
#include "store/records.h"

namespace sp::store {

// Blocks at adjacent slots, lying together in memory.
struct DataPiece {
  uint32_t slot = 0;
  uint32_t count = 0;
  const std::byte* from = nullptr;
};

class RoundBuilder {
 public:
  explicit RoundBuilder(uint32_t pages_max);

  void begin(uint64_t first_lsn);
  uint64_t first_lsn() const { return first_lsn_; }
  uint32_t pages() const { return static_cast<uint32_t>(used_.size()); }
  uint32_t pages_max() const { return pages_max_; }
  // Pages after appending `count` records of `bytes` each at the worst.
  uint32_t pages_with(size_t count, size_t bytes) const;

  // Appends one record, made of `parts` in a row; the lsn of its page. The caller has seen to it
  // that pages_max suffices.
  uint64_t append(RecordKind kind, uint8_t flags, std::initializer_list<Bytes> parts);
  void add_page();  // an empty page, when nothing else made one
  void add_data(uint32_t slot, const std::byte* from);

  // The data of the round, for keeping; what is given takes their place.
  void swap_pieces(std::vector<DataPiece>& pieces) { pieces_.swap(pieces); }

  // Writes headers and checksums into all pages. `header`: session, tail and stable lsn; the rest
  // is filled in.
  void seal(const disk::Superblock& superblock, LogPageHeader header);
  Bytes page_bytes_at(uint32_t index, uint32_t count) const;

  // The data as device writes: neighbours joined, small ones through `staging`, which must live as
  // long as the writes.
  struct DataWrite {
    uint32_t slot;
    Bytes bytes;
  };
  std::vector<DataWrite>& join_data(std::vector<Buffer>& staging);

 private:
  uint32_t pages_max_;
  uint64_t first_lsn_ = 0;
  Buffer memory_;
  std::vector<uint32_t> used_;  // payload bytes per page
  std::vector<DataPiece> pieces_;
  std::vector<DataWrite> writes_;
};

}  // namespace sp::store
