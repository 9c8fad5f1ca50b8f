// Reclaim of StoreImpl: freeing the oldest part of the log.
//
//   logging    rounds carry again what only the pages below the target hold, and announce the
//   images of dirty table pages homes      those images are written, then a flush publishing a
//   round tells the new tail; only when it is durable may the pages below be overwritten
#include <algorithm>
#include <utility>

#include "base/planted.h"
#include "base/probe.h"
#include "store/store_impl.h"

namespace sp::store {

void StoreImpl::consider_reclaim() {
  if (reclaim_ != Reclaim::idle || failure_) return;
  if (!checkpoints_waiting_.empty()) {
    reclaim_target_ = next_lsn_;
    checkpoints_active_ = std::move(checkpoints_waiting_);
    checkpoints_waiting_.clear();
  } else if (log_used() > log_pages_ / 2 ||
             (log_used() > 8 && SP_BUGGIFY(store_reclaim_early, host_))) {
    reclaim_target_ = std::min(next_lsn_, tail_ + std::max<uint64_t>(log_pages_ / 8, 1));
  } else if (state_.table().pages().wants_relief() && !state_.table().pages().relief(1).empty()) {
    SP_PROBE(store_table_pages_relieved);
    reclaim_target_ = tail_;  // nothing leaves the log
    relief_ = true;
  } else {
    return;
  }
  reclaim_ = Reclaim::logging;
  step_begins_ = true;
  want_round_ = true;  // also when there is nothing to say again
}

bool StoreImpl::collect(uint32_t pages_limit) {
  return collect_sets(pages_limit) && collect_tombstones(pages_limit) && collect_homes(pages_limit);
}

bool StoreImpl::collect_operations(SetId id, SetState& set, uint32_t pages_limit) {
  for (;;) {
    const auto due = set.operations.logged_before(reclaim_target_, entries_per_record);
    if (due.empty()) return true;
    const size_t bytes =
        sizeof(RecordHeader) + sizeof(SetVersionBody) + due.size() * sizeof(OperationEntry);
    if (builder_.pages_with(1, bytes) > pages_limit) return false;
    std::vector<OperationEntry> entries;
    for (const KnownOperation* known : due)
      entries.push_back(
          {known->version.packed(), known->id.number, known->id.generation, known->id.client, 0});
    const SetVersionBody head{0, id.packed(), static_cast<uint32_t>(entries.size())};
    const uint64_t lsn = builder_.append(RecordKind::operations, 0,
                                         {struct_bytes(head), std::as_bytes(std::span(entries))});
    set.operations.logged_again(due, lsn);
  }
}

bool StoreImpl::log_again(const WriteRecord& record, const SlotList& slots, uint32_t pages_limit,
                          uint64_t& lsn) {
  const auto view = slots.view();
  if (builder_.pages_with(1, write_record_bytes(view.size())) > pages_limit) return false;
  std::vector<uint64_t> crcs;
  for (const uint32_t slot : view) crcs.push_back(state_.table().descriptor(slot).crc);
  log_write(record, flag_relogged, crcs, view, lsn);
  return true;
}

bool StoreImpl::collect_sets(uint32_t pages_limit) {
  for (auto& [id, set] : state_.sets()) {
    for (auto* writes : {&set.dropping, &set.undecided}) {
      for (Undecided& write : *writes) {
        if (write.lsn >= reclaim_target_) continue;
        if (SP_PLANTED_BUG(store_undecided_leave_with_log)) {
          write.lsn = reclaim_target_;
          continue;
        }
        SP_PROBE(store_undecided_said_again);
        if (!log_again(write.record, write.slots, pages_limit, write.lsn)) return false;
        write.overtaken = false;
        const WriteRecord& record = write.record;
        state_.overtake(id, record.object, record.first_block, record.block_count, record.version);
      }
    }
    if (set.record && set.record_lsn < reclaim_target_) {
      const SetBody body{set.record->complete_to.packed(), id.packed(), set.record->epoch,
                         set.record->recovering ? 1u : 0u, 0};
      if (builder_.pages_with(1, sizeof(RecordHeader) + sizeof body) > pages_limit) return false;
      set.record_lsn = builder_.append(RecordKind::set, 0, {struct_bytes(body)});
    }
    if (!set.decided.is_zero() && set.decided_lsn < reclaim_target_) {
      const SetVersionBody body{set.decided.packed(), id.packed(), 0};
      if (builder_.pages_with(1, sizeof(RecordHeader) + sizeof body) > pages_limit) return false;
      set.decided_lsn = builder_.append(RecordKind::decide, 0, {struct_bytes(body)});
    }
    if (!collect_operations(id, set, pages_limit)) return false;
  }
  return true;
}

bool StoreImpl::collect_tombstones(uint32_t pages_limit) {
  while (!state_.tombstones().empty() && state_.tombstones().begin()->first < reclaim_target_) {
    Object& object = *state_.find(state_.tombstones().begin()->second);
    if (SP_PLANTED_BUG(store_tombstones_leave_with_log)) {
      state_.set_tombstone_lsn(object, reclaim_target_);
      continue;
    }
    SP_PROBE(store_tombstone_said_again);
    std::vector<RangeEntry> entries;
    for (const DiscardRange& range : object.ranges())
      entries.push_back({range.version.packed(), range.first, range.count, 0});
    ObjectBody head{object.floor.packed(), object.set.packed(), object.id.volume, object.id.index,
                    0};
    const size_t records = entries.size() / ranges_per_record + 1;
    const size_t bytes = sizeof(RecordHeader) + sizeof head +
                         std::min(entries.size(), ranges_per_record) * sizeof(RangeEntry);
    if (builder_.pages_with(records, bytes) > pages_limit) return false;
    uint64_t first_lsn = 0;
    for (size_t at = 0; first_lsn == 0 || at < entries.size(); at += head.count) {
      head.count = static_cast<uint32_t>(std::min(ranges_per_record, entries.size() - at));
      const uint64_t lsn = builder_.append(
          RecordKind::tombstone, 0,
          {struct_bytes(head), std::as_bytes(std::span(entries).subspan(at, head.count))});
      if (first_lsn == 0) first_lsn = lsn;
    }
    state_.set_tombstone_lsn(object, first_lsn);
  }
  return true;
}

bool StoreImpl::collect_homes(uint32_t pages_limit) {
  SlotTable& table = state_.table();
  struct Item {
    uint32_t page;
    bool opens;
  };
  std::vector<Item> items;
  std::vector<HomeEntry> entries;
  const size_t fit = size_t{pages_limit} * entries_per_record;  // more than do
  const auto open = [&](uint32_t page, uint64_t since) {
    if (table.state(page).intent_open) return true;
    items.push_back({page, true});
    entries.push_back({table.next_sequence(page), since, page, 0});
    return items.size() < fit;
  };
  table.dirty().for_each_before(reclaim_target_, open);
  table.intents().for_each_before(reclaim_target_, [&](uint32_t page, uint64_t) {
    const auto state = table.state(page);
    if (state.intent_open || (state.dirty_since != 0 && state.dirty_since < reclaim_target_))
      return true;
    items.push_back({page, false});
    entries.push_back({state.sequence, home_complete, page, 0});
    return items.size() < fit;
  });
  const bool all = items.size() < fit;
  if (std::exchange(relief_, false))
    for (const uint32_t page : table.pages().relief(std::min(relief_pages_max, fit)))
      if (const uint64_t since = table.state(page).dirty_since; since >= reclaim_target_)
        open(page, since);
  for (size_t at = 0; at < items.size();) {
    const size_t count = std::min(entries_per_record, items.size() - at);
    if (builder_.pages_with(1, sizeof(RecordHeader) + count * sizeof(HomeEntry)) > pages_limit)
      return false;
    // What an opening found unfinished is finished by the first reclaim after it.
    const bool tells = std::exchange(step_begins_, false) && homes_are_told_ && saver_.has_region();
    const uint64_t lsn = builder_.append(RecordKind::homes, tells ? flag_homes_before_done : 0,
                                         {std::as_bytes(std::span(entries).subspan(at, count))});
    for (size_t i = at; i < at + count; i++) {
      table.set_intent(items[i].page, lsn, items[i].opens);
      if (items[i].opens) reclaim_pages_.push_back(items[i].page);
    }
    at += count;
  }
  return all;
}

// Whether something still needs log pages below lsn, apart from table pages whose images are
// announced.
bool StoreImpl::anything_before(uint64_t lsn) const {
  const SlotTable& table = state_.table();
  bool open = false;  // a page whose image is not announced
  table.dirty().for_each_before(lsn, [&](uint32_t page, uint64_t) {
    open = !table.state(page).intent_open;
    return !open;
  });
  if (open || table.intents().any_before(lsn)) return true;
  if (!state_.tombstones().empty() && state_.tombstones().begin()->first < lsn) return true;
  for (const Commit& commit : state_.commits())
    if (commit.lsn < lsn) return true;
  for (const SayAgain& write : state_.say_again())
    if (write.lsn < lsn) return true;
  for (const auto& [id, set] : state_.sets()) {
    if (set.record && set.record_lsn < lsn) return true;
    if (!set.decided.is_zero() && set.decided_lsn < lsn) return true;
    const auto older = [lsn](const auto& item) { return item.lsn < lsn; };
    if (std::any_of(set.undecided.begin(), set.undecided.end(), older)) return true;
    if (std::any_of(set.dropping.begin(), set.dropping.end(), older)) return true;
    if (set.operations.any_logged_before(lsn)) return true;
  }
  return false;
}

void StoreImpl::reclaim_after_round(uint64_t published_tail) {
  if (reclaim_ == Reclaim::logging) {
    if (anything_before(reclaim_target_)) return;  // pump forms another round
    std::sort(reclaim_pages_.begin(), reclaim_pages_.end());
    reclaim_ = Reclaim::homes;
    reclaim_at_ = 0;
    write_homes();
  } else if (reclaim_ == Reclaim::publishing && published_tail >= reclaim_target_) {
    reclaim_ = Reclaim::idle;
    std::vector<Done> finished = std::move(checkpoints_active_);
    checkpoints_active_.clear();
    for (Done& done : finished) {
      auto* waiting = new_operation(Operation::Kind::checkpoint, std::move(done));
      round_operations_.push_back(waiting);  // completes with this round
    }
  }
}

void StoreImpl::write_homes() {
  SlotTable& table = state_.table();
  const size_t end = std::min(reclaim_pages_.size(), reclaim_at_ + options_.home_batch_pages);
  const auto step = [this](Status status) { homes_step(std::move(status)); };
  if (reclaim_at_ == end) {
    reclaim_flushing_ = true;
    if (SP_PLANTED_BUG(store_moves_tail_unflushed)) {
      host_.reactor.post([this, alive = alive_] {
        if (*alive) homes_step(Status{});
      });
      return;
    }
    disk_->flush(step);
    return;
  }
  const std::span batch = std::span(reclaim_pages_).subspan(reclaim_at_, end - reclaim_at_);
  if (!std::all_of(batch.begin(), batch.end(),
                   [this](uint32_t page) { return loader_.is_here(page); })) {
    loader_.load(*disk_, batch, [this](Result<PagePins> loaded) {
      if (failure_) return;
      if (!loaded.ok()) return fail(std::move(loaded).error());
      images_pins_.push_back(std::move(loaded).value());
      write_homes();
    });
    return;
  }
  for (size_t i = reclaim_at_; i < end; i++)
    table.take_image(reclaim_pages_[i], home_images_.mutable_bytes().subspan(
                                            (i - reclaim_at_) * page_bytes, page_bytes));
  images_pins_.clear();
  table.pages().trim();
  const auto offset_of = [&](size_t i) {
    return table_home_offset(superblock_.layout, reclaim_pages_[i],
                             table.state(reclaim_pages_[i]).sequence);
  };
  reclaim_outstanding_ = 1;
  const size_t first = reclaim_at_;
  reclaim_at_ = end;
  for (size_t i = first; i < end;) {
    size_t run = 1;
    while (i + run < end && offset_of(i + run) == offset_of(i) + run * page_bytes) run++;
    reclaim_outstanding_++;
    device_bytes_written_ += run * page_bytes;
    disk_->write(offset_of(i),
                 home_images_.bytes().subspan((i - first) * page_bytes, run * page_bytes), step);
    i += run;
  }
  reclaim_outstanding_--;
}

void StoreImpl::homes_step(Status status) {
  if (failure_) return;
  if (!status.ok()) {
    fail(std::move(status).error().with("writing table pages"));
    return;
  }
  if (!reclaim_flushing_) {
    if (--reclaim_outstanding_ == 0) write_homes();
    return;
  }
  reclaim_flushing_ = false;
  for (const uint32_t page : reclaim_pages_) state_.table().home_written(page);
  reclaim_pages_.clear();
  homes_are_told_ = homes_are_told_ || reclaim_target_ > tail_;
  tail_ = std::max(tail_, reclaim_target_);
  reclaim_ = Reclaim::publishing;
  want_round_ = true;
  pump();
}

}  // namespace sp::store
