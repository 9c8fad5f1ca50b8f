// Space: how much the disks of other servers will still take, for the primaries of this one.
//
// A write that a copy has no room for must not be ordered: it could not be decided, nor taken back.
// So each copy says with its answers how many blocks it will still take (less a reserve, as several
// primaries may write to it), and what is on its way there counts against that. Plain values.
#pragma once
#include <algorithm>
#include <map>

#include "base/ids.h"
#include "base/limits.h"
#include "io/clock.h"

namespace sp::serve {

class Space {
 public:
  enum class Room : uint8_t { enough, full, unknown };

  void told(DiskId disk, uint64_t blocks_free, io::Instant now) {
    Disk& d = disks_[disk];
    d.blocks_free = blocks_free;
    d.known = true;
    d.asking = false;
    d.told_at = now;
  }
  void sent(DiskId disk, uint64_t blocks) { disks_[disk].on_the_way += blocks; }
  void ended(DiskId disk, uint64_t blocks) {
    Disk& d = disks_[disk];
    d.on_the_way -= std::min(d.on_the_way, blocks);
  }
  // `unknown`: it has to be asked, as the answer is missing or too old for a refusal.
  Room room(DiskId disk, uint64_t blocks, io::Instant now) const {
    const auto found = disks_.find(disk);
    if (found == disks_.end() || !found->second.known) return Room::unknown;
    const Disk& d = found->second;
    if (d.blocks_free >= d.on_the_way + blocks) return Room::enough;
    return now - d.told_at < limits::space_known_for ? Room::full : Room::unknown;
  }
  // True once until there is an answer, or it does not come.
  bool may_ask(DiskId disk, io::Instant now) {
    Disk& d = disks_[disk];
    if (d.asking && now - d.asked_at < limits::copy_timeout) return false;
    d.asking = true;
    d.asked_at = now;
    return true;
  }
  // Disks with little room, or not heard of for long: others may have filled them meanwhile.
  template <class F>
  void each_doubtful(io::Instant now, F&& visit) const {
    for (const auto& [id, d] : disks_) {
      const auto good_for = d.blocks_free < limits::space_low_blocks ? limits::space_low_known_for
                                                                     : limits::space_high_known_for;
      if (d.known && now - d.told_at >= good_for) visit(id);
    }
  }

 private:
  struct Disk {
    uint64_t blocks_free = 0, on_the_way = 0;
    bool known = false, asking = false;
    io::Instant told_at, asked_at;
  };
  std::map<DiskId, Disk> disks_;
};

}  // namespace sp::serve
