#include "store/entry_batch.h"

#include <array>

#include "base/checksum.h"

namespace sp::store {

// A counting sort by a few bits of the object's hash.
const std::vector<EntryBatch::Item>& EntryBatch::take() {
  const auto bucket_of = [](const Item& item) {
    return mix64(item.entry.object_id().packed()) >> (64 - bucket_bits);
  };
  std::array<uint32_t, (1 << bucket_bits) + 1> starts{};
  for (const Item& item : items_) starts[bucket_of(item) + 1]++;
  for (size_t i = 1; i < starts.size(); i++) starts[i] += starts[i - 1];
  sorted_.resize(items_.size());
  for (const Item& item : items_) sorted_[starts[bucket_of(item)]++] = item;
  items_.clear();
  return sorted_;
}

}  // namespace sp::store
