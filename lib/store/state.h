// State: everything that the store knows in memory, and the one place where log records take
// effect. The running store applies a record once its round is durable; recovery applies the same
// records in the same order and so arrives at the same state. Pure: no I/O, no clock.
//
// Changes of ownership go through commits: an ordered queue of "this slot is now the block's, that
// one nobody's". The running store settles a commit only when the round that was formed after it is
// durable, because a decision is remembered lazily: until then the table pages and the replaced
// slot must stay as they were.
#pragma once
#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <set>
#include <span>
#include <unordered_map>
#include <vector>

#include "store/index.h"
#include "store/records.h"
#include "store/set_state.h"
#include "store/slot_table.h"

namespace sp::store {

// Told of each object before it changes, or goes.
class ChangeWatch {
 public:
  virtual ~ChangeWatch() = default;
  virtual void before_change(Object& object) = 0;
  virtual void made(Object& object) = 0;
};

class State {
 public:
  State(const disk::Superblock& superblock, const Options& options);

  SlotTable& table() { return table_; }
  const SlotTable& table() const { return table_; }
  Object* find(ObjectId id);
  const Object* find(ObjectId id) const { return const_cast<State*>(this)->find(id); }
  SetState& set(SetId id);
  const SetState* find_set(SetId id) const;
  SetState* find_set(SetId id) { return const_cast<SetState*>(std::as_const(*this).find_set(id)); }
  std::map<SetId, SetState>& sets() { return sets_; }
  const std::map<SetId, SetState>& sets() const { return sets_; }

  // questions
  // The version that a write of this block must exceed: what is stored and decided, or was
  // discarded. Its entry has to be in memory (needs.h).
  static Version stored_version(const State& state, const Object* object, uint32_t block);
  bool is_known(const WriteRecord& record) const;  // nothing of it is newer than what is here
  uint32_t growth_of(const WriteRecord& record) const;
  bool has_undecided(ObjectId object, uint32_t first, uint32_t count) const;
  const Undecided* find_undecided(SetId set, Version version) const;
  uint64_t blocks_decided() const { return blocks_decided_; }
  uint64_t blocks_undecided() const { return blocks_undecided_; }
  uint64_t undecided_growth() const { return undecided_growth_; }
  uint64_t undecided_log_bytes() const { return undecided_log_bytes_; }
  size_t object_count() const { return objects_.size(); }
  const std::map<VolumeId, uint32_t>& volumes() const { return volumes_; }
  uint64_t memory_bytes() const;
  // `owner_of(slot)`: what the table says of it.
  template <class OwnerOf>
  ObjectState object_state(ObjectId object, const OwnerOf& owner_of) const;

  // effects of records. Slots of data are claimed before.
  // A write that `decide` was already told of is visible at once.
  void add_write(const WriteRecord& record, std::span<const uint32_t> slots, uint64_t lsn);
  void decide(SetId set, Version up_to);
  void begin_drop(SetId set);                 // undecided -> dropping
  void finish_drop(SetId set, uint64_t lsn);  // frees what is dropping
  void put_set(const SetRecord& record, uint64_t lsn);
  void remove_set(SetId set, uint64_t lsn);
  void remove_volume(VolumeId volume, uint64_t lsn);
  void forget(SetId set, Version passed);
  void add_tombstone(const ObjectBody& head, std::span<const RangeEntry> ranges, uint64_t lsn);
  void add_recovered(const ObjectBody& head, const RecoveredEntry& entry, uint64_t lsn);
  void finish_recovered(const ObjectBody& head, std::span<const std::byte, listed_bytes> listed,
                        uint64_t lsn);
  void add_repair(const ObjectBody& head, const RecoveredEntry& entry, bool replaying,
                  uint64_t lsn);
  void add_operation(SetId set, const OperationId& id, Version version, uint64_t lsn);

  // The log is replayed from where its tail is by then: it has to tell of a block in the order of
  // versions, or what is older comes back when the newer record has left it. So whoever logs
  // something of `than` for these blocks says so here, and what is newer and undecided is said
  // again before its decision is logged.
  void overtake(SetId set, ObjectId object, uint32_t first, uint32_t count, Version than);
  std::deque<SayAgain>& say_again() { return say_again_; }  // decided, not said again yet
  const std::deque<SayAgain>& say_again() const { return say_again_; }

