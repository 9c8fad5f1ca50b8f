// Versions: which protocols, commands and formats a process speaks. What it is to speak is handed
// down in options, never looked up: so that a test can run processes of an older version beside
// newer ones.
//
// protocol: of connections, chosen by each handshake (wire/handshake.h).
// feature level: of the whole cluster, agreed (map::Cluster::feature_level): commands and rows of a
// higher level are not used before every node supports it and an administrator has raised it.
// disk minor: of the format of disks (disk/superblock.h): what an older minor wrote is read, what a
// newer one wrote is refused.
#pragma once
#include <cstdint>

namespace sp {

struct Versions {
  uint8_t protocol_least = 1, protocol_newest = 3;
  uint32_t feature_level_newest = 3;
  uint16_t disk_minor_newest = 2;
  bool operator==(const Versions&) const = default;
};

}  // namespace sp
