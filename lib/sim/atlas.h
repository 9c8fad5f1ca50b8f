// Atlas: which copies in a simulated cluster carry lasting damage, and what more may be hit so that
// promise 2 still binds: of everything acknowledged a valid copy remains. A valid copy of a block
// is a disk in base of its set that is not lost and whose block is not spoiled. Of the voting
// beacons a majority must have kept its log.
//
// Everything that damages for good asks here first and says what it did. Judged by the newest rows
// that `observe` was given: the caller sees to it that there are no newer ones. Plain values.
#pragma once
#include <map>
#include <set>
#include <vector>

#include "map/map.h"

namespace sp::sim {

class Atlas {
 public:
  struct Mark {
    SetId set;
    ObjectId object;
    uint16_t block = 0;
    uint64_t device_offset = 0;  // 0: it may be damaged there, wherever it is
    auto operator<=>(const Mark&) const = default;
  };

  void observe(const map::Map& map);
  uint64_t observed_index() const { return index_; }

  bool may_spoil(DiskId disk, SetId set, ObjectId object, uint16_t block) const;
  bool may_lose(DiskId disk) const;  // all that it holds
  // The same, while it goes on as if nothing were: it counts among the copies that a write needs,
  // so one of these has to be another. Else base may come to consist of such disks.
  bool may_doubt(DiskId disk) const;
  // Of some set the only complete copy: no other disk is taken for it under its id.
  bool is_only_copy(DiskId disk) const;
  // All of its sets are led by others, complete and sound.
  bool has_company(DiskId disk) const;
  // Some block is spoiled on all that are complete and sound: the one with a valid copy was away
  // for so long that the set went on without it, and left it. Nobody promises that block then.
  bool some_block_is_bare() const;
  bool may_lose_log(NodeId node) const;
  bool is_lost(DiskId disk) const { return lost_.contains(disk); }
  bool has_lost_log(NodeId node) const { return logs_.contains(node); }

  void spoil(DiskId disk, const Mark& mark) { marks_[disk].insert(mark); }
  void mend(DiskId disk, const Mark& mark) { marks_[disk].erase(mark); }
  const std::set<Mark>& marks(DiskId disk) { return marks_[disk]; }
  const std::map<DiskId, std::set<Mark>>& all_marks() const { return marks_; }
  // Its content is gone, or no part of it can be relied on.
  void lose(DiskId disk) { lost_[disk] = 0; }
  void find_sound(DiskId disk) { lost_.erase(disk); }  // what was doubted of it is overwritten
  // An empty one, or the right one again, is under its id now. It is lost until the map knows it.
  void replace(DiskId disk, uint64_t uuid);
  void lose_log(NodeId node) { logs_.insert(node); }
  void log_is_back(NodeId node) { logs_.erase(node); }  // votes again

 private:
  using Block = std::pair<ObjectId, uint16_t>;
  void doubt_newcomers(const std::vector<DiskId>& newcomers, SetId set);
  std::vector<DiskId> sound(const map::DiskSet& set, DiskId but) const;
  bool spoiled(DiskId disk, SetId set, const Block& block) const;

  uint64_t index_ = 0;
  std::map<SetId, map::DiskSet> sets_;
  std::map<GroupId, uint32_t> min_copies_;
  uint32_t voters_ = 0;
  std::map<DiskId, std::set<Mark>> marks_;
  std::map<DiskId, uint64_t> lost_;  // and the uuid of what is under its id now, 0: itself
  std::set<DiskId> known_;           // were in the map at some time
  std::map<DiskId, uint64_t> uuids_;
  std::set<NodeId> logs_;
};

}  // namespace sp::sim
