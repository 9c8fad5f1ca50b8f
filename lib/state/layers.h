// The layers of volumes and snapshots (map/lineage.h) while a command is applied. Rows of layers
// count who has them, so that a layer that nobody needs goes with the last one that did.
#pragma once
#include <string>

#include "base/result.h"
#include "state/draft.h"

namespace sp::state {

// The rows of a volume, made when it is the first time that one is needed.
map::Lineage& lineage_of(Draft& draft, VolumeId volume);
// Gives the volume a new, empty layer above this one, and lets go of the one that it has.
void put_layer_above(Draft& draft, VolumeId volume, VolumeId parent, VolumeId layer);
// A new volume or snapshot has this layer, which exists.
void take_hold_of_layer(Draft& draft, VolumeId layer);
// The volume or snapshot is gone: its layer goes, unless somebody else has it or children; then
// its parent in the same way, and so on.
void let_go_of_layer(Draft& draft, VolumeId volume);
Status check_not_in_cut(const Draft& draft, const std::string& who, VolumeId volume);

}  // namespace sp::state
