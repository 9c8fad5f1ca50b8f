// Commands about snapshots and what is made of them, from feature level 3 on; as those in
// map/command.h. What layers and cuts are: map/lineage.h.
#pragma once
#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "base/ids.h"
#include "map/template.h"

namespace sp::map {

// Opens a cut through these volumes, whose snapshots are there at once and can be
// used when it was closed.
struct OpenCut {
  struct Item {
    VolumeId volume = 0;
    std::string name;  // of the snapshot
    std::map<std::string, std::string> tags;
    int64_t delete_at_s = 0;
  };
  std::vector<Item> items;
  int64_t created_ms = 0;
};
// By the leading beacon. `taken`: no server has ordered a write of the volumes since that is not
// decided, and all hold newer ones; else the snapshots go again. Whichever is applied first counts.
struct CloseCut {
  VolumeId cut = 0;
  bool taken = false;
};
struct CloneVolume {
  VolumeId snapshot = 0;
  std::string name;
  uint64_t size_bytes = 0;  // 0: as the snapshot; never smaller
  Limits limits;
  std::map<std::string, std::string> tags;
  int64_t created_ms = 0;
};
// The content becomes that of the snapshot, which is one of the same root. Refused while attached.
struct RevertVolume {
  VolumeId volume = 0;
  VolumeId snapshot = 0;
};
struct UpdateSnapshot {
  VolumeId snapshot = 0;
  int64_t delete_at_s = 0;
};  // 0: not by itself

}  // namespace sp::map
