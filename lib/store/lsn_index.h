// LsnIndex: for each table page the oldest log page that it still needs, or none. Four bytes a
// page: lsns that are kept at one time lie within 2^32 of each other, as the log does. What is
// older than a given lsn is found group by group, without a look at groups that have nothing so
// old. Pure memory.
#pragma once
#include <algorithm>
#include <cstdint>
#include <vector>

namespace sp::store {

class LsnIndex {
 public:
  explicit LsnIndex(uint32_t pages);

  uint64_t at(uint32_t page) const { return low_[page] == 0 ? 0 : whole(low_[page]); }  // 0: none
  // One that is a multiple of 2^32 is kept as the one before it: as older than it is.
  void set(uint32_t page, uint64_t lsn);
  void clear(uint32_t page) { low_[page] = 0; }
  bool any_before(uint64_t lsn) const;
  // Calls visit(page, lsn) for all before `lsn`, ascending by page, until it says false. `visit`
  // must not change anything here.
  template <class Visit>
  void for_each_before(uint64_t lsn, const Visit& visit) const {
    for (uint32_t group = 0; group < least_.size(); group++) {
      if (least_[group] >= lsn || refresh(group) >= lsn) continue;
      const uint32_t first = group * group_pages;
      const auto end = std::min(first + group_pages, static_cast<uint32_t>(low_.size()));
      for (uint32_t page = first; page < end; page++)
        if (low_[page] != 0 && whole(low_[page]) < lsn && !visit(page, whole(low_[page]))) return;
    }
  }
  uint64_t memory_bytes() const { return low_.size() * 4 + least_.size() * 8; }

 private:
  static constexpr uint32_t group_pages = 256;
  static constexpr uint64_t none = ~uint64_t{0};
  uint64_t whole(uint32_t low) const { return newest_ - uint32_t(uint32_t(newest_) - low); }
  uint64_t refresh(uint32_t group) const;  // the least of its lsns, found anew

  std::vector<uint32_t> low_;            // the lower half of the lsn; 0: none
  mutable std::vector<uint64_t> least_;  // per group: no more than the least of it
  uint64_t newest_ = 0;
};

}  // namespace sp::store
