// Rounds of StoreImpl: forming them from the queue, writing them, and letting them take effect.
#include <algorithm>
#include <array>
#include <cstring>
#include <string_view>

#include "base/checksum.h"
#include "base/planted.h"
#include "base/probe.h"
#include "store/listed.h"
#include "store/record_views.h"
#include "store/store_impl.h"

namespace sp::store {

namespace {

// What stands in the slot of a block that came as lost: nothing with the checksum that it should
// have.
Bytes lost_content() {
  struct alignas(Buffer::alignment) Page {
    std::array<std::byte, page_bytes> bytes{};
  };
  static const Page page = [] {
    constexpr std::string_view text = "no copy had the content of this block";
    Page made;
    std::memcpy(made.bytes.data(), text.data(), text.size());
    return made;
  }();
  return page.bytes;
}

// Whether an object belongs to another set, or will when this round is durable. `object`: what is
// known of it, null when it is new.
bool is_of_other_set(const Object* object, const std::vector<Operation*>& round, ObjectId id,
                     SetId set) {
  if (object != nullptr) return object->set != set;
  return std::any_of(round.begin(), round.end(), [&](const Operation* other) {
    if (!other->effective) return false;
    switch (other->kind) {
      case Operation::Kind::prepare: return other->record.object == id && other->record.set != set;
      case Operation::Kind::recover: return other->source.object == id && other->source.set != set;
      default: return false;
    }
  });
}

}  // namespace

void StoreImpl::wake() {
  if (waking_ || failure_) return;
  waking_ = true;
  host_.reactor.post([this, alive = alive_] {
    if (!*alive) return;
    waking_ = false;
    pump();
  });
}

void StoreImpl::pump() {
  if (round_active_ || failure_ || options_.verify_only || late_timer_.armed()) return;
  consider_reclaim();
  if (queue_.empty() && !want_round_ && reclaim_ != Reclaim::logging) return;
  if (const uint32_t draw = SP_BUGGIFY(store_round_late, host_)) {
    late_timer_.arm(std::chrono::milliseconds(1 + draw % 30), [this] { pump(); });
    return;
  }
  form_round();
}

uint32_t StoreImpl::pages_for_decides() const {
  constexpr size_t per_page = log_payload_bytes / (sizeof(RecordHeader) + sizeof(SetVersionBody));
  return static_cast<uint32_t>((decides_pending_.size() + forgets_pending_.size() + 8) / per_page +
                               1);
}

void StoreImpl::form_round() {
  builder_.begin(next_lsn_);
  if (SP_PLANTED_BUG(store_reuses_freed_early)) {
    std::swap(round_commits_, state_.commits());
    settle_commits();
  }
  round_blocks_ = 0;
  round_growth_ = 0;
  round_newest_.clear();
  round_tail_ = tail_;
  const uint64_t free_pages = log_pages_ - log_used();
  const auto limit = static_cast<uint32_t>(std::min<uint64_t>(builder_.pages_max(), free_pages));
  if (limit < 4) {
    fail(Error(
        Code::no_space,
        "the log is full of state that cannot leave it: undecided writes, tombstones, operations"));
    return;
  }
  const uint32_t kept = std::min(limit - 1, pages_for_decides());
  const bool all_said = say_again(limit - kept);
  // It says decisions, too: after what they wait for.
  if (all_said && reclaim_ == Reclaim::logging) collect(limit - kept);
  const uint64_t for_calls = free_pages > log_reserve_ ? free_pages - log_reserve_ : 0;
  if (for_calls == 0 && !queue_.empty()) SP_PROBE(store_calls_wait_for_reclaim);
  const bool tight = SP_BUGGIFY(store_log_nearly_full, host_) != 0;
  const auto calls_limit =
      static_cast<uint32_t>(std::min<uint64_t>(limit - kept, tight ? 1 : for_calls));
  while (!queue_.empty() && round_blocks_ < options_.round_blocks_max) {
    if (!is_ready(*queue_.front())) break;
    if (take(*queue_.front(), calls_limit) == Taken::wait) break;
    Operation* taken = queue_.front();
    round_operations_.push_back(taken);
    queue_.pop_front();
    front_pins_.clear();
    // What follows a removal has to be compared with the state after it.
    if (taken->kind == Operation::Kind::remove_set || taken->kind == Operation::Kind::remove_volume)
      break;
    if (SP_BUGGIFY(store_round_of_one, host_)) break;
  }
  if (all_said) {
    log_decides();
    log_saved_index();
    std::swap(round_commits_, state_.commits());
  }
  if (builder_.pages() == 0 && (want_round_ || !round_commits_.empty())) builder_.add_page();
  want_round_ = !all_said;
  if (builder_.pages() == 0) {
    // Nothing to write: refused or dropped calls only, or all wait for reclaim or for reads.
    if (!round_operations_.empty()) {
      round_active_ = true;
      round_durable();
    } else if (tight) {
      wake();
    }
    return;
  }
  submit_round();
}

StoreImpl::Taken StoreImpl::take(Operation& operation, uint32_t pages_limit) {
  switch (operation.kind) {
    case Operation::Kind::prepare: return take_prepare(operation, pages_limit);
    case Operation::Kind::recover: return take_recover(operation, pages_limit);
    case Operation::Kind::repair: return take_repair(operation, pages_limit);
    case Operation::Kind::checkpoint: return Taken::yes;
    default: break;
  }
  if (builder_.pages_with(1, sizeof(RecordHeader) + sizeof(SetBody)) + pages_for_decides() >
      pages_limit)
    return Taken::wait;
  // A decision that came before a removal must not be replayed after it: the set would be back.
  if (!state_.say_again().empty()) return Taken::wait;
  log_decides();
  operation.effective = true;
  if (operation.kind == Operation::Kind::put_set) {
    const SetRecord& record = operation.set_record;
    const SetBody body{record.complete_to.packed(), record.set.packed(), record.epoch,
                       record.recovering ? 1u : 0u, 0};
    operation.lsn = builder_.append(RecordKind::set, 0, {struct_bytes(body)});
  } else if (operation.kind == Operation::Kind::remove_volume) {
    const VolumeBody body{operation.volume, 0};
    operation.lsn = builder_.append(RecordKind::remove_volume, 0, {struct_bytes(body)});
  } else {
    SetVersionBody body{0, operation.set.packed(), 0};
    const bool drop = operation.kind == Operation::Kind::drop;
    if (drop) body.version = decided_to(operation.set).packed();
    RecordKind kind = drop ? RecordKind::drop : RecordKind::remove_set;
    if (drop && SP_PLANTED_BUG(store_drops_in_memory_only)) kind = RecordKind::decide;
    operation.lsn = builder_.append(kind, 0, {struct_bytes(body)});
  }
  return Taken::yes;
}

StoreImpl::Taken StoreImpl::get_slots(size_t count, std::vector<uint32_t>& slots, Status& outcome) {
  SlotTable& table = state_.table();
  slots.clear();
  if (table.free_count() < count) {
    // What was replaced becomes free when this round's decisions are durable and the readers are
    // gone.
    if (!state_.commits().empty() || !releasing_.empty()) {
      SP_PROBE(store_waits_for_freed_slots);
      return Taken::wait;
    }
    SP_PROBE(store_no_free_slot);
    outcome =
        Error(Code::no_space,
              "the disk has no free blocks: delete volumes, or move disk sets to other disks");
    return Taken::yes;
  }
  for (size_t i = 0; i < count; i++) slots.push_back(*table.allocate());
  return Taken::yes;
}

StoreImpl::Taken StoreImpl::take_prepare(Operation& operation, uint32_t pages_limit) {
  const WriteRecord& record = operation.record;
  const size_t blocks = record.kind == WriteKind::data ? record.block_count : 0;
  const size_t bytes =
      std::max(write_record_bytes(blocks),
               sizeof(RecordHeader) + sizeof(SetVersionBody) + sizeof(OperationEntry));
  if (builder_.pages_with(1, bytes) > pages_limit) return Taken::wait;
  const Object* object = state_.find(record.object);
  if (is_of_other_set(object, round_operations_, record.object, record.set)) {
    operation.outcome =
        Error(Code::invalid, "the object belongs to another disk set here: remove that set first");
    return Taken::yes;
  }
  if (state_.is_known(record)) {
    // Nothing to store, but a retry of the client must still find its operation.
    const SetState* set = state_.find_set(record.set);
    if (record.operation.client == 0 ||
        (set != nullptr && set->operations.find(record.version) != nullptr))
      return Taken::yes;
    const SetVersionBody head{0, record.set.packed(), 1};
    const OperationEntry entry{record.version.packed(), record.operation.number,
                               record.operation.generation, record.operation.client, 0};
    const uint64_t lsn =
        builder_.append(RecordKind::operations, 0, {struct_bytes(head), struct_bytes(entry)});
    state_.add_operation(record.set, record.operation, record.version, lsn);
    return Taken::yes;
  }
  // Sent again behind itself: two records of one version must not stand in the log, which may lose
  // the first of them alone.
  Version& newest = round_newest_[record.set];
  const auto taken = [&](const Operation* other) {
    return other->kind == Operation::Kind::prepare && other->effective &&
           other->record.set == record.set && other->record.version == record.version;
  };
  if (record.version <= newest &&
      std::any_of(round_operations_.begin(), round_operations_.end(), taken))
    return Taken::yes;
  for (size_t i = 0; object != nullptr && object->changed >= record.version && i < blocks; i++) {
    if (State::stored_version(state_, object, record.first_block + static_cast<uint32_t>(i)) <
        record.version)
      continue;
    // No copy is told of a decision before all that is older. The slots of such a part would be
    // free at once, and the log would still tell of them.
    operation.outcome = Error(Code::invalid, "a part of what is written is newer here already");
    return Taken::yes;
  }
  const uint64_t log_bytes = state_.undecided_log_bytes() + bytes;
  if (log_bytes > log_pages_ * page_bytes / (blocks > 0 ? 4 : 2)) {
    SP_PROBE(store_too_much_undecided);
    operation.outcome = Error(Code::no_space, "too many undecided writes for the log of this disk");
    return Taken::yes;
  }
  if (blocks > 0) {
    const uint32_t growth = state_.growth_of(record);
    if (state_.blocks_decided() + state_.undecided_growth() + round_growth_ + growth >
        user_slots()) {
      SP_PROBE(store_refuses_growth);
      operation.outcome =
          Error(Code::no_space, "the disk is full: delete volumes or snapshots, or add disks");
      return Taken::yes;
    }
    if (object == nullptr && state_.object_count() >= object_limit()) {
      operation.outcome =
          Error(Code::no_space, "the disk holds as many objects as it can: add disks");
      return Taken::yes;
    }
    if (get_slots(blocks, operation.slots, operation.outcome) == Taken::wait) return Taken::wait;
    if (!operation.outcome.ok()) return Taken::yes;
    round_growth_ += growth;
  }
  state_.overtake(record.set, record.object, record.first_block, record.block_count,
                  record.version);
  for (size_t i = 0; i < blocks; i++) {
    state_.table().claim(
        operation.slots[i],
        make_descriptor(record.object, record.set, record.first_block + static_cast<uint32_t>(i),
                        record.version, operation.crcs[i]));
    builder_.add_data(operation.slots[i],
                      operation.data.data() + operation.data_offset + i * page_bytes);
  }
  round_blocks_ += static_cast<uint32_t>(blocks);
  newest = std::max(newest, record.version);
  log_write(record, 0, operation.crcs, operation.slots, operation.lsn);
  operation.effective = true;
  return Taken::yes;
}

void StoreImpl::log_write(const WriteRecord& record, uint8_t flags, std::span<const uint64_t> crcs,
                          std::span<const uint32_t> slots, uint64_t& lsn) {
  const WriteBody body = write_body_of(record);
  lsn = builder_.append(RecordKind::write, flags,
                        {struct_bytes(body), std::as_bytes(crcs), std::as_bytes(slots)});
}

StoreImpl::Taken StoreImpl::take_recover(Operation& operation, uint32_t pages_limit) {
  const ObjectState& source = operation.source;
  constexpr size_t bytes_max =
      sizeof(RecordHeader) + sizeof(ObjectBody) + recovered_per_record * sizeof(RecoveredEntry);
  const auto records_of = [](size_t count) {
    return (count + recovered_per_record - 1) / recovered_per_record;
  };
  const size_t records = records_of(operation.carried.size()) + records_of(operation.lost.size());
  if (builder_.pages_with(records + 1, bytes_max) + pages_for_decides() > pages_limit)
    return Taken::wait;
  const Object* object = state_.find(source.object);
  if (is_of_other_set(object, round_operations_, source.object, source.set)) {
    operation.outcome =
        Error(Code::invalid, "the object belongs to another disk set here: remove that set first");
    return Taken::yes;
  }
  if (!state_.say_again().empty()) return Taken::wait;
  log_decides();  // what was decided before has to be found decided when this is replayed
  operation.entries.clear();
  std::vector<const std::byte*> contents;
  const auto add = [&](uint16_t block, const std::byte* content) {
    const auto at = std::lower_bound(
        source.blocks.begin(), source.blocks.end(), block,
        [](const BlockState& state, uint16_t value) { return state.block < value; });
    if (State::stored_version(state_, object, block) >= at->version &&
        !SP_PLANTED_BUG(store_recovery_overwrites_newer)) {
      SP_PROBE(store_recovery_brings_older);
      return;
    }
    operation.entries.push_back({at->version.packed(), at->crc, no_slot, block, 0});
    contents.push_back(content);
  };
  for (size_t i = 0; i < operation.carried.size(); i++)
    add(operation.carried[i], operation.data.data() + i * page_bytes);
  operation.entries_whole = operation.entries.size();
  for (const uint16_t block : operation.lost) add(block, lost_content().data());
  if (SP_PLANTED_BUG(store_believes_lost_content))
    for (size_t i = operation.entries_whole; i < operation.entries.size(); i++)
      operation.entries[i].crc = crc64(lost_content());
  if (get_slots(operation.entries.size(), operation.slots, operation.outcome) == Taken::wait)
    return Taken::wait;
  if (!operation.outcome.ok()) return Taken::yes;
  for (size_t i = 0; i < operation.entries.size(); i++) {
    RecoveredEntry& entry = operation.entries[i];
    entry.slot = operation.slots[i];
    state_.overtake(source.set, source.object, entry.block, 1, Version::from_packed(entry.version));
    state_.table().claim(entry.slot, make_descriptor(source.object, source.set, entry.block,
                                                     Version::from_packed(entry.version), entry.crc,
                                                     i >= operation.entries_whole));
    builder_.add_data(entry.slot, contents[i]);
  }
  round_blocks_ += static_cast<uint32_t>(operation.entries.size());
  ObjectBody head{source.changed.packed(), source.set.packed(), source.object.volume,
                  source.object.index, 0};
  bool first = true;
  for (size_t at = 0; at < operation.entries.size(); at += head.count) {
    const bool whole = at < operation.entries_whole;
    const size_t end = whole ? operation.entries_whole : operation.entries.size();
    head.count = static_cast<uint32_t>(std::min(recovered_per_record, end - at));
    const uint64_t lsn = builder_.append(
        RecordKind::recovered, whole ? uint8_t{0} : flag_lost,
        {struct_bytes(head), std::as_bytes(std::span(operation.entries).subspan(at, head.count))});
    if (std::exchange(first, false)) operation.lsn = lsn;
  }
  const Listed listed = listed_of(source);
  head.count = 0;
  const uint64_t lsn = builder_.append(RecordKind::applied, 0,
                                       {struct_bytes(head), std::span<const std::byte>(listed)});
  if (first) operation.lsn = lsn;
  operation.effective = true;
  return Taken::yes;
}

StoreImpl::Taken StoreImpl::take_repair(Operation& operation, uint32_t pages_limit) {
  if (builder_.pages_with(1, sizeof(RecordHeader) + sizeof(ObjectBody) + sizeof(RecoveredEntry)) +
          pages_for_decides() >
      pages_limit)
    return Taken::wait;
  if (!state_.say_again().empty()) return Taken::wait;
  log_decides();  // as for take_recover
  const WriteRecord& record = operation.record;
  const Object* object = state_.find(record.object);
  const uint32_t old = object == nullptr ? no_slot : object->slot(record.first_block);
  if (old == no_slot || state_.table().descriptor(old).version != record.version.packed()) {
    SP_PROBE(store_repair_comes_late);
    return Taken::yes;
  }
  if (get_slots(1, operation.slots, operation.outcome) == Taken::wait) return Taken::wait;
  if (!operation.outcome.ok()) return Taken::yes;
  const uint32_t slot = operation.slots[0];
  state_.overtake(object->set, record.object, record.first_block, 1, record.version);
  state_.table().claim(slot, make_descriptor(record.object, object->set, record.first_block,
                                             record.version, operation.crcs[0]));
  builder_.add_data(slot, operation.data.data());
  round_blocks_++;
  operation.entries.assign(
      1, {record.version.packed(), operation.crcs[0], slot, record.first_block, 0});
  const ObjectBody head{record.version.packed(), object->set.packed(), record.object.volume,
                        record.object.index, 1};
  operation.lsn = builder_.append(RecordKind::repair, 0,
                                  {struct_bytes(head), struct_bytes(operation.entries[0])});
  operation.effective = true;
  return Taken::yes;
}

// Before the decisions are logged. False when not all fitted: then the decisions wait, and nothing
// is freed by them.
bool StoreImpl::say_again(uint32_t pages_limit) {
  auto& writes = state_.say_again();
  for (; !writes.empty(); writes.pop_front()) {
    uint64_t lsn = 0;
    if (!log_again(writes.front().record, writes.front().slots, pages_limit, lsn)) return false;
  }
  return true;
}

void StoreImpl::log_decides() {
  for (const SetId id : decides_pending_) {
    SetState* set = state_.find_set(id);
    if (set == nullptr) continue;
    set->decide_listed = false;
    if (!set->decide_pending) continue;
    const SetVersionBody body{set->decided.packed(), id.packed(), 0};
    set->decided_lsn = builder_.append(RecordKind::decide, 0, {struct_bytes(body)});
    set->decide_pending = false;
  }
  decides_pending_.clear();
  for (const SetId id : forgets_pending_) {
    SetState* set = state_.find_set(id);
    if (set == nullptr || !set->forget_pending) continue;
    const SetVersionBody body{set->forget.packed(), id.packed(), 0};
    builder_.append(RecordKind::forget, 0, {struct_bytes(body)});
    set->forget_pending = false;
  }
  forgets_pending_.clear();
}

void StoreImpl::submit_round() {
  LogPageHeader header{};
  header.session = session_;
  header.previous_session = previous_session_;
  header.stable_lsn = builder_.first_lsn();  // one round at a time: all before it are durable
  header.tail_lsn = round_tail_;
  builder_.seal(superblock_, header);
  round_active_ = true;
  round_flushing_ = false;
  const auto step = [this, keeper = keeper_.lock()](Status status) {
    round_step(std::move(status));
  };
  const auto& writes = builder_.join_data(staging_);
  const uint64_t ring_at = builder_.first_lsn() % log_pages_;
  const auto before_wrap =
      static_cast<uint32_t>(std::min<uint64_t>(builder_.pages(), log_pages_ - ring_at));
  const uint32_t after_wrap = builder_.pages() - before_wrap;
  round_outstanding_ = static_cast<uint32_t>(writes.size()) + (after_wrap > 0 ? 2 : 1);
  device_bytes_written_ += uint64_t{builder_.pages()} * page_bytes;
  for (const RoundBuilder::DataWrite& write : writes) {
    device_bytes_written_ += write.bytes.size();
    disk_->write(state_.table().slot_offset(write.slot), write.bytes, step);
  }
  disk_->write(superblock_.layout.log_offset + ring_at * page_bytes,
               builder_.page_bytes_at(0, before_wrap), step);
  if (after_wrap == 0) return;
  SP_PROBE(store_round_wraps);
  disk_->write(superblock_.layout.log_offset, builder_.page_bytes_at(before_wrap, after_wrap),
               step);
}

void StoreImpl::round_step(Status status) {
  if (failure_) return;
  if (!status.ok() && round_flushing_ && SP_PLANTED_BUG(store_repeats_failed_flush)) {
    disk_->flush([this, keeper = keeper_.lock()](Status again) { round_step(std::move(again)); });
    return;
  }
  const bool believed = round_flushing_ ? SP_PLANTED_BUG(store_believes_failed_flush)
                                        : SP_PLANTED_BUG(store_believes_failed_write);
  if (!status.ok() && !believed) {
    fail(std::move(status).error().with(round_flushing_ ? "flushing the log"
                                                        : "writing to the log or to blocks"));
    return;
  }
  if (round_flushing_) {
    settle_round();
    return;
  }
  if (--round_outstanding_ > 0) return;
  if (SP_PLANTED_BUG(store_acknowledges_unflushed)) {
    settle_round();
    return;
  }
  round_flushing_ = true;
  disk_->flush([this, keeper = keeper_.lock()](Status flushed) { round_step(std::move(flushed)); });
}

bool StoreImpl::is_proven(uint32_t slot) const {
  return std::none_of(unproven_.begin(), unproven_.end(), [slot](const DataPiece& piece) {
    return slot >= piece.slot && slot - piece.slot < piece.count;
  });
}

void StoreImpl::settle_commits() {
  for (const Commit& commit : round_commits_) {
    const uint32_t freed = state_.settle(commit);
    if (freed != no_slot && !SP_PLANTED_BUG(store_leaks_freed_slots))
      releasing_.push_back({reads_.newest(), freed});
  }
  round_commits_.clear();
  release_slots();
}

void StoreImpl::release_slots() {
  if (!releasing_.empty() && reads_.any_up_to(releasing_.front().read_number))
    SP_PROBE(store_freed_slot_is_being_read);
  while (!releasing_.empty() && (!reads_.any_up_to(releasing_.front().read_number) ||
                                 SP_PLANTED_BUG(store_reuses_slots_being_read))) {
    state_.table().release(releasing_.front().slot);
    releasing_.pop_front();
  }
}

void StoreImpl::apply(Operation& operation) {
  if (operation.kind == Operation::Kind::checkpoint) {
    checkpoints_waiting_.push_back(std::move(operation.done));
    return;
  }
  if (!operation.effective) return;
  const uint64_t lsn = operation.lsn;
  switch (operation.kind) {
    case Operation::Kind::prepare:
      state_.add_write(operation.record, operation.slots, lsn);
      decided(operation.record.set);
      break;
    case Operation::Kind::put_set: state_.put_set(operation.set_record, lsn); break;
    case Operation::Kind::drop:
      state_.finish_drop(operation.set, lsn);
      decided(operation.set);
      break;
    case Operation::Kind::remove_set: state_.remove_set(operation.set, lsn); break;
    case Operation::Kind::remove_volume: state_.remove_volume(operation.volume, lsn); break;
    case Operation::Kind::recover: {
      const ObjectState& source = operation.source;
      ObjectBody head{source.changed.packed(), source.set.packed(), source.object.volume,
                      source.object.index, 0};
      for (const RecoveredEntry& entry : operation.entries) state_.add_recovered(head, entry, lsn);
      state_.finish_recovered(head, listed_of(source), lsn);
      break;
    }
    case Operation::Kind::repair: {
      const WriteRecord& record = operation.record;
      state_.add_repair({record.version.packed(), 0, record.object.volume, record.object.index, 1},
                        operation.entries[0], false, lsn);
      break;
    }
    case Operation::Kind::checkpoint: break;
  }
}

void StoreImpl::round_durable() {
  const bool written = builder_.pages() > 0;  // else there were only calls that change nothing
  if (written) {
    stable_tail_ = round_tail_;
    previous_session_ = session_;
    next_lsn_ += builder_.pages();
    builder_.swap_pieces(unproven_);
  }
  settle_commits();
  bool acknowledged = false;
  for (Operation* operation : round_operations_) {
    acknowledged |= operation->effective;
    apply(*operation);
  }
  round_pins_.clear();
  state_.table().pages().trim();
  staging_.clear();
  round_active_ = false;
  // A round that promised something is followed by another one, which proves that it was whole.
  if (acknowledged || !state_.commits().empty() || !decides_pending_.empty()) arm_lazy();
  if (written) save_index_after_round();
  if (written) reclaim_after_round(round_tail_);
  const auto alive = alive_;
  std::vector<Operation*> finished = std::move(round_operations_);
  round_operations_.clear();
  complete(finished);
  if (!*alive) return;
  round_operations_.swap(finished);
  round_operations_.clear();
  if (started_) {
    keeper_.reset();
    started_.call_once(Status{});
    if (!*alive) return;
  }
  pump();
}

void StoreImpl::complete(std::vector<Operation*>& operations) {
  const auto alive = alive_;
  for (Operation* operation : operations) {
    Status outcome = std::move(operation->outcome);
    operation->outcome = Status{};
    Done done = std::move(operation->done);
    operation->data = Buffer{};
    operation->effective = false;
    operation->slots.clear();
    operation->entries.clear();
    operations_free_.push_back(operation);
    if (done) done.call_once(std::move(outcome));
    if (!*alive) return;
  }
}

void StoreImpl::arm_lazy() {
  if (lazy_timer_.armed() || failure_) return;
  lazy_timer_.arm(options_.lazy_delay, [this] {
    want_round_ = true;
    pump();
  });
}

void StoreImpl::decided(SetId id) {
  SetState* set = state_.find_set(id);
  if (set == nullptr || !set->decide_pending || std::exchange(set->decide_listed, true)) return;
  decides_pending_.push_back(id);
  arm_lazy();
}

void StoreImpl::fail(Error error) {
  if (failure_) return;
  // What a disk has lost of itself says nothing of blocks, which other copies have.
  failure_ = error.code() == Code::damaged ? Error(Code::io, error.message()) : std::move(error);
  lazy_timer_.cancel();
  host_.log.error("store failed: the disk has to be retired",
                  {{"disk", superblock_.disk}, {"error", failure_->message()}});
  // Memory of writes still on their way stays until the store is destroyed: operations are not
  // given back for reuse.
  std::vector<Done> calls;
  for (Operation* operation : round_operations_) calls.push_back(std::move(operation->done));
  for (Operation* operation : queue_) calls.push_back(std::move(operation->done));
  queue_.clear();
  for (auto* list :
       {&checkpoints_waiting_, &checkpoints_active_, &saved_.waiting, &saved_.active}) {
    for (Done& done : *list) calls.push_back(std::move(done));
    list->clear();
  }
  if (started_) calls.push_back(std::move(started_));
  const auto alive = alive_;
  const Error told = *failure_;
  for (Done& done : calls) {
    if (done) done.call_once(told);
    if (!*alive) return;
  }
}

}  // namespace sp::store
