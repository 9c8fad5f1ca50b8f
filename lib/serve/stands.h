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
  bool any_ghosts(const map::Map& map);
  const std::vector<VolumeId>& children(const map::Map& map, VolumeId ghost);
  void map_changed();

 private:
  void find_ghosts(const map::Map& map);

  std::unordered_map<VolumeId, Stand> known_;
  std::unordered_map<VolumeId, std::vector<VolumeId>> ghosts_;  // with their children
  bool ghosts_known_ = false;
};

}  // namespace sp::serve