  // commits
  std::vector<Commit>& commits() { return commits_; }
  const std::vector<Commit>& commits() const { return commits_; }
  // Makes one commit true of the table; the slot that became nobody's, or no_slot.
  uint32_t settle(const Commit& commit);

  // sticky state, ascending by the lsn that must stay in the log
  const std::set<std::pair<uint64_t, ObjectId>>& tombstones() const { return tombstones_; }
  void set_tombstone_lsn(Object& object, uint64_t lsn);  // also when its ranges have changed
  uint64_t tombstone_bytes() const { return tombstone_bytes_; }  // that they take of the log
  static size_t tombstone_bytes_of(const Object& object);
  // Operations kept per set: limits::set_undecided_max, fewer where those of all sets would fill
  // more than their share of the log: they are said again each time that it goes round.
  size_t operations_kept() const;

  // saved index (index_saver.h). While there is a watch, all objects that change are shown to it
  // before. False while something is half done that a saved index does not tell of.
  void set_watch(ChangeWatch* watch) { watch_ = watch; }
  bool is_plain() const;
  Status load_object(Bytes saved, uint64_t tail);  // SavedKind::object

  // recovery
  // A committed entry found at home, which the table knows (SlotTable::load_entry); the older of
  // two entries of one block becomes nobody's, dirty since `tail`. Where another page has the
  // block, too, and is not in memory, it does nothing but to say which in `needs`.
  Status load_block(uint32_t slot, const Descriptor& entry, uint64_t tail, uint32_t& needs);
  Status replay(const Record& record, uint64_t lsn);

 private:
  Object& object(ObjectId id, SetId set);
  void erase_if_empty(Object& object);
  void touch(Object& object) {
    if (watch_ != nullptr) watch_->before_change(object);
  }
  void erase_object(Object& object, uint64_t lsn);
  void store_block(Object& object, uint32_t block, uint32_t slot, Version version, bool superseded,
                   uint64_t lsn);
  void supersede(const Object& object, uint32_t block, Version version);
  void remove_block(Object& object, uint32_t block, uint64_t lsn);
  void make_visible(Undecided& write);
  void drop_said_again(const std::function<bool(const WriteRecord&)>& gone);
  void show_up_to(SetState& state, Version up_to);
  void free_undecided(Undecided& write, uint64_t lsn);
  void forget_undecided(Undecided& write);
  Status replay_write(const Record& record, uint64_t lsn);
  Status replay_placed(const Record& record, uint64_t lsn);
  Status claim_for_replay(uint32_t slot, const Descriptor& owner);
  Status check_set_of(ObjectId id, SetId set, uint64_t lsn) const;

  disk::Superblock superblock_;
  size_t operations_kept_max_;
  SlotTable table_;
  ChunkPool chunks_;
  std::unordered_map<ObjectId, std::unique_ptr<Object>> objects_;  // never iterated
  std::map<SetId, SetState> sets_;
  std::unordered_map<SetId, SetState*> sets_by_id_;  // the same, found in one step
  std::map<VolumeId, uint32_t> volumes_;             // objects of each
  std::vector<Commit> commits_;
  std::deque<SayAgain> say_again_;
  std::set<std::pair<uint64_t, ObjectId>> tombstones_;
  ChangeWatch* watch_ = nullptr;
  uint64_t tombstone_bytes_ = 0;
  uint64_t blocks_decided_ = 0;
  uint64_t blocks_undecided_ = 0;
  uint64_t undecided_growth_ = 0;
  uint64_t undecided_log_bytes_ = 0;
};

template <class OwnerOf>
ObjectState State::object_state(ObjectId id, const OwnerOf& owner_of) const {
  ObjectState out;
  out.object = id;
  const Object* object = find(id);
  if (object == nullptr) return out;
  out.set = object->set;
  out.changed = object->changed;
  for (uint32_t block = object->next_used(0); block < limits::blocks_per_object;
       block = object->next_used(block + 1)) {
    const Descriptor owner = owner_of(object->slot(block));
    out.blocks.push_back(
        {static_cast<uint16_t>(block), Version::from_packed(owner.version), owner.crc});
  }
  return out;
}

Descriptor make_descriptor(ObjectId object, SetId set, uint32_t block, Version version,
                           uint64_t crc, bool lost = false);

}  // namespace sp::store
