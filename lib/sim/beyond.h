// Beyond: a cluster that has settled loses more copies than it may, and has to say exactly what is
// lost, and never anything wrong:
//  - All disks of a set at the same moment, wiped, or dead and replaced by empty ones under their
//  ids. A set is lost when all of its complete copies were on these. Lost sets are served by
//  nobody, and the disk that held the last copy is refused, named as lost with the number of its
//  lost sets. All other sets get all of their copies back, and are read and written.
//  - All copies of one block, damaged. It answers with Code::damaged until it is written, all
//  others with their content; meanwhile a disk is lost, too, and gets all of its copies back.
// Blocks that had decayed before on the copies that remain are named just so; where a disk of the
// set is refused, which may yet come back with them, they are waited for. For work that writes
// stamps. Thread rule: the world's.
#pragma once
#include <functional>
#include <set>
#include <string>

#include "io/random.h"
#include "sim/cluster.h"

namespace sp::sim {

class Beyond {
 public:
  // Lets the world run until the predicate holds, or for so long; false: something was wrong on the
  // way, or it did not come to hold.
  using Advance = std::function<bool(const std::function<bool()>& reached, io::Duration limit)>;
  Beyond(Cluster& cluster, uint64_t seed, Advance advance);

  // What is wrong, or nothing. `destroyed`: nothing can be compared any more.
  std::string execute();
  bool destroyed() const { return destroyed_; }

 private:
  std::string lose_disks(bool dead);
  bool work_ended() const;
  void replace(DiskId disk, bool dead);
  std::string unreported() const;
  std::string unreported(const map::Map& map, const map::DiskSet& row) const;
  std::string unreported_disk(const map::Map& map, DiskId disk) const;
  std::string read_back(bool all, const std::set<BlockKey>& damaged, bool writes);
  std::string damage_block();
  bool damage_copies(BlockKey block);
  bool is_sound(DiskId disk, BlockKey block) const;
  const map::DiskSet& set_of(BlockKey block) const;
  // Blocks of sets that live on, whose copies on other disks than these are all damaged.
  std::set<BlockKey> damaged_without(const std::set<DiskId>& gone) const;

  Cluster& cluster_;
  io::SeededRandom draws_;
  Advance advance_;
  bool destroyed_ = false;
  std::set<DiskId> hit_;
  std::set<SetId> lost_;
};

}  // namespace sp::sim
