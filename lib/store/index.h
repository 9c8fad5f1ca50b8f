// Index: where the decided blocks of each object lie, and what was discarded. Slots are held in
// chunks of 64 blocks, so that sparse objects stay small. Discards are remembered as ranges with a
// version until they are forgotten: a recovered or late older write must not bring such a block
// back. Pure memory.
#pragma once
#include <array>
#include <cstdint>
#include <memory>
#include <vector>

#include "base/ids.h"
#include "base/limits.h"
#include "store/records.h"

namespace sp::store {

struct DiscardRange {
  uint16_t first = 0;
  uint16_t count = 0;
  Version version;
  uint32_t end() const { return uint32_t{first} + count; }
};

class Object {
 public:
  static constexpr uint32_t chunk_blocks = 64;
  static constexpr uint32_t chunks_max = limits::blocks_per_object / chunk_blocks;

  Object(ObjectId id_, SetId set_) : id(id_), set(set_) {}

  const ObjectId id;
  const SetId set;
  Version changed;  // newest decided write or discard
  Version floor;    // `changed` of the copy that this object was recovered from, while no block or
                    // range says so
  uint64_t tombstone_lsn = 0;  // the oldest log record that ranges and floor need; 0: neither
  uint32_t undecided = 0;      // undecided writes that name this object

  uint32_t slot(uint32_t block) const {
    const auto& chunk = chunks_[block / chunk_blocks];
    return chunk ? (*chunk)[block % chunk_blocks] : no_slot;
  }
  void set_slot(uint32_t block, uint32_t slot);
  uint32_t blocks_used() const { return blocks_used_; }
  // First block >= from that has a slot, or blocks_per_object.
  uint32_t next_used(uint32_t from) const;

  // Newest discard of the block, zero when none is remembered.
  Version discarded(uint32_t block) const;
  void add_range(uint32_t first, uint32_t count, Version version);
  void forget_ranges(Version passed);
  const std::vector<DiscardRange>& ranges() const { return ranges_; }
  bool has_tombstone() const { return !ranges_.empty() || !floor.is_zero(); }

  bool is_empty() const { return blocks_used_ == 0 && undecided == 0 && !has_tombstone(); }
  uint64_t memory_bytes() const;

 private:
  using Chunk = std::array<uint32_t, chunk_blocks>;
  std::array<std::unique_ptr<Chunk>, chunks_max> chunks_;
  std::vector<DiscardRange> ranges_;  // ascending, disjoint
  uint32_t blocks_used_ = 0;
};

}  // namespace sp::store
