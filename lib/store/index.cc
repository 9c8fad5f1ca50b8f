#include "store/index.h"

#include <algorithm>

namespace sp::store {

void Object::set_slot(uint32_t block, uint32_t slot) {
  auto& chunk = chunks_[block / chunk_blocks];
  if (!chunk) {
    if (slot == no_slot) return;
    chunk = std::make_unique<Chunk>();
    chunk->fill(no_slot);
  }
  uint32_t& place = (*chunk)[block % chunk_blocks];
  if (place == no_slot && slot != no_slot) blocks_used_++;
  if (place != no_slot && slot == no_slot) blocks_used_--;
  place = slot;
  if (slot == no_slot &&
      std::all_of(chunk->begin(), chunk->end(), [](uint32_t s) { return s == no_slot; }))
    chunk.reset();
}

uint32_t Object::next_used(uint32_t from) const {
  for (uint32_t block = from; block < limits::blocks_per_object;) {
    if (!chunks_[block / chunk_blocks]) {
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
  uint64_t bytes = sizeof(Object) + ranges_.capacity() * sizeof(DiscardRange);
  for (const auto& chunk : chunks_)
    if (chunk) bytes += sizeof(Chunk);
  return bytes;
}

}  // namespace sp::store
