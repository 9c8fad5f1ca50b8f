// Layers: reads and discards of volumes that stand on other layers (map/lineage.h), for the primary
// of one set.
//
// A block is where the highest layer has it. The highest one may also say that nothing below
// counts, because it was discarded there: a *hole*. Holes are a bit per block of an object, kept as
// the first block of an object of its own, with the layer's id and map::hole_bit: so they are
// ordered, replicated, recovered and checked as every other write. Bits are only ever added while a
// layer lives: content written later is above them, and a discard takes that content away again.
//
// Layers below that of a volume do not change, but for what a sweep takes out of deleted snapshots,
// which no reader sees any more. So which of them has which block of an object (a View) is found
// once, and remembered for some hundred objects.
//
// Thread rule: one reactor. Lives as long as its primary.
#pragma once
#include <array>
#include <cstdint>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <unordered_map>
#include <vector>

#include "base/callback.h"
#include "serve/context.h"
#include "serve/stands.h"

namespace sp::serve {

using store::BlockSet;

constexpr ObjectId holes_of(ObjectId object) {
  return {object.volume | map::hole_bit, object.index};
}
Buffer encode_holes(const BlockSet& holes);  // one block
BlockSet decode_holes(Bytes block);

class Layers : public std::enable_shared_from_this<Layers> {
 public:
  // `loaded`: what ready() has found missing is there.
  Layers(Context& context, LocalDisk& disk, SetId set, Callback<void()> loaded);

  // Whether all that a read of this object, or a discard in it, has to know is in memory. If not,
  // it is being fetched.
  bool ready(const Stand& stand, uint32_t index);
  // False: holes could not be read just now, so nothing is known of what lies below.
  bool readable(const Stand& stand, uint32_t index);
  using Done = Callback<void(Result<std::vector<store::BlockRead>>)>;
  // As Store::read, through all layers. Needs ready() just before. `careful`: as careful_read.
  void read(const Stand& stand, uint32_t index, uint16_t first, uint16_t count, MutableBytes into,
            bool careful, bool compare, Done done);

  // Where a discard of the range in its highest layer would uncover content of a parent, and no
  // hole is there yet. Needs ready() and readable().
  BlockSet uncovered(const Stand& stand, uint32_t index, uint16_t first, uint16_t count);
  // What has to be ordered as the holes of this object of a highest layer: all that were ordered
  // before, with these.
  BlockSet add_holes(ObjectId top, const BlockSet& blocks);
  // This content of an object of holes was decided.
  void holes_decided(ObjectId holes, Bytes block);
  // Something unknown was decided. No hole of this epoch is undecided.
  void forget_all();
  // Those of any layer that were decided; nothing while they are fetched.
  std::optional<BlockSet> shown_holes(ObjectId object);
  void tick() { failed_.clear(); }

 private:
  struct View {
    std::vector<VolumeId> layers;
    std::array<uint16_t, limits::blocks_per_object> owner{};  // 0: none; else layers[owner - 1]
  };
  struct Holes {
    BlockSet shown, ordered;
  };
  using Key = ObjectId;  // the highest layer of the view, and the index

  const View* view(const Stand& stand, uint32_t index);  // nullptr: failed_ says why
  Holes* top_holes(ObjectId object);
  Holes& remember(ObjectId holes);
  Error why_unreadable(const Stand& stand, uint32_t index) const;
  bool load_holes(const std::vector<ObjectId>& missing);
  void holes_read(ObjectId holes, const Buffer& data,
                  const Result<std::vector<store::BlockRead>>& read);
  bool has(ObjectId object, uint16_t block) const;

  Context& context_;
  LocalDisk& disk_;
  SetId set_;
  Callback<void()> loaded_;
  // Those used lately, and those before them.
  std::unordered_map<Key, std::unique_ptr<View>> views_, older_views_;
  std::unordered_map<ObjectId, Holes> holes_;     // of highest layers
  std::unordered_map<ObjectId, BlockSet> below_;  // of others, until the next view is made
  std::set<ObjectId> loading_;                    // objects of holes
  std::unordered_map<ObjectId, Error> failed_;    // to be read just now
};

}  // namespace sp::serve
