#include "store/state.h"

#include <algorithm>

#include "base/planted.h"
#include "base/probe.h"
#include "store/bounds.h"
#include "store/listed.h"

namespace sp::store {

SlotList::SlotList(std::span<const uint32_t> slots) : count_(static_cast<uint32_t>(slots.size())) {
  uint32_t* to = few_;
  if (count_ > std::size(few_)) {
    many_ = std::make_unique_for_overwrite<uint32_t[]>(count_);
    to = many_.get();
  }
  std::copy(slots.begin(), slots.end(), to);
}

Descriptor make_descriptor(ObjectId object, SetId set, uint32_t block, Version version,
                           uint64_t crc, bool lost) {
  Descriptor descriptor;
  descriptor.crc = crc;
  descriptor.version = version.packed();
  descriptor.volume = object.volume;
  descriptor.object = object.index;
  descriptor.set = set.packed();
  descriptor.block_and_flags = static_cast<uint16_t>(block | Descriptor::flag_used);
  if (lost) descriptor.block_and_flags |= Descriptor::flag_lost;
  return descriptor;
}

namespace {

bool touches(const WriteRecord& record, ObjectId object, uint32_t first, uint32_t count) {
  return record.object == object && record.first_block < first + count &&
         first < uint32_t{record.first_block} + record.block_count;
}

bool is_superseded(const Undecided& write, uint32_t block) {
  return !SP_PLANTED_BUG(store_decides_over_newer) &&
         std::find(write.superseded.begin(), write.superseded.end(), block) !=
             write.superseded.end();
}

}  // namespace

State::State(const disk::Superblock& superblock, const Options& options)
    : superblock_(superblock),
      operations_kept_max_(options.operations_kept_max),
      table_(superblock, options.table_bytes_max) {}

Object* State::find(ObjectId id) {
  const auto it = objects_.find(id);
  return it == objects_.end() ? nullptr : it->second.get();
}

const SetState* State::find_set(SetId id) const {
  const auto it = sets_by_id_.find(id);
  return it == sets_by_id_.end() ? nullptr : it->second;
}

SetState& State::set(SetId id) {
  SetState*& place = sets_by_id_[id];
  if (place == nullptr) place = &sets_[id];
  return *place;
}

Object& State::object(ObjectId id, SetId set) {
  auto& place = objects_[id];
  if (!place) {
    place = std::make_unique<Object>(id, set, chunks_);
    this->set(set).objects.emplace(id, place.get());
    volumes_[id.volume]++;
    if (watch_ != nullptr) watch_->made(*place);
  }
  SP_ASSERT(place->set == set);
  return *place;
}

void State::erase_if_empty(Object& object) {
  if (!object.is_empty()) return;
  touch(object);
  set_tombstone_lsn(object, 0);
  const ObjectId id = object.id;
  set(object.set).objects.erase(id);
  if (--volumes_[id.volume] == 0) volumes_.erase(id.volume);
  objects_.erase(id);
}

size_t State::tombstone_bytes_of(const Object& object) {
  if (object.tombstone_lsn == 0) return 0;
  const size_t ranges = object.ranges().size(), records = ranges / ranges_per_record + 1;
  return records * (sizeof(RecordHeader) + sizeof(ObjectBody)) + ranges * sizeof(RangeEntry);
}

void State::set_tombstone_lsn(Object& object, uint64_t lsn) {
  touch(object);
  if (object.tombstone_lsn != 0) tombstones_.erase({object.tombstone_lsn, object.id});
  object.tombstone_lsn = lsn;
  if (lsn != 0) tombstones_.insert({lsn, object.id});
  const size_t bytes = tombstone_bytes_of(object);
  set(object.set).tombstone_bytes += bytes - object.tombstone_bytes;
  tombstone_bytes_ += bytes - object.tombstone_bytes;
  object.tombstone_bytes = static_cast<uint32_t>(bytes);
}

Version State::stored_version(const State& state, const Object* object, uint32_t block) {
  if (object == nullptr) return {};
  Version version = object->discarded(block);
  if (const uint32_t slot = object->slot(block); slot != no_slot)
    version = std::max(version, Version::from_packed(state.table_.descriptor(slot).version));
  return version;
}

const Undecided* State::find_undecided(SetId id, Version version) const {
  const SetState* state = find_set(id);
  if (state == nullptr) return nullptr;
  const auto it =
      std::lower_bound(state->undecided.begin(), state->undecided.end(), version,
                       [](const Undecided& u, Version v) { return u.record.version < v; });
  return it != state->undecided.end() && it->record.version == version ? &*it : nullptr;
}

bool State::is_known(const WriteRecord& record) const {
  if (find_undecided(record.set, record.version) != nullptr) return true;
  const Object* object = find(record.object);
  if (object == nullptr || object->changed < record.version) return false;
  for (uint32_t i = 0; i < record.block_count; i++)
    if (stored_version(*this, object, record.first_block + i) < record.version) return false;
  return true;
}

uint32_t State::growth_of(const WriteRecord& record) const {
  if (record.kind != WriteKind::data) return 0;
  const Object* object = find(record.object);
  uint32_t growth = 0;
  for (uint32_t i = 0; i < record.block_count; i++)
    if (object == nullptr || object->slot(record.first_block + i) == no_slot) growth++;
  return growth;
}

bool State::has_undecided(ObjectId id, uint32_t first, uint32_t count) const {
  const Object* object = find(id);
  if (object == nullptr || object->undecided == 0) return false;
  const SetState* state = find_set(object->set);
  return std::any_of(state->undecided.begin(), state->undecided.end(), [&](const Undecided& write) {
    return touches(write.record, id, first, count);
  });
}

uint64_t State::memory_bytes() const {
  uint64_t bytes = table_.memory_bytes() + chunks_.memory_bytes() +
                   commits_.capacity() * sizeof(Commit) + tombstones_.size() * 64;
  for (const auto& [id, set] : sets_) {
    bytes += sizeof(SetState) + (set.undecided.size() + set.dropping.size()) * sizeof(Undecided) +
             set.operations.memory_bytes();
    for (const auto& [object_id, object] : set.objects)
      bytes += object->memory_bytes() + 48 + 32;  // and the nodes of both maps
  }
  return bytes;
}

// writes

size_t State::operations_kept() const {
  const uint64_t fit = superblock_.layout.log_bytes / operations_share_of_log /
                       sizeof(OperationEntry) / std::max<size_t>(sets_.size(), 1);
  return static_cast<size_t>(std::min<uint64_t>(fit, operations_kept_max_));
}

void State::add_operation(SetId id, const OperationId& operation, Version version, uint64_t lsn) {
  if (operation.client == 0) return;
  set(id).operations.add(operation, version, lsn, operations_kept());
}

void State::add_write(const WriteRecord& record, std::span<const uint32_t> slots, uint64_t lsn) {
  SetState& state = set(record.set);
  auto place = state.undecided.end();
  while (place != state.undecided.begin() && std::prev(place)->record.version >= record.version)
    --place;
  if (place != state.undecided.end() && place->record.version == record.version) {
    // Given twice before the first was durable: the first one stays.
    for (const uint32_t slot : slots) commits_.push_back({no_slot, slot, lsn});
    return;
  }
  Undecided write;
  write.record = record;
  write.slots = SlotList(slots);
  write.lsn = lsn;
  write.growth = growth_of(record);
  // What is decided, and waits to be said again, will stand behind this.
  write.overtaken = std::any_of(say_again_.begin(), say_again_.end(), [&](const SayAgain& item) {
    return touches(item.record, record.object, record.first_block, record.block_count) &&
           item.record.version < record.version && !SP_PLANTED_BUG(store_replays_older_last);
  });
  Object& owner = object(record.object, record.set);
  owner.undecided++;
  for (uint32_t i = 0; owner.changed >= record.version && i < record.block_count; i++)
    if (const uint32_t slot = owner.slot(record.first_block + i);
        slot != no_slot && table_.descriptor(slot).version >= record.version.packed())
      write.superseded.push_back(static_cast<uint16_t>(record.first_block + i));
  blocks_undecided_ += slots.size();
  undecided_growth_ += write.growth;
  undecided_log_bytes_ += write_record_bytes(slots.size());
  const bool newest = place == state.undecided.end();
  state.undecided.insert(place, std::move(write));
  if (!newest)
    overtake(record.set, record.object, record.first_block, record.block_count, record.version);
  add_operation(record.set, record.operation, record.version, lsn);
  if (record.version <= state.decided) show_up_to(state, state.decided);
}

void State::show_up_to(SetState& state, Version up_to) {
  while (!state.undecided.empty() && state.undecided.front().record.version <= up_to) {
    Undecided write = std::move(state.undecided.front());
    state.undecided.pop_front();
    make_visible(write);
    state.decide_pending = true;
  }
}

void State::forget_undecided(Undecided& write) {
  blocks_undecided_ -= write.slots.view().size();
  undecided_growth_ -= write.growth;
  undecided_log_bytes_ -= write_record_bytes(write.slots.view().size());
  Object* owner = find(write.record.object);
  SP_ASSERT(owner != nullptr && owner->undecided > 0);
  owner->undecided--;
}

void State::free_undecided(Undecided& write, uint64_t lsn) {
  for (const uint32_t slot : write.slots.view()) commits_.push_back({no_slot, slot, lsn});
  forget_undecided(write);
  erase_if_empty(*find(write.record.object));
}

// `superseded`: the block that is here is as new.
void State::store_block(Object& owner, uint32_t block, uint32_t slot, Version version,
                        bool superseded, uint64_t lsn) {
  if (superseded || (owner.changed >= version && owner.discarded(block) >= version)) {
    if (superseded) SP_PROBE(store_write_superseded);
    commits_.push_back({no_slot, slot, lsn});
    return;
  }
  touch(owner);
  const uint32_t old = owner.slot(block);
  if (old == no_slot) blocks_decided_++;
  owner.set_slot(block, slot);
  owner.changed = std::max(owner.changed, version);
  commits_.push_back({slot, old, lsn});
  supersede(owner, block, version);
}

void State::supersede(const Object& owner, uint32_t block, Version version) {
  if (owner.undecided == 0) return;
  for (Undecided& write : set(owner.set).undecided) {
    if (write.record.version > version) break;
    if (touches(write.record, owner.id, block, 1) && !is_superseded(write, block))
      write.superseded.push_back(static_cast<uint16_t>(block));
  }
}

void State::remove_block(Object& owner, uint32_t block, uint64_t lsn) {
  const uint32_t old = owner.slot(block);
  if (old == no_slot) return;
  touch(owner);
  blocks_decided_--;
  owner.set_slot(block, no_slot);
  commits_.push_back({no_slot, old, lsn});
}

void State::overtake(SetId id, ObjectId object, uint32_t first, uint32_t count, Version than) {
  SetState* state = find_set(id);
  const Object* owner = find(object);
  if (state == nullptr || owner == nullptr || owner->undecided == 0) return;
  if (SP_PLANTED_BUG(store_replays_older_last)) return;
  for (auto write = state->undecided.rbegin(); write != state->undecided.rend(); ++write) {
    if (write->record.version <= than) break;
    if (touches(write->record, object, first, count)) write->overtaken = true;
  }
}

void State::drop_said_again(const std::function<bool(const WriteRecord&)>& gone) {
  std::erase_if(say_again_, [&](const SayAgain& item) { return gone(item.record); });
}

void State::make_visible(Undecided& write) {
  const WriteRecord& record = write.record;
  if (write.overtaken) {
    SP_PROBE(store_overtaken_write_said_again);
    say_again_.push_back({record, SlotList(write.slots.view()), write.lsn});
    overtake(record.set, record.object, record.first_block, record.block_count, record.version);
  }
  Object& owner = object(record.object, record.set);
  if (record.kind == WriteKind::data) {
    for (uint32_t i = 0; i < record.block_count; i++)
      store_block(owner, record.first_block + i, write.slots.view()[i], record.version,
                  is_superseded(write, record.first_block + i), write.lsn);
  } else {
    for (uint32_t block = owner.next_used(record.first_block);
         block < uint32_t{record.first_block} + record.block_count;
         block = owner.next_used(block + 1))
      if (!is_superseded(write, block)) remove_block(owner, block, write.lsn);
    touch(owner);
    owner.add_range(record.first_block, record.block_count, record.version);
    owner.changed = std::max(owner.changed, record.version);
    set_tombstone_lsn(
        owner, owner.tombstone_lsn == 0 ? write.lsn : std::min(owner.tombstone_lsn, write.lsn));
  }
  forget_undecided(write);
}

void State::decide(SetId id, Version up_to) {
  SetState& state = set(id);
  if (state.drops_queued > 0) {
    state.deferred_decide = std::max(state.deferred_decide, up_to);
    return;
  }
  if (up_to > state.decided) {
    state.decided = up_to;
    state.decide_pending = true;
  }
  show_up_to(state, up_to);
}

void State::begin_drop(SetId id) {
  SetState& state = set(id);
  state.drops_queued++;
  for (Undecided& write : state.undecided) state.dropping.push_back(std::move(write));
  state.undecided.clear();
}

void State::finish_drop(SetId id, uint64_t lsn) {
  SetState& state = set(id);
  // What became durable between the call and now was given before the call, so it goes too.
  for (Undecided& write : state.undecided) state.dropping.push_back(std::move(write));
  state.undecided.clear();
  std::deque<Undecided> dropping = std::move(state.dropping);
  state.dropping.clear();
  for (Undecided& write : dropping) free_undecided(write, lsn);
  // Also when this is replayed, and the record of a write has left the log before its operation's.
  state.operations.forget_after(state.decided);
  if (state.drops_queued > 0 && --state.drops_queued == 0 && !state.deferred_decide.is_zero())
    decide(id, std::exchange(state.deferred_decide, Version{}));
}

// sets and recovery

void State::put_set(const SetRecord& record, uint64_t lsn) {
  SetState& state = set(record.set);
  state.record = record;
  state.record_lsn = lsn;
}

void State::erase_object(Object& owner, uint64_t lsn) {
  for (uint32_t block = owner.next_used(0); block < limits::blocks_per_object;
       block = owner.next_used(block + 1))
    remove_block(owner, block, lsn);
  touch(owner);
  owner.forget_ranges(Version::from_packed(~uint64_t{0}));
  erase_if_empty(owner);
}

void State::remove_set(SetId id, uint64_t lsn) {
  drop_said_again([id](const WriteRecord& record) { return record.set == id; });
  SetState* state = find_set(id);
  if (state == nullptr) return;
  for (auto* writes : {&state->undecided, &state->dropping}) {
    std::deque<Undecided> gone = std::move(*writes);
    writes->clear();
    for (Undecided& write : gone) free_undecided(write, lsn);
  }
  while (!state->objects.empty()) erase_object(*state->objects.begin()->second, lsn);
  if (state->drops_queued > 0) {  // the drop still has to find its set
    state->record.reset();
    state->operations.clear();
    state->decided = Version{};
    state->decide_pending = state->forget_pending = false;
    return;
  }
  sets_by_id_.erase(id);
  sets_.erase(id);
}

void State::remove_volume(VolumeId volume, uint64_t lsn) {
  drop_said_again([volume](const WriteRecord& record) { return record.object.volume == volume; });
  for (auto& [id, state] : sets_) {
    for (auto* writes : {&state.undecided, &state.dropping}) {
      for (Undecided& write : *writes)
        if (write.record.object.volume == volume) free_undecided(write, lsn);
      std::erase_if(*writes, [volume](const Undecided& write) {
        return write.record.object.volume == volume;
      });
    }
    for (auto it = state.objects.lower_bound({volume, 0});
         it != state.objects.end() && it->first.volume == volume;) {
      Object& owner = *it->second;
      ++it;
      erase_object(owner, lsn);
    }
  }
}

void State::forget(SetId id, Version passed) {
  SetState* state = find_set(id);
  if (state == nullptr) return;
  state->forget = std::max(state->forget, passed);
  for (auto it = state->objects.begin(); it != state->objects.end();) {
    Object& owner = *it->second;
    ++it;
    if (!owner.has_tombstone()) continue;
    touch(owner);
    owner.forget_ranges(passed);
    set_tombstone_lsn(owner, owner.has_tombstone() ? owner.tombstone_lsn : 0);
    erase_if_empty(owner);
  }
}

void State::add_tombstone(const ObjectBody& head, std::span<const RangeEntry> ranges,
                          uint64_t lsn) {
  Object& owner = object({head.volume, head.object}, SetId::from_packed(head.set));
  touch(owner);
  owner.floor = std::max(owner.floor, Version::from_packed(head.version));
  owner.changed = std::max(owner.changed, owner.floor);
  for (const RangeEntry& range : ranges) {
    // An older write may have been said again behind the discard's own record, and be shown by now.
    for (uint32_t block = owner.next_used(range.first_block);
         block < uint32_t{range.first_block} + range.block_count;
         block = owner.next_used(block + 1))
      if (owner.changed < Version::from_packed(range.version) ||
          stored_version(*this, &owner, block) < Version::from_packed(range.version))
        remove_block(owner, block, lsn);
    owner.add_range(range.first_block, range.block_count, Version::from_packed(range.version));
    owner.changed = std::max(owner.changed, Version::from_packed(range.version));
  }
  set_tombstone_lsn(owner, owner.tombstone_lsn == 0 ? lsn : std::min(owner.tombstone_lsn, lsn));
  erase_if_empty(owner);
}

void State::add_recovered(const ObjectBody& head, const RecoveredEntry& entry, uint64_t lsn) {
  const Version version = Version::from_packed(entry.version);
  Object& owner = object({head.volume, head.object}, SetId::from_packed(head.set));
  overtake(owner.set, owner.id, entry.block, 1, version);
  store_block(owner, entry.block, entry.slot, version,
              stored_version(*this, &owner, entry.block) >= version &&
                  !SP_PLANTED_BUG(store_recovery_overwrites_newer),
              lsn);
  erase_if_empty(owner);
}

void State::finish_recovered(const ObjectBody& head,
                             std::span<const std::byte, listed_bytes> listed, uint64_t lsn) {
  Object& owner = object({head.volume, head.object}, SetId::from_packed(head.set));
  const Version changed = Version::from_packed(head.version);
  touch(owner);
  // Undecided writes that the source had passed must not show a block that it does not list; else
  // only what was here needs remembering.
  const bool remember_all = owner.undecided > 0;
  for (uint32_t block = 0; block < limits::blocks_per_object; block++) {
    if (!remember_all) block = owner.next_used(block);
    if (block == limits::blocks_per_object) break;
    if (is_listed(listed, block)) continue;
    if (owner.changed > changed && stored_version(*this, &owner, block) > changed &&
        !SP_PLANTED_BUG(store_recovery_removes_newer))
      continue;
    remove_block(owner, block, lsn);
    owner.add_range(block, 1, changed);
  }
  if (changed > owner.changed) {
    owner.floor = changed;
    owner.changed = changed;
  }
  if (owner.has_tombstone())
    set_tombstone_lsn(owner, owner.tombstone_lsn == 0 ? lsn : std::min(owner.tombstone_lsn, lsn));
  erase_if_empty(owner);
}

void State::add_repair(const ObjectBody& head, const RecoveredEntry& entry, bool replaying,
                       uint64_t lsn) {
  const ObjectId id{head.volume, head.object};
  Object* owner = find(id);
  const uint32_t old = owner == nullptr ? no_slot : owner->slot(entry.block);
  if (owner != nullptr)
    overtake(owner->set, id, entry.block, 1, Version::from_packed(entry.version));
  if (old == no_slot && replaying) {
    // The table page may be of the time after the move, with the damaged slot's entry gone.
    store_block(object(id, SetId::from_packed(head.set)), entry.block, entry.slot,
                Version::from_packed(entry.version), false, lsn);
    return;
  }
  if (old == no_slot || table_.descriptor(old).version != entry.version) {
    commits_.push_back({no_slot, entry.slot, lsn});
    return;
  }
  touch(*owner);
  owner->set_slot(entry.block, entry.slot);
  commits_.push_back({entry.slot, old, lsn});
}

uint32_t State::settle(const Commit& commit) {
  if (commit.commit_slot != no_slot) table_.commit(commit.commit_slot, commit.lsn);
  if (commit.free_slot != no_slot) table_.clear(commit.free_slot, commit.lsn);
  return commit.free_slot;
}

}  // namespace sp::store
