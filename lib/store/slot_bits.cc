#include "store/slot_bits.h"

#include <algorithm>
#include <bit>

namespace sp::store {

SlotBits::SlotBits(uint32_t slots, bool set)
    : slots_(slots),
      leaves_((words() + leaf_words - 1) / leaf_words),
      uniform_(leaves_.size(), set) {}

uint32_t SlotBits::slots_of(size_t leaf) const {
  const auto first = static_cast<uint32_t>(leaf * leaf_words * 64);
  return std::min<uint32_t>(slots_ - first, leaf_words * 64);
}

uint64_t SlotBits::uniform_word(size_t index) const {
  if (!uniform_[index / leaf_words]) return 0;
  const uint64_t left = slots_ - std::min<uint64_t>(slots_, uint64_t{index} * 64);
  return left >= 64 ? ~uint64_t{0} : (uint64_t{1} << left) - 1;
}

void SlotBits::put(size_t index, uint64_t word) {
  const size_t at = index / leaf_words;
  auto& leaf = leaves_[at];
  if (!leaf) {
    if (uniform_word(index) == word) return;
    auto made = std::make_unique<Leaf>();
    for (size_t i = 0; i < leaf_words; i++) made->words[i] = uniform_word(at * leaf_words + i);
    made->set = uniform_[at] ? slots_of(at) : 0;
    leaf = std::move(made);
    leaves_made_++;
  }
  uint64_t& place = leaf->words[index % leaf_words];
  leaf->set += static_cast<uint32_t>(std::popcount(word));
  leaf->set -= static_cast<uint32_t>(std::popcount(place));
  place = word;
  if (leaf->set != 0 && leaf->set != slots_of(at)) return;
  uniform_[at] = leaf->set != 0;
  leaf.reset();
  leaves_made_--;
}

uint64_t SlotBits::memory_bytes() const {
  return leaves_made_ * (sizeof(Leaf) + 16) + leaves_.size() * sizeof(leaves_[0]) +
         uniform_.size() / 8;
}

}  // namespace sp::store
