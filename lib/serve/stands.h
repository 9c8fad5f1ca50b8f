// Stands: on which layers the volumes of a map stand (map/lineage.h), found once and remembered
// until the map says something new of layers. Thread rule: one reactor.
#pragma once
#include <unordered_map>
#include <vector>

#include "map/map.h"

namespace sp::serve {

struct Stand {
  VolumeId layer = 0;           // where the volume's newest content is
  std::vector<VolumeId> below;  // its parent, the parent of that, and so on
};

class Stands {
 public:
  // What is returned is valid until the map changes.
  const Stand& of(const map::Map& map, VolumeId volume);
  // Of all ghosts and their children; 0: there are none.
  uint64_t ghosts_hash(const map::Map& map);
  const std::vector<VolumeId>& children(const map::Map& map, VolumeId ghost);
  void map_changed();

 private:
  void find_ghosts(const map::Map& map);

  std::unordered_map<VolumeId, Stand> known_;
  std::unordered_map<VolumeId, std::vector<VolumeId>> ghosts_;  // with their children
  uint64_t ghosts_hash_ = 0;
  bool ghosts_known_ = false;
};

}  // namespace sp::serve
