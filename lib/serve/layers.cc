#include "serve/layers.h"

#include <algorithm>
#include <cstring>

#include "base/assert.h"
#include "base/checksum.h"
#include "base/planted.h"
#include "base/probe.h"
#include "serve/repair.h"

namespace sp::serve {

namespace {

constexpr size_t holes_bytes = limits::blocks_per_object / 8;

// Several reads that are answered together.
struct Joint {
  std::vector<store::BlockRead> blocks;
  size_t open = 0;
  std::optional<Error> error;
  Layers::Done done;

  void end(size_t at, Result<std::vector<store::BlockRead>> read) {
    if (!read.ok())
      error = read.error();
    else
      std::copy(read->begin(), read->end(), blocks.begin() + static_cast<std::ptrdiff_t>(at));
    if (--open != 0) return;
    if (error)
      done(*error);
    else
      done(std::move(blocks));
  }
};

// While damage was mended the block may have been swept, because it was written over above.
Result<std::vector<store::BlockRead>> still_there(Result<std::vector<store::BlockRead>> read) {
  if (!read.ok()) return read;
  const bool gone = std::any_of(read->begin(), read->end(), [](const store::BlockRead& block) {
    return block.version.is_zero();
  });
  if (gone) return Error(Code::transient, "a block of a deleted snapshot was given back");
  return read;
}

}  // namespace

Buffer encode_holes(const BlockSet& holes) {
  Buffer block = Buffer::allocate(limits::block_bytes);
  const MutableBytes bytes = block.mutable_bytes();
  std::fill(bytes.begin(), bytes.end(), std::byte{0});
  for (size_t i = 0; i < holes.size(); ++i)
    if (holes.test(i)) bytes[i / 8] |= std::byte{1} << (i % 8);
  return block;
}

BlockSet decode_holes(Bytes block) {
  BlockSet holes;
  if (block.size() < holes_bytes) return holes;
  for (size_t i = 0; i < holes.size(); ++i)
    if ((block[i / 8] >> (i % 8) & std::byte{1}) != std::byte{0}) holes.set(i);
  return holes;
}

Layers::Layers(Context& context, LocalDisk& disk, SetId set, Callback<void()> loaded)
    : context_(context), disk_(disk), set_(set), loaded_(std::move(loaded)) {}

bool Layers::has(ObjectId object, uint16_t block) const {
  BlockSet present;
  disk_.store->add_present(object, block, 1, present);
  return present.any();
}

bool Layers::ready(const Stand& stand, uint32_t index) {
  if (stand.below.empty()) return true;
  std::vector<ObjectId> missing;
  const auto want = [&](ObjectId holes, bool known) {
    if (!known && failed_.count(holes) == 0 && has(holes, 0)) missing.push_back(holes);
  };
  const ObjectId top = holes_of({stand.layer, index});
  want(top, holes_.count(top) != 0 || below_.count(top) != 0);
  const Key key{stand.below.front(), index};
  if (views_.count(key) == 0 && older_views_.count(key) == 0) {
    for (const VolumeId layer : stand.below) {
      const ObjectId holes = holes_of({layer, index});
      want(holes, below_.count(holes) != 0);
    }
  }
  return missing.empty() || load_holes(missing);
}

bool Layers::readable(const Stand& stand, uint32_t index) {
  return failed_.count(holes_of({stand.layer, index})) == 0 && view(stand, index) != nullptr;
}

// Not readable().
Error Layers::why_unreadable(const Stand& stand, uint32_t index) const {
  auto found = failed_.find(holes_of({stand.layer, index}));
  for (size_t i = 0; i < stand.below.size() && found == failed_.end(); ++i)
    found = failed_.find(holes_of({stand.below[i], index}));
  SP_ASSERT(found != failed_.end());
  return found->second;
}

bool Layers::load_holes(const std::vector<ObjectId>& missing) {
  SP_PROBE(serve_waits_for_holes);
  for (const ObjectId holes : missing) {
    if (!loading_.insert(holes).second) continue;
    Buffer data = Buffer::allocate(limits::block_bytes);
    const MutableBytes into = data.mutable_bytes();
    careful_read(context_, disk_, set_, holes, 0, 1, into, false, nullptr,
                 [weak = weak_from_this(), holes,
                  data = std::move(data)](Result<std::vector<store::BlockRead>> read) {
                   if (const auto self = weak.lock()) self->holes_read(holes, data, read);
                 });
  }
  return false;
}

// Which of the two it is for is not known any more; a highest layer is asked for soon. What was
// read has not changed meanwhile: who asks has made sure that no holes of an earlier epoch are
// undecided there, and holes of this one are ordered only once those before them are known.
void Layers::holes_read(ObjectId holes, const Buffer& data,
                        const Result<std::vector<store::BlockRead>>& read) {
  loading_.erase(holes);
  if (below_.size() >= limits::holes_per_set_max) below_.clear();
  if (!read.ok())
    failed_.insert_or_assign(holes, read.error());
  else
    below_[holes] = decode_holes(data.bytes());
  loaded_();
}

const Layers::View* Layers::view(const Stand& stand, uint32_t index) {
  const Key key{stand.below.front(), index};
  if (const auto found = views_.find(key); found != views_.end()) return found->second.get();
  // Before the older ones go: it cannot be made again, the holes that it knows are not kept.
  auto known = older_views_.extract(key);
  if (views_.size() >= context_.tuning.layer_views_max) {
    SP_PROBE(serve_layer_views_grow_old);
    older_views_ = std::move(views_);
    views_.clear();
    if (SP_PLANTED_BUG(serve_view_lost_when_others_grow_old)) known = {};
  }
  if (!known.empty()) return views_.insert(std::move(known)).position->second.get();
  auto& place = views_[key];
  place = std::make_unique<View>();
  BlockSet open;
  open.set();
  for (const VolumeId layer : stand.below) {
    const ObjectId object{layer, index};
    if (failed_.count(holes_of(object)) != 0) {
      views_.erase(key);
      return nullptr;
    }
    BlockSet present;
    disk_.store->add_present(object, 0, limits::blocks_per_object, present);
    present &= open;
    if (present.any()) {
      place->layers.push_back(layer);
      for (size_t i = 0; i < present.size(); ++i)
        if (present.test(i)) place->owner[i] = static_cast<uint16_t>(place->layers.size());
      open &= ~present;
    }
    if (const auto holes = below_.find(holes_of(object)); holes != below_.end()) {
      open &= ~holes->second;
      below_.erase(holes);
    }
    if (open.none()) break;
  }
  return place.get();
}

void Layers::read(const Stand& stand, uint32_t index, uint16_t first, uint16_t count,
                  MutableBytes into, bool careful, bool compare, Done done) {
  const ObjectId top{stand.layer, index};
  const Holes* const holes = top_holes(top);
  if (!readable(stand, index)) {
    const auto joint = std::make_shared<Joint>();
    joint->open = 1;
    joint->done = std::move(done);
    joint->error = why_unreadable(stand, index);
    context_.host.reactor.post([joint] { joint->end(0, *joint->error); });
    return;
  }
  const View* const below = view(stand, index);
  BlockSet present;
  disk_.store->add_present(top, first, count, present);
  // Nobody has it: the highest layer reads as zeros there.
  const auto layer_at = [&](uint32_t block) {
    const bool own = present.test(block) || (holes != nullptr && holes->shown.test(block));
    const uint16_t owner = own ? uint16_t{0} : below->owner[block];
    return owner == 0 ? stand.layer : below->layers[owner - 1];
  };
  struct Run {
    VolumeId layer;
    uint16_t first, count;
  };
  std::vector<Run> runs;
  for (uint32_t block = first; block < uint32_t{first} + count; ++block) {
    const VolumeId layer = layer_at(block);
    if (layer != stand.layer) SP_PROBE(serve_read_from_parents);
    if (runs.empty() || runs.back().layer != layer)
      runs.push_back({layer, static_cast<uint16_t>(block), 1});
    else
      ++runs.back().count;
  }
  const auto read_run = [&](const Run& run, Done run_done) {
    const ObjectId object{run.layer, index};
    const MutableBytes part =
        into.subspan(size_t{run.first - uint32_t{first}} * limits::block_bytes,
                     size_t{run.count} * limits::block_bytes);
    if (careful)
      careful_read(context_, disk_, set_, object, run.first, run.count, part, compare, nullptr,
                   std::move(run_done));
    else
      disk_.store->read(object, run.first, run.count, part, std::move(run_done));
  };
  if (runs.size() == 1 && runs.front().layer == stand.layer)
    return read_run(runs.front(), std::move(done));
  if (runs.size() > 1) SP_PROBE(serve_read_from_several_layers);
  const auto joint = std::make_shared<Joint>();
  joint->blocks.resize(count);
  joint->open = runs.size();
  joint->done = std::move(done);
  for (const Run& run : runs) {
    const size_t at = run.first - size_t{first};
    const bool own = run.layer == stand.layer;
    read_run(run, [joint, at, own](Result<std::vector<store::BlockRead>> read) {
      joint->end(at, own ? std::move(read) : still_there(std::move(read)));
    });
  }
}

// Of the highest layer. Nothing: there are none.
Layers::Holes* Layers::top_holes(ObjectId object) {
  const ObjectId id = holes_of(object);
  const auto found = holes_.find(id);
  if (found != holes_.end()) return &found->second;
  const auto read = below_.find(id);
  if (read == below_.end()) return nullptr;
  const BlockSet content = read->second;
  below_.erase(read);
  Holes& kept = remember(id);
  kept = {content, content};
  return &kept;
}

// Those that nothing is ordered for make room: they can be read again.
Layers::Holes& Layers::remember(ObjectId holes) {
  if (holes_.size() >= context_.tuning.holes_max)
    std::erase_if(holes_,
                  [](const auto& entry) { return entry.second.shown == entry.second.ordered; });
  return holes_[holes];
}

BlockSet Layers::uncovered(const Stand& stand, uint32_t index, uint16_t first, uint16_t count) {
  const View* const below = view(stand, index);
  SP_ASSERT(below != nullptr);
  const Holes* const known = top_holes({stand.layer, index});
  BlockSet blocks;
  for (uint32_t block = first; block < uint32_t{first} + count; ++block)
    if (below->owner[block] != 0) blocks.set(block);
  if (known != nullptr) blocks &= ~known->ordered;
  return blocks;
}

BlockSet Layers::add_holes(ObjectId top, const BlockSet& blocks) {
  Holes* const known = top_holes(top);
  Holes& holes = known != nullptr ? *known : remember(holes_of(top));
  holes.ordered |= blocks;
  return holes.ordered;
}

std::optional<BlockSet> Layers::shown_holes(ObjectId object) {
  const ObjectId holes = holes_of(object);
  if (const auto top = holes_.find(holes); top != holes_.end()) return top->second.shown;
  if (const auto read = below_.find(holes); read != below_.end()) return read->second;
  if (!has(holes, 0)) return BlockSet();
  if (failed_.count(holes) == 0) load_holes({holes});
  return std::nullopt;
}

void Layers::forget_all() {
  views_.clear();
  older_views_.clear();
  holes_.clear();
  below_.clear();
}

void Layers::holes_decided(ObjectId holes, Bytes block) {
  below_.erase(holes);
  const auto found = holes_.find(holes);
  if (found != holes_.end()) found->second.shown |= decode_holes(block);
}

}  // namespace sp::serve
