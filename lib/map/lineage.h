// Layers, and what volumes and snapshots are made of. Row types like those in map/map.h, from
// feature level 3 on.
//
// A *layer* is what a server stores under one id: the blocks that were written while it was the
// newest one of a volume. A volume writes to its layer; what that does not hold is read from the
// layer's parent, and so on. A snapshot has a layer that nobody writes to any more. So taking one
// gives the volume a new, empty layer, and a clone begins with one above that of its snapshot.
//
//   volume 5 ---> layer 12 --parent--> layer 5 <--- snapshot 11
//   clone 20 ---> layer 20 --parent--> layer 5
//
// Ids of layers are taken from those of volumes, and the first layer of a volume has the id of the
// volume: a volume of which no snapshot was ever taken has no row here at all.
//
// A layer that no volume and no snapshot has, but other layers have as their parent, is a *ghost*:
// what all of them have written over is given back by the servers (serve/sweeper.h). With the last
// of its children it goes.
#pragma once
#include <concepts>
#include <cstdint>
#include <string>
#include <type_traits>
#include <vector>

#include "base/ids.h"

namespace sp::map {

struct Map;

struct Layer {
  VolumeId id = 0;
  VolumeId parent = 0;    // 0: none
  VolumeId writer = 0;    // the volume that writes to it, or was the last to do so
  uint32_t holders = 0;   // volumes and snapshots that have it
  uint32_t children = 0;  // layers that have it as their parent
};

struct Lineage {
  VolumeId volume = 0;  // or snapshot
  VolumeId layer = 0;   // where its newest content is
  bool frozen = false;  // a snapshot
  VolumeId source = 0;  // a snapshot: the volume it was taken of; a clone: its snapshot; 0: neither
  VolumeId cut = 0;     // the open cut that it is part of, or 0
  int64_t delete_at_s = 0;  // a snapshot: when it is to be deleted (seconds since 1970), or 0
};

// A snapshot of some volumes that is being taken: servers finish the writes that they have ordered
// and hold all others of these volumes until it is closed. Its id is that of its first snapshot.
struct Cut {
  VolumeId id = 0;
  int64_t opened_ms = 0;
  std::vector<VolumeId> volumes;
  std::vector<VolumeId> snapshots;  // of them, in the same order
};

template <class V, class R>
requires std::same_as<std::remove_const_t<R>, Layer>
void fields(V& v, R& row) {
  v("id", row.id);
  v("parent", row.parent);
  v("writer", row.writer);
  v("holders", row.holders);
  v("children", row.children);
}

template <class V, class R>
requires std::same_as<std::remove_const_t<R>, Lineage>
void fields(V& v, R& row) {
  v("volume", row.volume);
  v("layer", row.layer);
  v("frozen", row.frozen);
  v("source", row.source);
  v("cut", row.cut);
  v("delete_at_s", row.delete_at_s);
}

template <class V, class R>
requires std::same_as<std::remove_const_t<R>, Cut>
void fields(V& v, R& row) {
  v("id", row.id);
  v("opened_ms", row.opened_ms);
  v("volumes", row.volumes);
  v("snapshots", row.snapshots);
}

// Which blocks of a layer's object were discarded although its parents hold them is kept as content
// of an object of its own, under this id (serve/holes.h).
constexpr VolumeId hole_bit = VolumeId{1} << 31;  // never part of the id of a volume or a layer
constexpr VolumeId layer_of_holes(VolumeId id) { return id & ~hole_bit; }

// Of a volume or snapshot of this map. 0 is no layer.
VolumeId layer_of(const Map& map, VolumeId volume);
VolumeId parent_of(const Map& map, VolumeId layer);
VolumeId writer_of(const Map& map, VolumeId layer);
bool is_ghost(const Map& map, VolumeId layer);
bool is_snapshot(const Map& map, VolumeId volume);
bool in_open_cut(const Map& map, VolumeId volume);
// The layer, its parent, and so on.
std::vector<VolumeId> chain_of(const Map& map, VolumeId layer);

}  // namespace sp::map
