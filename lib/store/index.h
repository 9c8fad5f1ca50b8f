// Index: where the decided blocks of each object lie, and what was discarded. Slots are held in
// chunks of 64 blocks, so that sparse objects stay small; a chunk whose blocks all lie in a row is
// one number. Discards are remembered as ranges with a
// version until they are forgotten: a recovered or late older write must not bring such a block
// back. Pure memory.
#pragma once
#include <array>
#include <cstdint>
#include <memory>
#include <vector>

#include "base/bytes.h"
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

// The chunks of all objects of a store, without a word of overhead for each.
class ChunkPool {
 public:
  static constexpr uint32_t chunk_blocks = 64;
  using Chunk = std::array<uint32_t, chunk_blocks>;

  uint32_t make();  // its number; what is in it is anything
  void give_back(uint32_t number) { free_.push_back(number); }
  Chunk& at(uint32_t number) { return slabs_[number / slab_chunks][number % slab_chunks]; }
  const Chunk& at(uint32_t number) const {
    return slabs_[number / slab_chunks][number % slab_chunks];
  }
  uint64_t memory_bytes() const;

 private:
  static constexpr uint32_t slab_chunks = 1024;
  std::vector<std::unique_ptr<Chunk[]>> slabs_;
  std::vector<uint32_t> free_;
  uint32_t made_ = 0;
};

class Object {
 public:
  static constexpr uint32_t chunk_blocks = ChunkPool::chunk_blocks;
  static constexpr uint32_t chunks_max = limits::blocks_per_object / chunk_blocks;

  // The pool outlives the object.
  Object(ObjectId id_, SetId set_, ChunkPool& pool) : id(id_), set(set_), pool_(pool) {}
  ~Object();
  Object(const Object&) = delete;

  const ObjectId id;
  const SetId set;
  Version changed;  // newest decided write or discard
  Version floor;    // `changed` of the copy that this object was recovered from, while no block or
                    // range says so
  uint64_t tombstone_lsn = 0;    // the oldest log record that ranges and floor need; 0: neither
  uint32_t undecided = 0;        // undecided writes that name this object
  uint32_t tombstone_bytes = 0;  // what ranges and floor take in the log
  uint32_t saved_in = 0;         // the newest saved index that has it, or need not have it

  uint32_t slot(uint32_t block) const {
    const uint32_t chunk = chunks_[block / chunk_blocks];
    if (chunk == no_chunk) return no_slot;
    if ((chunk & run_flag) != 0) return (chunk & ~run_flag) + block % chunk_blocks;
    return pool_.at(chunk)[block % chunk_blocks];
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

  // For a saved index: two bits a chunk, then its slots (saved_index.h), and back: the object was
  // empty. Of each slot visit(slot) is called, soon(slot) some time before.
  struct Chunks {
    uint16_t runs = 0, filled = 0;
  };
  Chunks save_slots(std::vector<uint32_t>& out) const;
  template <class Soon, class Visit>
  void restore_slots(Chunks chunks, Bytes slots, const Soon& soon, const Visit& visit);
  void restore_ranges(std::vector<DiscardRange> ranges) { ranges_ = std::move(ranges); }

  bool is_empty() const { return blocks_used_ == 0 && undecided == 0 && !has_tombstone(); }
  uint64_t memory_bytes() const;  // without its chunks

 private:
  static constexpr uint32_t no_chunk = 0xffff'ffff;
  static constexpr uint32_t run_flag = 0x8000'0000;  // the rest is the slot of its first block
  static constexpr std::array<uint32_t, chunks_max> no_chunks() {
    std::array<uint32_t, chunks_max> chunks{};
    chunks.fill(no_chunk);
    return chunks;
  }
  void join(uint32_t& chunk);

  ChunkPool& pool_;
  std::array<uint32_t, chunks_max> chunks_ = no_chunks();
  std::vector<DiscardRange> ranges_;  // ascending, disjoint
  uint32_t blocks_used_ = 0;
};

template <class Soon, class Visit>
void Object::restore_slots(Chunks saved, Bytes slots, const Soon& soon, const Visit& visit) {
  for (uint32_t at = 0; at < chunks_max; at++) {
    if ((saved.runs >> at & 1) != 0) {
      const auto first = load<uint32_t>(slots);
      slots = slots.subspan(sizeof first);
      chunks_[at] = first | run_flag;
      blocks_used_ += chunk_blocks;
      for (uint32_t i = 0; i < chunk_blocks; i++) visit(first + i);
    } else if ((saved.filled >> at & 1) != 0) {
      chunks_[at] = pool_.make();
      ChunkPool::Chunk& chunk = pool_.at(chunks_[at]);
      chunk = load<ChunkPool::Chunk>(slots);
      slots = slots.subspan(sizeof chunk);
      for (const uint32_t slot : chunk)
        if (slot != no_slot) soon(slot);
      for (const uint32_t slot : chunk) {
        if (slot == no_slot) continue;
        blocks_used_++;
        visit(slot);
      }
    }
  }
}

}  // namespace sp::store
