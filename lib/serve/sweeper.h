// Sweeper: gives back what a deleted snapshot holds and nobody can see any more, for the primary of
// one set. A layer that only has children (a ghost, map/lineage.h) loses the blocks that each of
// them has written over or discarded, by ordinary discards, so that all copies lose them.
//
// It goes through the objects that have changed since it last did, a few with each tick; through
// all of them when there are other ghosts, or their children are others, and in a new epoch.
#pragma once
#include <map>

#include "serve/layers.h"
#include "serve/primary.h"

namespace sp::serve {

class Sweeper {
 public:
  explicit Sweeper(Primary& primary) : primary_(primary) {}

  void tick();  // while the primary may decide

 private:
  bool step(ObjectId object);
  std::optional<BlockSet> covered(ObjectId object) const;
  std::optional<BlockSet> hidden(VolumeId ghost, ObjectId known, const BlockSet& by_known) const;
  bool discard(ObjectId object, const BlockSet& blocks);
  size_t room() const;

  Primary& primary_;
  bool running_ = false;
  uint64_t ghosts_ = 0;  // Stands::ghosts_hash
  Version swept_to_, sweeping_to_;
  ObjectId cursor_;
  uint32_t tries_ = 0;                    // of what comes after cursor_
  bool left_out_ = false;                 // an object, of which not all can be known just now
  Version ordered_to_;                    // nothing more before that is decided
  std::map<ObjectId, BlockSet> ordered_;  // discards of their blocks, since then
  io::Instant next_;
};

}  // namespace sp::serve
