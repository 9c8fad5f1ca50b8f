#include "store/needs.h"

#include <algorithm>

#include "store/listed.h"
#include "store/record_views.h"

namespace sp::store {

namespace {

void need_slot(const State& state, uint32_t slot, Slots& slots) {
  if (state.table().owned(slot) && state.table().find(slot) == nullptr) slots.push_back(slot);
}

void need_write(const State& state, const WriteRecord& record, Slots& slots) {
  const Object* object = state.find(record.object);
  if (object == nullptr || object->changed < record.version) return;
  for (uint32_t i = 0; i < record.block_count; i++)
    need_block(state, record.object, record.first_block + i, slots);
}

void need_unlisted(const State& state, ObjectId id, Version changed,
                   std::span<const std::byte, listed_bytes> listed, Slots& slots) {
  const Object* object = state.find(id);
  if (object == nullptr || object->changed <= changed) return;
  for (uint32_t block = object->next_used(0); block < limits::blocks_per_object;
       block = object->next_used(block + 1))
    if (!is_listed(listed, block)) need_block(state, id, block, slots);
}

bool tells_of(const Operation& operation, ObjectId object) {
  return operation.kind == Operation::Kind::recover && operation.source.object == object;
}

}  // namespace

void need_block(const State& state, ObjectId id, uint32_t block, Slots& slots) {
  const Object* object = state.find(id);
  const uint32_t slot = object == nullptr ? no_slot : object->slot(block);
  if (slot != no_slot && state.table().find(slot) == nullptr) slots.push_back(slot);
}

void need_object(const State& state, ObjectId id, Slots& slots) {
  for (uint32_t block = 0; block < limits::blocks_per_object; block++)
    need_block(state, id, block, slots);
}

void need_to_take(const State& state, const Operation& operation, Slots& slots) {
  const WriteRecord& record = operation.record;
  switch (operation.kind) {
    case Operation::Kind::prepare: return need_write(state, record, slots);
    case Operation::Kind::recover:
      for (const auto* blocks : {&operation.carried, &operation.lost})
        for (const uint16_t block : *blocks)
          need_block(state, operation.source.object, block, slots);
      return;
    case Operation::Kind::repair:
      return need_block(state, record.object, record.first_block, slots);
    default: return;
  }
}

void need_of_round(const State& state, std::span<Operation* const> round, Slots& slots) {
  const bool recovers = std::any_of(round.begin(), round.end(), [](const Operation* operation) {
    return operation->kind == Operation::Kind::recover;
  });
  for (const Operation* operation : round) {
    if (!operation->effective) continue;
    need_to_take(state, *operation, slots);
    if (!recovers) continue;
    const WriteRecord& record = operation->record;
    if (operation->kind == Operation::Kind::prepare) {
      // What a recovery in the same round is going to tell may be newer.
      if (std::any_of(round.begin(), round.end(),
                      [&](const Operation* other) { return tells_of(*other, record.object); }))
        for (uint32_t i = 0; i < record.block_count; i++)
          need_block(state, record.object, record.first_block + i, slots);
    } else if (operation->kind == Operation::Kind::recover) {
      const ObjectState& source = operation->source;
      need_unlisted(state, source.object, source.changed, listed_of(source), slots);
    }
  }
}

void need_to_replay(const State& state, const Record& record, Slots& slots) {
  switch (record.kind) {
    case RecordKind::write:
      // Whether what is said again was decided before, is told by its first slot.
      if (const WriteRecord write = write_record_of(record);
          (record.flags & flag_relogged) != 0 && write.kind == WriteKind::data &&
          state.find_undecided(write.set, write.version) == nullptr)
        need_slot(state, write_slot(record, 0), slots);
      need_write(state, write_record_of(record), slots);
      break;
    case RecordKind::recovered:
    case RecordKind::repair: {
      const auto head = record.head<ObjectBody>();
      for (size_t i = 0; i < head.count; i++)
        need_block(state, {head.volume, head.object},
                   record.entry<ObjectBody, RecoveredEntry>(i).block, slots);
      break;
    }
    case RecordKind::applied: {
      const auto head = record.head<ObjectBody>();
      need_unlisted(state, {head.volume, head.object}, Version::from_packed(head.version),
                    record.body.subspan(sizeof head).first<listed_bytes>(), slots);
      break;
    }
    case RecordKind::tombstone: {
      const auto head = record.head<ObjectBody>();
      for (size_t i = 0; i < head.count; i++) {
        const auto range = record.entry<ObjectBody, RangeEntry>(i);
        for (uint32_t block = range.first_block;
             block < uint32_t{range.first_block} + range.block_count; block++)
          need_block(state, {head.volume, head.object}, block, slots);
      }
      break;
    }
    default: break;
  }
}

std::vector<uint32_t> pages_of(const Slots& slots) {
  std::vector<uint32_t> pages;
  for (const uint32_t slot : slots) pages.push_back(SlotTable::page_of(slot));
  std::sort(pages.begin(), pages.end());
  pages.erase(std::unique(pages.begin(), pages.end()), pages.end());
  return pages;
}

}  // namespace sp::store
