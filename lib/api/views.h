// Views: rows of the map as the objects that sp-api(7) describes, and what follows from the rows of
// disk sets about volumes.
#pragma once
#include <cstdint>
#include <map>
#include <set>
#include <string>
#include <vector>

#include "api/value.h"
#include "map/map.h"

namespace sp::api {

// The number by which clients know a server: node + 1000 * (instance - 1).
uint32_t server_number(ServiceId id);

uint64_t objects_of(const map::Volume& volume);
void put_limits(Json& json, const map::Limits& limits);  // bw, iops, limitType
std::string_view policy_group(const std::string& name,
                              const map::Template& row);  // placeAll where a place is not set

// What a disk set is doing.
struct SetState {
  bool serves = false;      // its primary is up and the epoch is activated
  bool soon = false;        // not yet, but its primary is up
  bool degraded = false;    // fewer complete copies than the template wants
  bool migrating = false;   // a complete copy is not where placement wants it
  bool recovering = false;  // a copy is being brought up to date
  const map::DiskSet* set = nullptr;
};
SetState state_of(const map::Map& map, const map::DiskSet& set, uint32_t copies);

// The sets of all groups, looked at once; then each volume costs as little as its number of sets.
class SetStates {
 public:
  explicit SetStates(const map::Map& map);

  struct Summary {
    uint64_t objects = 0, down = 0, soon = 0, degraded = 0, migrating = 0,
             recovering = 0;                // objects of the volume
    std::set<DiskId> down_disks;            // not serving, of its sets
    std::set<DiskId> missing_disks;         // that sets which do not serve wait for
    std::set<DiskId> missing_target_disks;  // wanted by placement, not serving
  };
  Summary of(const map::Volume& volume) const;
  const std::vector<SetState>& group(GroupId group) const;

 private:
  const map::Map& map_;
  std::map<GroupId, std::vector<SetState>> groups_;
};

// The snapshots that volumes and snapshots stand on, looked up once for all that an answer shows.
class Parents {
 public:
  explicit Parents(const map::Map& map);
  // The nearest one that there is, by the name that clients use; empty: none.
  std::string of(VolumeId volume) const;

 private:
  const map::Map& map_;
  std::map<VolumeId, const map::Volume*> snapshots_;  // by layer
};

// Members that all descriptions of a volume share (those of VolumeSummary), into an open object; of
// a snapshot those of SnapshotSummary.
void put_volume(Json& json, const map::Map& map, const Parents& parents, const map::Volume& volume);
// Whether clients are told of it: a volume, or a snapshot that was taken.
bool is_shown(const map::Map& map, VolumeId volume);
// Calls `each(disk set, number of objects of the volume on it)` in order of the sets.
template <class Function>
void for_each_set(const map::Map& map, const map::Volume& volume, Function each);

// Implementation.
template <class Function>
void for_each_set(const map::Map& map, const map::Volume& volume, Function each) {
  const auto group = map.groups.find(volume.group);
  if (group == map.groups.end()) return;
  const uint64_t count = group->second.set_count, objects = objects_of(volume);
  if (objects == 0 || count == 0) return;
  const uint64_t first = map::set_of(map, volume, 0).index;  // object i: (first + i) mod count
  for (uint64_t index = 0; index < count; ++index) {
    const uint64_t distance = (index + count - first) % count;
    if (distance < objects)
      each(static_cast<uint16_t>(index), (objects - distance - 1) / count + 1);
  }
}

}  // namespace sp::api
