#include "serve/stands.h"

#include "base/assert.h"
#include "base/checksum.h"

namespace sp::serve {

const Stand& Stands::of(const map::Map& map, VolumeId volume) {
  const auto [found, made] = known_.try_emplace(volume);
  if (made) {
    found->second.layer = map::layer_of(map, volume);
    found->second.below = map::chain_of(map, map::parent_of(map, found->second.layer));
  }
  return found->second;
}

uint64_t Stands::ghosts_hash(const map::Map& map) {
  find_ghosts(map);
  return ghosts_hash_;
}

const std::vector<VolumeId>& Stands::children(const map::Map& map, VolumeId ghost) {
  find_ghosts(map);
  const auto found = ghosts_.find(ghost);
  SP_ASSERT(found != ghosts_.end());
  return found->second;
}

void Stands::map_changed() {
  known_.clear();
  ghosts_.clear();
  ghosts_known_ = false;
}

void Stands::find_ghosts(const map::Map& map) {
  if (std::exchange(ghosts_known_, true)) return;
  ghosts_hash_ = 0;
  for (const auto& [id, layer] : map.layers) {
    if (layer.parent == 0 || !map::is_ghost(map, layer.parent)) continue;
    ghosts_[layer.parent].push_back(id);
    ghosts_hash_ += mix64(uint64_t{layer.parent} << 32 | id);
  }
  if (ghosts_hash_ == 0 && !ghosts_.empty()) ghosts_hash_ = 1;
}

}  // namespace sp::serve
