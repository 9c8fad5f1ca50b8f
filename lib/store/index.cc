#include "store/index.h"

#include <algorithm>

namespace sp::store {

uint32_t ChunkPool::make() {
  if (!free_.empty()) {
    const uint32_t number = free_.back();
    free_.pop_back();
    return number;
  }
  if (made_ % slab_chunks == 0)
    slabs_.push_back(std::make_unique_for_overwrite<Chunk[]>(slab_chunks));
  return made_++;
}

uint64_t ChunkPool::memory_bytes() const {
  return slabs_.size() * slab_chunks * sizeof(Chunk) + free_.capacity() * 4;
}

Object::~Object() {
  for (const uint32_t chunk : chunks_)
    if ((chunk & run_flag) == 0) pool_.give_back(chunk);
}

void Object::set_slot(uint32_t block, uint32_t slot) {
  const uint32_t before = this->slot(block);
  if (before == slot) return;
  if (before == no_slot) blocks_used_++;
  if (slot == no_slot) blocks_used_--;
  uint32_t& chunk = chunks_[block / chunk_blocks];
  if (chunk == no_chunk || (chunk & run_flag) != 0) {
    const uint32_t made = pool_.make();
    ChunkPool::Chunk& slots = pool_.at(made);
    for (uint32_t i = 0; i < chunk_blocks; i++)
      slots[i] = chunk == no_chunk ? no_slot : (chunk & ~run_flag) + i;
    chunk = made;
  }
  ChunkPool::Chunk& slots = pool_.at(chunk);
  slots[block % chunk_blocks] = slot;
  if (slot == no_slot &&
      std::all_of(slots.begin(), slots.end(), [](uint32_t held) { return held == no_slot; })) {
    pool_.give_back(chunk);
    chunk = no_chunk;
  } else if (block % chunk_blocks == chunk_blocks - 1) {
    join(chunk);
  }
}

// What is written from front to back lies in a row when its last block comes.
void Object::join(uint32_t& chunk) {
  const ChunkPool::Chunk& slots = pool_.at(chunk);
  const uint32_t first = slots[0];
  if (first >= run_flag - chunk_blocks) return;
  for (uint32_t i = 1; i < chunk_blocks; i++)
    if (slots[i] != first + i) return;
  pool_.give_back(chunk);
  chunk = first | run_flag;
}

Object::Chunks Object::save_slots(std::vector<uint32_t>& out) const {
  Chunks saved;
  for (uint32_t at = 0; at < chunks_max; at++) {
    const uint32_t chunk = chunks_[at];
    if (chunk == no_chunk) continue;
    if ((chunk & run_flag) != 0) {
      saved.runs |= static_cast<uint16_t>(1u << at);
      out.push_back(chunk & ~run_flag);
    } else {
      saved.filled |= static_cast<uint16_t>(1u << at);
      const ChunkPool::Chunk& slots = pool_.at(chunk);
      out.insert(out.end(), slots.begin(), slots.end());
    }
  }
  return saved;
}

uint32_t Object::next_used(uint32_t from) const {
  for (uint32_t block = from; block < limits::blocks_per_object;) {
    if (chunks_[block / chunk_blocks] == no_chunk) {
      block = (block / chunk_blocks + 1) * chunk_blocks;
      continue;
    }
    if (slot(block) != no_slot) return block;
    block++;
  }
  return limits::blocks_per_object;
}

Version Object::discarded(uint32_t block) const {
  auto after = std::upper_bound(
      ranges_.begin(), ranges_.end(), block,
      [](uint32_t value, const DiscardRange& range) { return value < range.first; });
  if (after == ranges_.begin()) return {};
  const DiscardRange& range = *std::prev(after);
  return block < range.end() ? range.version : Version{};
}

void Object::add_range(uint32_t first, uint32_t count, Version version) {
  // Rebuilt from its pieces: where two overlap, the newer stays. At most one range per block, so
  // this is bounded.
  std::vector<DiscardRange> out;
  out.reserve(ranges_.size() + 2);
  const auto append = [&out](uint32_t from, uint32_t to, Version v) {
    if (from >= to) return;
    if (!out.empty() && out.back().end() == from && out.back().version == v)
      out.back().count = static_cast<uint16_t>(out.back().count + (to - from));
    else
      out.push_back({static_cast<uint16_t>(from), static_cast<uint16_t>(to - from), v});
  };
  uint32_t at = first;  // everything of the new range before here is in `out`
  const uint32_t end = first + count;
  for (const DiscardRange& range : ranges_) {
    if (range.end() > first) {
      const uint32_t low = std::clamp<uint32_t>(range.first, first, end);
      const uint32_t high = std::clamp<uint32_t>(range.end(), first, end);
      append(range.first, std::min(range.end(), first), range.version);
      append(at, low, version);
      append(low, high, std::max(version, range.version));
      at = std::max(at, high);
      append(std::max<uint32_t>(range.first, end), range.end(), range.version);
    } else {
      append(range.first, range.end(), range.version);
    }
  }
  append(at, end, version);
  ranges_ = std::move(out);
}

void Object::forget_ranges(Version passed) {
  std::erase_if(ranges_, [passed](const DiscardRange& range) { return range.version <= passed; });
  if (floor <= passed) floor = Version{};
}

uint64_t Object::memory_bytes() const {
  return sizeof(Object) + ranges_.capacity() * sizeof(DiscardRange);
}

}  // namespace sp::store
