#include "store/accounts.h"

#include <vector>

#include "store/look_up.h"
#include "store/store_impl.h"

namespace sp::store {

std::optional<Descriptor> look_up(const StoreImpl& store, uint32_t slot) {
  if (!store.state().table().owned(slot)) return Descriptor{};
  if (const Descriptor* entry = store.state().table().find(slot); entry != nullptr) return *entry;
  const uint32_t page = SlotTable::page_of(slot);
  Buffer home = Buffer::allocate(page_bytes);
  const uint64_t offset = table_home_offset(store.superblock().layout, page,
                                            store.state().table().durable_sequence(page));
  if (!store.disk().peek(offset, home.mutable_bytes())) return std::nullopt;
  const auto opened = store.loader().open_home(page, home.bytes());
  if (!opened.ok()) return std::nullopt;
  return opened->at(slot % disk::slots_per_table_page);
}

namespace {

class Walk {
 public:
  explicit Walk(const StoreImpl& store)
      : store_(store), state_(store.state()), held_(state_.table().slot_count()) {}

  Accounts execute() {
    const SlotTable& table = state_.table();
    out_.slots = table.slot_count();
    for (uint32_t slot = 0; slot < table.slot_count(); slot++) {
      if (table.is_free(slot)) out_.free++;
      if (table.owned(slot)) out_.owned++;
    }
    for (const auto& [id, set] : state_.sets()) {
      for (const auto& [object_id, object] : set.objects) blocks_of(*object);
      for (const auto* writes : {&set.undecided, &set.dropping})
        for (const Undecided& write : *writes) slots_of(write);
    }
    out_.counted_decided = state_.blocks_decided();
    out_.counted_undecided = state_.blocks_undecided();
    out_.counted_objects = state_.object_count();
    out_.counted_tombstone_bytes = state_.tombstone_bytes();
    return out_;
  }

 private:
  void blocks_of(const Object& object) {
    out_.objects++;
    out_.tombstone_bytes += State::tombstone_bytes_of(object);
    uint32_t blocks = 0;
    for (uint32_t block = object.next_used(0); block < limits::blocks_per_object;
         block = object.next_used(block + 1), blocks++)
      hold(object.slot(block), object.id, block);
    out_.decided += blocks;
    if (blocks != object.blocks_used() && out_.misplaced.empty())
      out_.misplaced = "object " + std::to_string(object.id.index) + " of volume " +
                       std::to_string(object.id.volume) + " counts its blocks wrong";
  }

  void slots_of(const Undecided& write) {
    uint32_t block = write.record.first_block;
    for (const uint32_t slot : write.slots.view()) hold(slot, write.record.object, block++);
    out_.undecided += write.slots.view().size();
  }

  void hold(uint32_t slot, ObjectId object, uint32_t block) {
    const auto owner = look_up(store_, slot);
    const bool named =
        !owner || (owner->used() && owner->object_id() == object && owner->block() == block);
    if ((!named || held_[slot] || state_.table().is_free(slot)) && out_.misplaced.empty())
      out_.misplaced = "slot " + std::to_string(slot) + " is held by block " +
                       std::to_string(block) + " of object " + std::to_string(object.index) +
                       " of volume " + std::to_string(object.volume) +
                       (held_[slot] ? " and by another one"
                        : named     ? " and is free"
                                    : " and named as another's");
    held_[slot] = true;
  }

  const StoreImpl& store_;
  const State& state_;
  Accounts out_;
  std::vector<bool> held_;
};

}  // namespace

std::string Accounts::difference() const {
  if (!misplaced.empty()) return misplaced;
  const auto differ = [](const char* what, uint64_t found, uint64_t expected) {
    return std::string(what) + ": " + std::to_string(found) + ", not " + std::to_string(expected);
  };
  if (counted_decided != decided)
    return differ("blocks that the store counts", counted_decided, decided);
  if (counted_undecided != undecided)
    return differ("undecided blocks that the store counts", counted_undecided, undecided);
  if (counted_objects != objects)
    return differ("objects that the store counts", counted_objects, objects);
  if (owned != decided + undecided)
    return differ("slots with an owner", owned, decided + undecided);
  if (free + owned != slots) return differ("free slots", free, slots - owned);
  if (counted_tombstone_bytes != tombstone_bytes)
    return differ("bytes of tombstones that the store counts", counted_tombstone_bytes,
                  tombstone_bytes);
  return "";
}

Accounts accounts_of(const Store& store) {
  return Walk(static_cast<const StoreImpl&>(store)).execute();
}

ObjectState state_of(const Store& store, ObjectId id) {
  const auto& impl = static_cast<const StoreImpl&>(store);
  return impl.state().object_state(id, [&impl](uint32_t slot) {
    const auto owner = look_up(impl, slot);
    SP_ASSERT(owner.has_value());
    return *owner;
  });
}

}  // namespace sp::store
