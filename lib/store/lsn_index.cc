#include "store/lsn_index.h"

#include "base/assert.h"

namespace sp::store {

LsnIndex::LsnIndex(uint32_t pages)
    : low_(pages), least_((pages + group_pages - 1) / group_pages, none) {}

void LsnIndex::set(uint32_t page, uint64_t lsn) {
  SP_ASSERT(lsn != 0);
  newest_ = std::max(newest_, lsn);
  if (static_cast<uint32_t>(lsn) == 0) lsn--;
  low_[page] = static_cast<uint32_t>(lsn);
  uint64_t& least = least_[page / group_pages];
  least = std::min(least, lsn);
}

uint64_t LsnIndex::refresh(uint32_t group) const {
  uint64_t least = none;
  const uint32_t first = group * group_pages;
  const auto end = std::min(first + group_pages, static_cast<uint32_t>(low_.size()));
  for (uint32_t page = first; page < end; page++)
    if (low_[page] != 0) least = std::min(least, whole(low_[page]));
  return least_[group] = least;
}

bool LsnIndex::any_before(uint64_t lsn) const {
  for (uint32_t group = 0; group < least_.size(); group++)
    if (least_[group] < lsn && refresh(group) < lsn) return true;
  return false;
}

}  // namespace sp::store
