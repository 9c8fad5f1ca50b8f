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

SlotBits::Leaf& SlotBits::make_leaf(size_t at) {
  auto made = std::make_unique<Leaf>();
  for (size_t i = 0; i < leaf_words; i++) made->words[i] = uniform_word(at * leaf_words + i);
  made->set = uniform_[at] ? slots_of(at) : 0;
  leaves_[at] = std::move(made);
  leaves_made_++;
  return *leaves_[at];
}

bool SlotBits::set_clear(uint32_t slot) {
  const size_t at = slot / 64 / leaf_words;
  Leaf* leaf = leaves_[at].get();
  if (leaf == nullptr) {
    if (uniform_[at]) return false;
    leaf = &make_leaf(at);
  }
  uint64_t& word = leaf->words[slot / 64 % leaf_words];
  if ((word & bit(slot)) != 0) return false;
  word |= bit(slot);
  if (++leaf->set != slots_of(at)) return true;
  uniform_[at] = true;
  leaves_[at].reset();
  leaves_made_--;
  return true;
}

uint32_t SlotBits::count() const {
  uint32_t set = 0;
  for (size_t at = 0; at < leaves_.size(); at++)
    set += leaves_[at] ? leaves_[at]->set : uniform_[at] ? slots_of(at) : 0;
  return set;
}

SlotBits SlotBits::complement() const {
  SlotBits out(slots_);
  for (size_t at = 0; at < leaves_.size(); at++) {
    out.uniform_[at] = !uniform_[at];
    if (!leaves_[at]) continue;
    Leaf& leaf = out.make_leaf(at);
    for (size_t i = 0; i < leaf_words; i++) {
      const uint64_t left =
          slots_ - std::min<uint64_t>(slots_, (uint64_t{at} * leaf_words + i) * 64);
      const uint64_t all = left >= 64 ? ~uint64_t{0} : (uint64_t{1} << left) - 1;
      leaf.words[i] = ~leaves_[at]->words[i] & all;
    }
    leaf.set = slots_of(at) - leaves_[at]->set;
  }
  return out;
}

void SlotBits::put(size_t index, uint64_t word) {
  const size_t at = index / leaf_words;
  auto& leaf = leaves_[at];
  if (!leaf) {
    if (uniform_word(index) == word) return;
    make_leaf(at);
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
