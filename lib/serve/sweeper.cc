#include "serve/sweeper.h"

#include <algorithm>

#include "base/planted.h"
#include "base/probe.h"

namespace sp::serve {

namespace {
constexpr uint32_t tries_max = 50;  // of one object, one each tick
}

void Sweeper::tick() {
  Stands& stands = primary_.context_.stands;
  const map::Map& map = primary_.context_.map();
  const io::Instant now = primary_.context_.now();
  const uint64_t ghosts = stands.ghosts_hash(map);
  if (std::exchange(ghosts_, ghosts) != ghosts) {
    swept_to_ = {};
    running_ = false;
    next_ = {};
  }
  if (ghosts == 0 || primary_.decided_to_ < ordered_to_) return;
  ordered_.clear();
  if (!running_) {
    if (now < next_ || primary_.decided_to_ == swept_to_) return;
    running_ = true;
    left_out_ = false;
    cursor_ = {};
    sweeping_to_ = primary_.decided_to_;
  }
  const auto objects = primary_.disk_.store->changed_objects(primary_.set(), swept_to_, cursor_,
                                                             limits::sweep_objects_max);
  for (const ObjectId object : objects) {
    if (room() == 0) return;
    if (!step(object)) {  // with the next tick
      // Holes that no copy can give keep nothing else from being given back.
      if (++tries_ < tries_max || room() == 0) return;
      left_out_ = true;
    }
    tries_ = 0;
    cursor_ = object;
  }
  if (objects.size() == limits::sweep_objects_max) return;
  running_ = false;
  if (!left_out_) swept_to_ = sweeping_to_;
  next_ = now + limits::sweep_interval;
}

// Records that may be ordered now. A sweep leaves half of them to clients.
size_t Sweeper::room() const {
  const size_t most = std::max<size_t>(primary_.context_.tuning.undecided_max / 2, 1);
  return most - std::min(most, primary_.undecided_.size());
}

// What an object that has changed hides of the ghosts below it. False: not all is known yet.
bool Sweeper::step(ObjectId object) {
  const map::Map& map = primary_.context_.map();
  object.volume = map::layer_of_holes(object.volume);
  std::optional<BlockSet> above;
  while (true) {
    const VolumeId parent = map::parent_of(map, object.volume);
    if (parent == 0 || !map::is_ghost(map, parent)) return true;
    if (!above) above = covered(object);
    if (!above) return false;
    const auto gone = hidden(parent, object, *above);
    if (!gone) return false;
    const ObjectId ghost{parent, object.index};
    BlockSet present;
    primary_.disk_.store->add_present(ghost, 0, limits::blocks_per_object, present);
    // Another child of it may have come before, in this tick.
    if (!discard(ghost, present & *gone & ~ordered_[ghost])) return false;
    auto own = covered(ghost);
    if (!own) return false;
    object = ghost;
    above = *own | *gone;
  }
}

// What the layer itself says of the blocks of this object: content or holes.
std::optional<BlockSet> Sweeper::covered(ObjectId object) const {
  auto blocks = primary_.layers_->shown_holes(object);
  if (blocks) primary_.disk_.store->add_present(object, 0, limits::blocks_per_object, *blocks);
  return blocks;
}

// What none of the ghost's children shows. Of one of them it is known what it covers.
std::optional<BlockSet> Sweeper::hidden(VolumeId ghost, ObjectId known,
                                        const BlockSet& by_known) const {
  const map::Map& map = primary_.context_.map();
  BlockSet blocks = by_known;
  for (const VolumeId child : primary_.context_.stands.children(map, ghost)) {
    if (child == known.volume || SP_PLANTED_BUG(serve_sweeps_shared_blocks)) continue;
    if (blocks.none()) break;
    const ObjectId object{child, known.index};
    auto by_child = covered(object);
    if (!by_child) return std::nullopt;
    if (map::is_ghost(map, child)) {
      BlockSet all;
      all.set();
      const auto below = hidden(child, {0, known.index}, all);
      if (!below) return std::nullopt;
      *by_child |= *below;
    }
    blocks &= *by_child;
  }
  return blocks;
}

// False: not all of them could be ordered.
bool Sweeper::discard(ObjectId object, const BlockSet& blocks) {
  for (uint32_t first = 0; first < blocks.size(); ++first) {
    if (!blocks.test(first)) continue;
    if (room() == 0 && !SP_PLANTED_BUG(serve_sweeps_without_bound)) return false;
    uint32_t end = first + 1;
    while (end < blocks.size() && blocks.test(end)) ++end;
    SP_PROBE(serve_ghost_swept);
    OrderedWrite& write = primary_.new_write(true, object, static_cast<uint16_t>(first),
                                             static_cast<uint16_t>(end - first));
    ordered_to_ = write.prepare.record.version;
    for (uint32_t block = first; block < end; ++block) ordered_[object].set(block);
    primary_.send_ordered(write);
    first = end;
  }
  return true;
}

}  // namespace sp::serve
