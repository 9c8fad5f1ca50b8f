// SlotBits: a bit for each slot of a disk, in leaves of 4096. A leaf whose bits are all alike takes
// no memory, as on a disk that is written from front to back. Pure memory.
#pragma once
#include <array>
#include <cstdint>
#include <memory>
#include <vector>

namespace sp::store {

class SlotBits {
 public:
  // All clear, or all set.
  explicit SlotBits(uint32_t slots, bool set = false);

  bool test(uint32_t slot) const { return (word(slot / 64) >> (slot % 64) & 1) != 0; }
  void set(uint32_t slot) { put(slot / 64, word(slot / 64) | bit(slot)); }
  bool set_clear(uint32_t slot);  // false: it was set
  void clear(uint32_t slot) { put(slot / 64, word(slot / 64) & ~bit(slot)); }
  void prefetch(uint32_t slot) const {
    if (const Leaf* const leaf = leaves_[slot / 64 / leaf_words].get())
      __builtin_prefetch(&leaf->words[slot / 64 % leaf_words], 1);
  }
  // 64 slots at a time. Bits behind the last slot are clear.
  uint64_t word(size_t index) const {
    const Leaf* const leaf = leaves_[index / leaf_words].get();
    return leaf != nullptr ? leaf->words[index % leaf_words] : uniform_word(index);
  }
  size_t words() const { return (size_t{slots_} + 63) / 64; }
  uint32_t count() const;       // of those that are set
  SlotBits complement() const;  // set where these are clear
  uint64_t memory_bytes() const;

 private:
  static constexpr size_t leaf_words = 64;
  struct Leaf {
    std::array<uint64_t, leaf_words> words;
    uint32_t set = 0;  // bits
  };
  static uint64_t bit(uint32_t slot) { return uint64_t{1} << (slot % 64); }
  uint64_t uniform_word(size_t index) const;
  uint32_t slots_of(size_t leaf) const;
  void put(size_t index, uint64_t word);
  Leaf& make_leaf(size_t at);

  uint32_t slots_;
  std::vector<std::unique_ptr<Leaf>> leaves_;  // null: all its bits are as uniform_ says
  std::vector<bool> uniform_;
  uint64_t leaves_made_ = 0;
};

}  // namespace sp::store
