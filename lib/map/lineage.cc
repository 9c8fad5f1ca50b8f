#include "map/lineage.h"

#include "map/map.h"

namespace sp::map {

VolumeId layer_of(const Map& map, VolumeId volume) {
  const auto found = map.lineages.find(volume);
  return found == map.lineages.end() ? volume : found->second.layer;
}

VolumeId parent_of(const Map& map, VolumeId layer) {
  const auto found = map.layers.find(layer);
  return found == map.layers.end() ? 0 : found->second.parent;
}

VolumeId writer_of(const Map& map, VolumeId layer) {
  const auto found = map.layers.find(layer_of_holes(layer));
  return found == map.layers.end() ? layer_of_holes(layer) : found->second.writer;
}

bool is_ghost(const Map& map, VolumeId layer) {
  const auto found = map.layers.find(layer);
  return found != map.layers.end() && found->second.holders == 0;
}

bool is_snapshot(const Map& map, VolumeId volume) {
  const auto found = map.lineages.find(volume);
  return found != map.lineages.end() && found->second.frozen;
}

bool in_open_cut(const Map& map, VolumeId volume) {
  const auto found = map.lineages.find(volume);
  return found != map.lineages.end() && found->second.cut != 0;
}

std::vector<VolumeId> chain_of(const Map& map, VolumeId layer) {
  std::vector<VolumeId> chain;
  for (; layer != 0; layer = parent_of(map, layer)) chain.push_back(layer);
  return chain;
}

}  // namespace sp::map
