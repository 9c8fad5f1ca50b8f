// recoverable: which volumes must make progress now, and why the others need not. A plain function
// over plain facts: what runs, what reaches what, what is damaged, and how the disk sets stand. It
// errs to one side: it says "must" only where nothing excuses a standstill.
//
// A volume must make progress when a majority of the voting beacons that lost nothing (by each
// configuration in the logs of those concerned: who knows the newest one is among any majority of
// the one before), the beacon of its client's node, and for each of its sets enough disks
// (min_copies of where placement wants the copies, and one that holds everything decided) are well
// and reach each other, no block of the set is spoiled on all that hold everything decided and are
// well (another one may have it, and is rightly waited for), and everything else is gone
// altogether: ended, or cut off from all of those. What is half there (a link in one direction, or
// a slow one, a process that stands still, a disk that stalls) excuses, because it may rightly be
// waited for.
#pragma once
#include <map>
#include <set>
#include <string>
#include <vector>

#include "map/map.h"
#include "sim/atlas.h"

namespace sp::sim {

// Well: works as it should. Gone: does not work at all, and everybody can find that out. Neither:
// in between.
enum class Health : uint8_t { well, ailing, gone };

struct NodeFacts {
  NodeId node = 0;
  Health beacon = Health::gone;
  // The voters of the agreement group as its log has them, by nodes whose vote counts: those that
  // vote with another log, or have lost entries, are missing in `able`. Empty: is no voter.
  std::set<NodeId> voters;
  bool able = false;  // its own vote counts
  bool operator==(const NodeFacts&) const = default;
};
struct DiskFacts {
  NodeId node = 0;
  Health health = Health::gone;  // of the disk, and of the server that holds it
  bool operator==(const DiskFacts&) const = default;
};
struct VolumeFacts {
  VolumeId volume = 0;
  NodeId client_node = 0;
  Health client = Health::gone;  // the process that has the volume, or is to have it
  uint64_t client_start = 0;     // another number: another process
  bool operator==(const VolumeFacts&) const = default;
};
struct Situation {
  std::vector<NodeFacts> nodes;            // by id, from 1
  std::vector<std::vector<Health>> links;  // [from - 1][to - 1]
  bool network_well = true;                // links are as the world's options say
  std::map<DiskId, DiskFacts> disks;
  std::map<DiskId, std::set<Atlas::Mark>> spoiled;  // blocks
  std::vector<VolumeFacts> volumes;
  const map::Map* map = nullptr;  // the newest agreed
  uint64_t map_index = 0;         // of it
  // The same verdicts: what is agreed at one index is one thing, whose ever copy of it this is.
  bool same_as(const Situation& other) const {
    return nodes == other.nodes && links == other.links && network_well == other.network_well &&
           disks == other.disks && spoiled == other.spoiled && volumes == other.volumes &&
           (map == nullptr) == (other.map == nullptr) && map_index == other.map_index;
  }
};

struct Verdict {
  VolumeId volume = 0;
  std::string excuse;   // why it need not make progress; empty: it must
  std::string grounds;  // who has to do it; another text: the situation is another one
};

std::vector<Verdict> recoverable(const Situation& situation);

}  // namespace sp::sim
