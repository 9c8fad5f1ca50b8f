// What StoreImpl needs of the slot table before it can go on: most writes need nothing, since they
// are newer than anything their object has seen. What does, is looked at when it is taken into a
// round, and once more before it takes effect, because decisions come in between.
#include <algorithm>
#include <array>

#include "base/probe.h"
#include "store/store_impl.h"

namespace sp::store {

namespace {

void sort_unique(std::vector<uint32_t>& pages) {
  std::sort(pages.begin(), pages.end());
  pages.erase(std::unique(pages.begin(), pages.end()), pages.end());
}

}  // namespace

void StoreImpl::need(const Operation& operation, bool takes_effect,
                     std::vector<uint32_t>& pages) const {
  const WriteRecord& record = operation.record;
  switch (operation.kind) {
    case Operation::Kind::prepare: {
      // What a recovery in the same round is going to tell may be newer.
      const auto tells = [&](const Operation* other) {
        return other->kind == Operation::Kind::recover && other->source.object == record.object;
      };
      if (!takes_effect || std::none_of(round_operations_.begin(), round_operations_.end(), tells))
        return state_.need_write(record, pages);
      for (uint32_t i = 0; i < record.block_count; i++)
        state_.need_block(record.object, record.first_block + i, pages);
      return;
    }
    case Operation::Kind::recover: {
      const ObjectState& source = operation.source;
      for (const auto* blocks : {&operation.carried, &operation.lost})
        for (const uint16_t block : *blocks) state_.need_block(source.object, block, pages);
      if (!takes_effect) return;
      std::array<std::byte, listed_bytes> listed{};
      for (const BlockState& state : source.blocks)
        listed[state.block / 8] |= std::byte(1u << (state.block % 8));
      state_.need_unlisted(source.object, source.changed, listed, pages);
      return;
    }
    case Operation::Kind::repair:
      return state_.need_block(record.object, record.first_block, pages);
    default: return;
  }
}

// Whether the call at the front of the queue can be taken now; else its pages are on their way.
bool StoreImpl::is_ready(const Operation& operation) {
  if (front_loading_) return false;
  if (state_.table().pages().has_all()) return true;
  std::vector<uint32_t> pages;
  need(operation, false, pages);
  if (pages.empty()) return true;
  SP_PROBE(store_call_waits_for_table_pages);
  sort_unique(pages);
  front_loading_ = true;
  loader_.load(*disk_, pages, [this](Result<PagePins> loaded) {
    front_loading_ = false;
    if (!loaded.ok()) return fail(std::move(loaded).error());
    front_pins_ = std::move(loaded).value();
    pump();
  });
  return false;
}

void StoreImpl::settle_round() {
  if (state_.table().pages().has_all()) return round_durable();
  std::vector<uint32_t> pages;
  for (const Operation* operation : round_operations_)
    if (operation->effective) need(*operation, true, pages);
  if (pages.empty()) return round_durable();
  SP_PROBE(store_round_waits_for_table_pages);
  sort_unique(pages);
  loader_.load(*disk_, pages, [this](Result<PagePins> loaded) {
    if (failure_) return;
    if (!loaded.ok()) return fail(std::move(loaded).error());
    round_pins_ = std::move(loaded).value();
    settle_round();
  });
}

ObjectState StoreImpl::state_of(ObjectId id) const {
  ObjectState out;
  out.object = id;
  const Object* object = state_.find(id);
  if (object == nullptr) return out;
  out.set = object->set;
  out.changed = object->changed;
  for (uint32_t block = object->next_used(0); block < limits::blocks_per_object;
       block = object->next_used(block + 1)) {
    const Descriptor& descriptor = state_.table().descriptor(object->slot(block));
    out.blocks.push_back(
        {static_cast<uint16_t>(block), Version::from_packed(descriptor.version), descriptor.crc});
  }
  return out;
}

void StoreImpl::object_state(ObjectId id, Callback<void(Result<ObjectState>)> done) {
  struct Call {
    ObjectId id;
    Callback<void(Result<ObjectState>)> done;
  };
  auto call = std::make_unique<Call>(Call{id, std::move(done)});
  std::vector<uint32_t> pages;
  for (uint32_t block = 0; block < limits::blocks_per_object; block++)
    state_.need_block(id, block, pages);
  sort_unique(pages);
  // Blocks that are written meanwhile have their entries in memory; those that were, and are not
  // any more, need another look.
  loader_.load(*disk_, pages, [this, call = std::move(call)](Result<PagePins> loaded) {
    if (!loaded.ok() && !failure_) {
      const auto alive = alive_;
      fail(loaded.error());
      if (!*alive) return;
    }
    if (failure_) return call->done.call_once(*failure_);
    std::vector<uint32_t> missing;
    for (uint32_t block = 0; block < limits::blocks_per_object; block++)
      state_.need_block(call->id, block, missing);
    if (!missing.empty()) return object_state(call->id, std::move(call->done));
    call->done.call_once(state_of(call->id));
  });
}

std::optional<Descriptor> StoreImpl::look_up(uint32_t slot) const {
  if (!state_.table().owned(slot)) return Descriptor{};
  if (const Descriptor* entry = state_.table().find(slot); entry != nullptr) return *entry;
  const uint32_t page = SlotTable::page_of(slot);
  Buffer home = Buffer::allocate(page_bytes);
  const uint64_t offset =
      table_home_offset(superblock_.layout, page, state_.table().durable_sequence(page));
  if (!disk_->peek(offset, home.mutable_bytes())) return std::nullopt;
  const auto opened = loader_.open_home(page, home.bytes());
  if (!opened.ok()) return std::nullopt;
  return opened->at(slot % disk::slots_per_table_page);
}

}  // namespace sp::store
