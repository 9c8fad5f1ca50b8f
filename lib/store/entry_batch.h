// EntryBatch: table entries, given on object by object. A table has its entries in the order of
// slots, and of a disk that was written in random order each belongs to another object: the index
// of a large disk would be built with a cache miss at every step. Pure memory.
#pragma once
#include <cstdint>
#include <vector>

#include "store/table_pages.h"

namespace sp::store {

class EntryBatch {
 public:
  struct Item {
    uint32_t slot;
    Descriptor entry;
  };

  void add(uint32_t slot, const Descriptor& entry) { items_.push_back({slot, entry}); }
  bool is_full() const { return items_.size() >= items_max; }
  // All that was added, those of an object close together; empty afterwards.
  const std::vector<Item>& take();

 private:
  static constexpr size_t items_max = 1 << 20;  // twice 40 MiB, while a disk is opened
  static constexpr uint32_t bucket_bits = 12;

  std::vector<Item> items_, sorted_;
};

}  // namespace sp::store
