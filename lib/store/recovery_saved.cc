// Opening by the saved index. It tells what State knew at one place of the log; the records from
// there on are replayed, as they would be had the table told it. What the table knows beside that
// is read when it is needed. The one thing to be careful of: a page of the table may be of a later
// moment than the replay. An entry that is needed has to be that of the block that the replay
// believes in, of a slot that nobody placed since; else the other way is taken, which begins with
// the table.
#include <algorithm>

#include "base/probe.h"
#include "store/record_views.h"
#include "store/recovery.h"

namespace sp::store {

void Recovery::take_note_of(const IndexBody& index, uint64_t lsn) {
  saved_home_ = index.home % 2;
  if (options_.ignore_saved_index || options_.verify_only || index.lsn < tail_ || index.lsn > lsn ||
      index.home > 1 || index.chunks > disk::index_chunk_count(superblock_.layout))
    return saved_.reset();
  saved_.emplace(index);
  saved_->at = tail_;
}

void Recovery::load_saved_index() {
  if (!saved_) return load_tables();
  const uint64_t offset = index_chunk_offset(superblock_.layout, saved_->body.home, 0);
  const auto chunk = [this](uint64_t at, Bytes bytes) -> Status {
    for (size_t i = 0; i < bytes.size(); i += disk::index_chunk_bytes)
      SP_CHECK(load_saved_chunk(at + i, bytes.subspan(i, disk::index_chunk_bytes)));
    return {};
  };
  store_->state().table().pages().miss();
  read_range(offset, uint64_t{saved_->body.chunks} * disk::index_chunk_bytes, chunk,
             &Recovery::saved_index_loaded);
}

Status Recovery::load_saved_chunk(uint64_t offset, Bytes chunk) {
  const uint64_t first = index_chunk_offset(superblock_.layout, saved_->body.home, 0);
  const auto number = static_cast<uint32_t>((offset - first) / disk::index_chunk_bytes);
  SP_TRY(const Bytes records, open_index_chunk(chunk, superblock_, saved_->body, number));
  SavedCursor cursor(records, bounds_);
  SavedRecord record;
  while (cursor.next(record)) SP_CHECK(load_saved(record));
  if (cursor.failed())
    return Error(Code::damaged, "the saved index holds a record that nobody writes");
  return {};
}

Status Recovery::load_saved(const SavedRecord& saved) {
  State& state = store_->state();
  const Bytes body = saved.record.body;
  const auto each_entry = [body](const auto& visit) {
    for (size_t at = 0; at < body.size(); at += sizeof(SavedEntry))
      visit(load<SavedEntry>(body.subspan(at)));
  };
  if (saved.logged) {
    if (saved.record.kind != RecordKind::write) return state.replay(saved.record, saved_->at);
    saved_->writes.emplace_back(saved_->at, std::vector<std::byte>(body.begin(), body.end()));
    return {};
  }
  switch (saved.kind()) {
    // What the log had of it before its tail has come again since, or is home.
    case SavedKind::at: saved_->at = std::max(load<uint64_t>(body), tail_); break;
    case SavedKind::entries:
      each_entry([&](const SavedEntry& entry) {
        if (entry.entry.uncommitted())
          saved_->uncommitted.push_back(entry);
        else
          state.table().pages().put(entry.slot, entry.entry);
      });
      break;
    case SavedKind::lost:
      each_entry([&](const SavedEntry& saved_entry) {
        if (!saved_entry.entry.uncommitted())
          state.table().load_lost(saved_entry.slot, saved_entry.entry);
      });
      break;
    case SavedKind::dirty:
      for (size_t at = 0; at < body.size(); at += sizeof(SavedDirty)) {
        const auto dirty = load<SavedDirty>(body.subspan(at));
        state.table().mark_dirty(dirty.page, std::max(dirty.since, tail_));
      }
      break;
    case SavedKind::object: saved_->objects++; return state.load_object(body, tail_);
    case SavedKind::end: saved_->ended = load<SavedEnd>(body).objects == saved_->objects; break;
  }
  return {};
}

Status Recovery::finish_saved() {
  State& state = store_->state();
  if (!saved_->ended) return Error(Code::damaged, "the saved index has no end");
  // What was decided, and not settled yet.
  for (const SavedEntry& saved : saved_->uncommitted) {
    const Object* const owner = state.find(saved.entry.object_id());
    if (owner == nullptr || owner->slot(saved.entry.block()) != saved.slot) continue;
    Descriptor entry = saved.entry;
    entry.block_and_flags &= static_cast<uint16_t>(~Descriptor::flag_uncommitted);
    state.table().pages().put(saved.slot, entry);
    if (entry.lost()) state.table().load_lost(saved.slot, entry);
  }
  for (const auto& [lsn, body] : saved_->writes) {
    const Record record{RecordKind::write, 0, body};
    const WriteRecord write = write_record_of(record);
    const Object* const owner = state.find(write.object);
    if (owner != nullptr && owner->changed >= write.version)
      return Error(Code::damaged, "the saved index has an undecided write that is old");
    SP_CHECK(state.replay(record, lsn));
  }
  // Their image was on its way; whether it came is not asked.
  std::vector<uint32_t> unmarked;
  state.table().pages().for_each_fresh([&](uint32_t slot, const Descriptor&) {
    const uint32_t page = SlotTable::page_of(slot);
    if (state.table().state(page).dirty_since == 0) unmarked.push_back(page);
  });
  for (const uint32_t page : unmarked) state.table().mark_dirty(page, tail_);
  for (uint32_t page = 0; page < homes_.size(); page++)
    if (homes_[page].sequence != 0 && !is_to_be_read(page))
      state.table().load_page_state(page, homes_[page].sequence, homes_[page].lsn);
  return {};
}

void Recovery::saved_index_loaded() {
  if (const Status status = finish_saved(); !status.ok())
    return begin_anew(status.error().message());
  load_tables();
}

bool Recovery::is_in_the_future(const Slots& needed) const {
  return std::any_of(needed.begin(), needed.end(),
                     [this](uint32_t slot) { return claimed_[slot]; });
}

bool Recovery::needs_are_of_now(const Slots& needed) const {
  const State& state = store_->state();
  return std::all_of(needed.begin(), needed.end(), [&state](uint32_t slot) {
    const Descriptor* const entry = state.table().find(slot);
    if (entry == nullptr || !entry->used()) return false;
    const Object* const owner = state.find(entry->object_id());
    return owner != nullptr && owner->slot(entry->block()) == slot;
  });
}

// From a later turn: the disk, or the loader, may be in the middle of telling us something.
void Recovery::begin_anew(const std::string& why) {
  SP_PROBE(store_saved_index_of_no_use);
  host_.log.info("the saved index is of no use: the whole slot table is read",
                 {{"disk", superblock_.disk}, {"lsn", saved_->body.lsn}, {"why", why}});
  saved_.reset();
  replay_.pins.release();
  host_.reactor.post([self = shared_from_this()] {
    Options options = self->options_;
    options.ignore_saved_index = true;
    auto disk = self->store_->take_disk();
    self->store_.reset();
    std::make_shared<Recovery>(self->host_, std::move(disk), options, std::move(self->opened_))
        ->run();
  });
}

}  // namespace sp::store
