// What an administrator wants of volumes and where their copies go: row types of the map, like
// those in map/map.h. Changed as a whole, and only from what they still are (command
// ChangeTemplate).
#pragma once
#include <cstdint>
#include <set>
#include <string>

#include "base/ids.h"

namespace sp::map {

struct PlacementGroup {
  std::string name;
  std::set<DiskId> disks;
};

struct Limits {  // per volume; 0 = unlimited
  uint64_t iops = 0;
  uint64_t bytes_per_second = 0;
  bool operator==(const Limits&) const = default;
};

struct Template {
  std::string name;
  uint8_t copies = 3;
  uint8_t min_copies = 2;  // fewer in-sync copies: writes wait
  std::string place_all, place_tail,
      place_head;  // placement groups: middle copies, the copy that serves reads, the first
  uint64_t size_bytes = 0;  // default size of its volumes; 0: none
  Limits limits;
  GroupId group = 0;
  bool operator==(const Template&) const = default;
};

}  // namespace sp::map
