// Placement: which disks hold which set, computed from disks, weights and fault sets alone (no
// state, no randomness beyond hashes of ids), so that anyone can recompute it. Shares within 2 % of
// weight at 256 sets and more; copies in different fault sets; the least data moved when disks come
// and go.
#pragma once
#include <string>
#include <vector>

#include "base/ids.h"

namespace sp::map {

struct PlacementDisk {
  DiskId id = 0;
  uint64_t weight = 0;  // capacity in bytes; 0 is never placed on
  NodeId node = 0;
  std::string fault_set;  // never empty here: the node's own name when it has none
};

struct PlacementRequest {
  uint32_t set_count = 0;  // power of two
  uint32_t copies = 3;
  GroupId group = 0;                // seeds the hashes
  std::vector<PlacementDisk> all;   // candidates of the middle copies
  std::vector<PlacementDisk> tail;  // candidates of the copy that serves reads (the primary)
  std::vector<PlacementDisk> head;  // candidates of the first copy
  std::vector<std::vector<DiskId>>
      current;  // the placement now, or empty: moves are kept to the least needed
};

struct PlacementResult {
  std::vector<std::vector<DiskId>>
      sets;  // by index; [0] is the primary; fewer than `copies` when there are too few disks
  std::string warning;  // degraded: too few fault sets, nodes or disks; empty when all is well
};

PlacementResult place(const PlacementRequest& request);

}  // namespace sp::map
