#include "state/layers.h"

#include "base/assert.h"
#include "base/planted.h"

namespace sp::state {

using namespace sp::map;

namespace {

// Layer after layer, as far as nobody needs them.
void release(Draft& draft, VolumeId id) {
  while (id != 0) {
    Layer& row = draft.edit<Layer>(id);
    if (row.holders != 0) return;
    if (row.children != 0 && !SP_PLANTED_BUG(state_drops_parents_of_clones)) return;
    const VolumeId parent = row.parent;
    draft.erase<Layer>(id);
    if (draft.find<Layer>(parent) != nullptr) --draft.edit<Layer>(parent).children;
    id = parent;
  }
}

}  // namespace

Lineage& lineage_of(Draft& draft, VolumeId volume) {
  if (draft.find<Lineage>(volume) == nullptr) {
    Layer& layer = draft.edit<Layer>(volume);
    layer.id = layer.writer = volume;
    layer.holders = 1;
    Lineage& made = draft.edit<Lineage>(volume);
    made.volume = made.layer = volume;
  }
  return draft.edit<Lineage>(volume);
}

void put_layer_above(Draft& draft, VolumeId volume, VolumeId parent, VolumeId layer) {
  ++draft.edit<Layer>(parent).children;
  Layer& row = draft.edit<Layer>(layer);
  row.id = layer;
  row.parent = parent;
  row.writer = volume;
  row.holders = 1;
  Lineage& lineage = lineage_of(draft, volume);
  const VolumeId before = std::exchange(lineage.layer, layer);
  --draft.edit<Layer>(before).holders;
  release(draft, before);
}

void take_hold_of_layer(Draft& draft, VolumeId layer) { ++draft.edit<Layer>(layer).holders; }

void let_go_of_layer(Draft& draft, VolumeId volume) {
  const Lineage* const row = draft.find<Lineage>(volume);
  if (row == nullptr) return;
  const VolumeId layer = row->layer;
  draft.erase<Lineage>(volume);
  --draft.edit<Layer>(layer).holders;
  release(draft, layer);
}

Status check_not_in_cut(const Draft& draft, const std::string& who, VolumeId volume) {
  if (!in_open_cut(draft.map(), volume)) return {};
  const bool snapshot = is_snapshot(draft.map(), volume);
  return Error(Code::transient,
               who + (snapshot ? " is still being taken; try again soon"
                               : ": a snapshot of it is being taken; try again soon"));
}

}  // namespace sp::state
