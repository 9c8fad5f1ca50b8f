// Recovery's half of State: table entries and log records as they are found on the device, which
// may be anything.
#include <algorithm>

#include "base/probe.h"
#include "store/record_views.h"
#include "store/state.h"

namespace sp::store {

namespace {

std::string name_of(ObjectId id) {
  return "object " + std::to_string(id.index) + " of volume " + std::to_string(id.volume);
}

}  // namespace

Status State::check_set_of(ObjectId id, SetId set, uint64_t lsn) const {
  const Object* owner = find(id);
  if (owner == nullptr || owner->set == set) return {};
  return Error(Code::damaged,
               "log page " + std::to_string(lsn) + " places " + name_of(id) + " in two disk sets");
}

Status State::load_block(uint32_t slot, const Descriptor& entry, uint64_t tail, uint32_t& needs) {
  const auto fault = [&](const std::string& what) {
    return Error(Code::damaged, "the table entry of slot " + std::to_string(slot) + " (" +
                                    name_of(entry.object_id()) + ", block " +
                                    std::to_string(entry.block()) + ") " + what +
                                    ": check the disk with sp-disk-check");
  };
  if (entry.uncommitted() || entry.zeros != 0 || entry.block() >= limits::blocks_per_object)
    return fault("is not possible");
  const SetId set = SetId::from_packed(entry.set);
  Object* known = find(entry.object_id());
  if (known != nullptr && known->set != set) return fault("names another disk set");
  Object& owner = known != nullptr ? *known : object(entry.object_id(), set);
  const uint32_t other = owner.slot(entry.block());
  if (other != no_slot && table_.find(other) == nullptr) {
    needs = SlotTable::page_of(other);
    return {};
  }
  const Version version = Version::from_packed(entry.version);
  owner.changed = std::max(owner.changed, version);
  if (other == no_slot) {
    owner.set_slot(entry.block(), slot);
    blocks_decided_++;
    return {};
  }
  const uint64_t other_version = table_.descriptor(other).version;
  if (other_version == entry.version) return fault("repeats that of slot " + std::to_string(other));
  if (other_version < entry.version) {
    owner.set_slot(entry.block(), slot);
    table_.clear(other, tail);
  } else {
    table_.clear(slot, tail);
  }
  return {};
}

Status State::claim_for_replay(uint32_t slot, const Descriptor& owner) {
  if (table_.owned(slot))
    return Error(Code::damaged, "slot " + std::to_string(slot) + " was given to " +
                                    name_of(owner.object_id()) + " while in use");
  table_.claim(slot, owner);
  return {};
}

Status State::replay_write(const Record& record, uint64_t lsn) {
  const WriteRecord write = write_record_of(record);
  SP_CHECK(check_set_of(write.object, write.set, lsn));
  std::vector<uint32_t> slots;
  if (write.kind == WriteKind::data) {
    slots.resize(write.block_count);
    for (size_t i = 0; i < slots.size(); i++) slots[i] = write_slot(record, i);
  }
  if ((record.flags & flag_relogged) != 0) {
    SP_PROBE(store_undecided_replayed_from_repetition);
    for (auto& known : set(write.set).undecided) {
      if (known.record.version != write.version) continue;
      known.lsn = lsn;
      known.overtaken = false;
      overtake(write.set, write.object, write.first_block, write.block_count, write.version);
      return {};
    }
    // Said again, but known as decided already: its slots are its own.
    if (!slots.empty() && table_.owned(slots[0]) &&
        table_.descriptor(slots[0]).version == write.version.packed() &&
        table_.descriptor(slots[0]).object_id() == write.object)
      return {};
  }
  for (size_t i = 0; i < slots.size(); i++)
    SP_CHECK(claim_for_replay(
        slots[i],
        make_descriptor(write.object, write.set, write.first_block + static_cast<uint32_t>(i),
                        write.version, write_crc(record, i))));
  add_write(write, slots, lsn);
  return {};
}

Status State::replay_placed(const Record& record, uint64_t lsn) {
  const auto head = record.head<ObjectBody>();
  const ObjectId id{head.volume, head.object};
  SP_CHECK(check_set_of(id, SetId::from_packed(head.set), lsn));
  for (size_t i = 0; i < head.count; i++) {
    const auto entry = record.entry<ObjectBody, RecoveredEntry>(i);
    SP_CHECK(
        claim_for_replay(entry.slot, make_descriptor(id, SetId::from_packed(head.set), entry.block,
                                                     Version::from_packed(entry.version), entry.crc,
                                                     (record.flags & flag_lost) != 0)));
    if (record.kind == RecordKind::repair)
      add_repair(head, entry, true, lsn);
    else
      add_recovered(head, entry, lsn);
  }
  return {};
}

Status State::replay(const Record& record, uint64_t lsn) {
  Status status;
  switch (record.kind) {
    case RecordKind::write: status = replay_write(record, lsn); break;
    case RecordKind::recovered:
    case RecordKind::repair: status = replay_placed(record, lsn); break;
    case RecordKind::decide:
    case RecordKind::drop: {
      const auto body = record.head<SetVersionBody>();
      const SetId id = SetId::from_packed(body.set);
      decide(id, Version::from_packed(body.version));
      if (record.kind == RecordKind::drop)
        finish_drop(id, lsn);
      else
        set(id).decided_lsn = lsn;
      set(id).decide_pending = set(id).decided_lsn == 0 && !set(id).decided.is_zero();
      break;
    }
    case RecordKind::set: {
      const auto body = record.head<SetBody>();
      put_set({SetId::from_packed(body.set), body.epoch, body.recovering != 0,
               Version::from_packed(body.complete_to)},
              lsn);
      break;
    }
    case RecordKind::remove_set:
      remove_set(SetId::from_packed(record.head<SetVersionBody>().set), lsn);
      break;
    case RecordKind::remove_volume: remove_volume(record.head<VolumeBody>().volume, lsn); break;
    case RecordKind::forget: {
      const auto body = record.head<SetVersionBody>();
      forget(SetId::from_packed(body.set), Version::from_packed(body.version));
      break;
    }
    case RecordKind::tombstone: {
      const auto head = record.head<ObjectBody>();
      SP_CHECK(check_set_of({head.volume, head.object}, SetId::from_packed(head.set), lsn));
      SP_PROBE(store_tombstone_replayed);
      std::vector<RangeEntry> ranges(head.count);
      for (size_t i = 0; i < ranges.size(); i++)
        ranges[i] = record.entry<ObjectBody, RangeEntry>(i);
      add_tombstone(head, ranges, lsn);
      break;
    }
    case RecordKind::applied: {
      const auto head = record.head<ObjectBody>();
      SP_CHECK(check_set_of({head.volume, head.object}, SetId::from_packed(head.set), lsn));
      finish_recovered(head, record.body.subspan(sizeof head).first<listed_bytes>(), lsn);
      break;
    }
    case RecordKind::operations: {
      const auto head = record.head<SetVersionBody>();
      for (size_t i = 0; i < head.count; i++) {
        const auto entry = record.entry<SetVersionBody, OperationEntry>(i);
        add_operation(SetId::from_packed(head.set), {entry.client, entry.generation, entry.number},
                      Version::from_packed(entry.version), lsn);
      }
      break;
    }
    case RecordKind::homes:  // these two are taken up before the tables are read
    case RecordKind::index:
    case RecordKind::opened: break;
  }
  SP_CHECK(status);
  std::vector<Commit> commits = std::move(commits_);
  commits_.clear();
  for (const Commit& commit : commits) settle(commit);
  return {};
}

}  // namespace sp::store
