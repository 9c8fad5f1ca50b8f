#include "map/map.h"

#include <charconv>

#include "base/assert.h"
#include "base/checksum.h"

namespace sp::map {

uint64_t Volume::end() const {
  return (size_bytes + limits::block_bytes - 1) / limits::block_bytes * limits::block_bytes;
}

const Volume* Map::find_volume(std::string_view name) const {
  if (name.starts_with('~')) {
    VolumeId id = 0;
    const auto [end, error] = std::from_chars(name.data() + 1, name.data() + name.size(), id);
    if (error != std::errc{} || end != name.data() + name.size()) return nullptr;
    const auto found = volumes.find(id);
    return found == volumes.end() ? nullptr : &found->second;
  }
  for (const auto& [id, volume] : volumes)
    if (volume.name == name) return &volume;
  return nullptr;
}

const Service* Map::server_of(DiskId disk) const {
  const auto found = disks.find(disk);
  if (found == disks.end()) return nullptr;
  const auto server = services.find(found->second.server);
  return server == services.end() ? nullptr : &server->second;
}

bool Map::disk_serves(DiskId disk) const {
  const auto found = disks.find(disk);
  if (found == disks.end() || !found->second.up) return false;
  const Service* server = server_of(disk);
  return server != nullptr && server->up;
}

const Attachment* Map::attachment(VolumeId volume, ClientId client) const {
  const auto found = attachments.find({volume, client});
  return found == attachments.end() ? nullptr : &found->second;
}

bool Map::is_deleted(VolumeId layer) const {
  const VolumeId id = layer_of_holes(layer);
  if (id > cluster.volume_last || layers.count(id) != 0) return false;
  return volumes.count(id) == 0 || layer_of(*this, id) != id;
}

// The root volume's id is mixed, so that the first objects of volumes are spread over the sets; the
// following objects take the following sets.
SetId set_of(const Map& map, const Volume& volume, uint32_t object_index) {
  const auto group = map.groups.find(volume.group);
  SP_ASSERT(group != map.groups.end());
  const uint32_t set_count = group->second.set_count;
  SP_ASSERT(set_count > 0 && (set_count & (set_count - 1)) == 0);
  const uint64_t position = mix64(volume.root) + object_index;
  return {volume.group, static_cast<uint16_t>(position & (set_count - 1))};
}

}  // namespace sp::map
