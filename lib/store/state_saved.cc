// State's half of saving and loading the index.
#include <algorithm>

#include "store/saved_index.h"
#include "store/state.h"

namespace sp::store {

bool State::is_plain() const {
  if (!say_again_.empty()) return false;
  return std::all_of(sets_.begin(), sets_.end(), [this](const auto& item) {
    const SetState& set = item.second;
    return set.drops_queued == 0 && set.dropping.empty() &&
           std::all_of(set.undecided.begin(), set.undecided.end(), [this](const Undecided& write) {
             return !write.overtaken && write.superseded.empty() &&
                    find(write.record.object)->changed < write.record.version;
           });
  });
}

Status State::load_object(Bytes saved, uint64_t tail) {
  const auto head = load<SavedObject>(saved);
  const ObjectId id{head.volume, head.object};
  const auto impossible = [id] {
    return Error(Code::damaged, "the saved index tells impossible things of object " +
                                    std::to_string(id.index) + " of volume " +
                                    std::to_string(id.volume));
  };
  if (find(id) != nullptr) return impossible();
  Object& owner = object(id, SetId::from_packed(head.set));
  owner.changed = Version::from_packed(head.changed);
  owner.floor = Version::from_packed(head.floor);
  std::vector<DiscardRange> ranges(head.ranges);
  for (size_t i = 0; i < ranges.size(); i++) {
    const auto range = load<RangeEntry>(saved.subspan(sizeof head + i * sizeof(RangeEntry)));
    ranges[i] = {range.first_block, range.block_count, Version::from_packed(range.version)};
  }
  owner.restore_ranges(std::move(ranges));
  bool free = true;
  owner.restore_slots(
      {head.runs, head.filled}, saved.subspan(sizeof head + head.ranges * sizeof(RangeEntry)),
      [&](uint32_t slot) { table_.own_soon(slot); },
      [&](uint32_t slot) { free = table_.own(slot) && free; });
  blocks_decided_ += owner.blocks_used();
  if (!free || owner.has_tombstone() != (head.tombstone_lsn != 0)) return impossible();
  if (head.tombstone_lsn != 0) set_tombstone_lsn(owner, std::max(head.tombstone_lsn, tail));
  return {};
}

}  // namespace sp::store
