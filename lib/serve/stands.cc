#include "serve/stands.h"

#include "base/assert.h"

namespace sp::serve {

const Stand& Stands::of(const map::Map& map, VolumeId volume) {
  const auto [found, made] = known_.try_emplace(volume);
  if (made) {
    found->second.layer = map::layer_of(map, volume);
    found->second.below = map::chain_of(map, map::parent_of(map, found->second.layer));
  }
  return found->second;
}

bool Stands::any_ghosts(const map::Map& map) {
  find_ghosts(map);
  return !ghosts_.empty();
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
  for (const auto& [id, layer] : map.layers)
    if (layer.parent != 0 && map::is_ghost(map, layer.parent)) ghosts_[layer.parent].push_back(id);
}

}  // namespace sp::serve
