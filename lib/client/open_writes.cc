#include "client/open_writes.h"

#include <algorithm>

#include "base/assert.h"

namespace sp::client {

bool OpenWrites::overlap(const Entry& entry, const Range& range) {
  return entry.first_block < range.first_block + range.block_count &&
         range.first_block < entry.first_block + entry.block_count;
}

bool OpenWrites::add(uint64_t id, const Range& range) {
  auto& open = by_object_[range.object];
  const auto earlier = std::count_if(open.begin(), open.end(),
                                     [&](const Entry& entry) { return overlap(entry, range); });
  open.push_back({id, range.first_block, range.block_count, static_cast<uint32_t>(earlier)});
  return earlier == 0;
}

std::vector<uint64_t> OpenWrites::remove(uint64_t id, const Range& range) {
  const auto object = by_object_.find(range.object);
  SP_ASSERT(object != by_object_.end());
  auto& open = object->second;
  const auto found =
      std::find_if(open.begin(), open.end(), [&](const Entry& entry) { return entry.id == id; });
  SP_ASSERT(found != open.end());
  std::vector<uint64_t> freed;
  for (auto later = std::next(found); later != open.end(); ++later) {
    if (overlap(*later, range) && --later->waits_for == 0) freed.push_back(later->id);
  }
  open.erase(found);
  if (open.empty()) by_object_.erase(object);
  return freed;
}

}  // namespace sp::client
