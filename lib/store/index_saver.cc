#include "store/index_saver.h"

#include <algorithm>
#include <cstring>
#include <limits>

#include "base/planted.h"
#include "base/probe.h"
#include "store/record_views.h"

namespace sp::store {

namespace {

template <class T>
Bytes bytes_of(const std::vector<T>& items) {
  return std::as_bytes(std::span(items));
}

}  // namespace

IndexSaver::IndexSaver(io::Host& host, const disk::Superblock& superblock, State& state,
                       const Options& options)
    : host_(host),
      superblock_(superblock),
      state_(state),
      turn_objects_(options.index_turn_objects),
      chunks_max_(static_cast<uint32_t>(disk::index_chunk_count(superblock.layout))) {}

void IndexSaver::begin(io::Disk& disk, const IndexBody& index, Saved saved) {
  SP_ASSERT(!active() && has_region());
  disk_ = &disk;
  saved_ = std::move(saved);
  index_ = index;
  index_.chunks = 0;
  number_++;
  at_lsn_ = 0;
  objects_ = 0;
  sweep_set_ = {};
  sweep_object_ = {};
  swept_ = full_ = flushing_ = false;
  chunks_given_ = 0;
  chunk_bytes_ = 0;
  state_.set_watch(this);
  save_sets();
  save_table();
  go_on();
}

void IndexSaver::append(uint8_t kind, std::initializer_list<Bytes> parts) {
  if (full_) return;
  const size_t size = record_bytes(parts);
  SP_ASSERT_OP(size, <=, std::min<size_t>(index_payload_bytes, UINT16_MAX));
  if (chunk_bytes_ + size > index_payload_bytes) seal_chunk();
  if (full_) return;
  if (pieces_.empty() || pieces_.back().chunks == piece_chunks)
    pieces_.push_back({Buffer::allocate(piece_bytes), 0});
  const size_t chunk = size_t{pieces_.back().chunks} * disk::index_chunk_bytes;
  encode_record(pieces_.back().bytes.mutable_bytes().subspan(
                    chunk + sizeof(IndexChunkHeader) + chunk_bytes_, size),
                static_cast<RecordKind>(kind), 0, parts);
  chunk_bytes_ += size;
}

void IndexSaver::at(uint64_t lsn) {
  if (std::exchange(at_lsn_, lsn) == lsn) return;
  append(SavedKind::at, {struct_bytes(lsn)});
}

void IndexSaver::seal_chunk() {
  if (index_.chunks == chunks_max_) {
    full_ = true;
    pieces_.clear();
    return;
  }
  Piece& piece = pieces_.back();
  const auto chunk = piece.bytes.mutable_bytes().subspan(
      size_t{piece.chunks} * disk::index_chunk_bytes, disk::index_chunk_bytes);
  const size_t used = sizeof(IndexChunkHeader) + chunk_bytes_;
  std::memset(chunk.data() + used, 0, chunk.size() - used);
  seal_index_chunk(chunk, superblock_, index_, index_.chunks++, chunk_bytes_);
  piece.chunks++;
  chunk_bytes_ = 0;
}

void IndexSaver::save_sets() {
  for (const auto& [id, set] : state_.sets()) save_set(id, set);
}

void IndexSaver::save_set(SetId id, const SetState& set) {
  if (set.record) {
    const SetBody body{set.record->complete_to.packed(), id.packed(), set.record->epoch,
                       set.record->recovering ? 1u : 0u, 0};
    at(set.record_lsn);
    append(static_cast<uint8_t>(RecordKind::set), {struct_bytes(body)});
  }
  if (!set.decided.is_zero()) {
    const SetVersionBody body{set.decided.packed(), id.packed(), 0};
    at(set.decided_lsn);
    append(static_cast<uint8_t>(RecordKind::decide), {struct_bytes(body)});
  }
  std::vector<const KnownOperation*> operations;
  for (const KnownOperation& known : set.operations.all()) operations.push_back(&known);
  std::stable_sort(operations.begin(), operations.end(),
                   [](const auto* a, const auto* b) { return a->lsn < b->lsn; });
  std::vector<OperationEntry> entries;
  for (size_t i = 0; i < operations.size(); i += entries.size()) {
    entries.clear();
    const uint64_t lsn = operations[i]->lsn;
    for (size_t k = i;
         k < operations.size() && operations[k]->lsn == lsn && entries.size() < entries_per_record;
         k++) {
      const KnownOperation& known = *operations[k];
      entries.push_back(
          {known.version.packed(), known.id.number, known.id.generation, known.id.client, 0});
    }
    const SetVersionBody head{0, id.packed(), static_cast<uint32_t>(entries.size())};
    at(lsn);
    append(static_cast<uint8_t>(RecordKind::operations), {struct_bytes(head), bytes_of(entries)});
  }
  if (!SP_PLANTED_BUG(store_saves_no_undecided))
    for (const Undecided& write : set.undecided) save_write(write);
}

void IndexSaver::save_write(const Undecided& write) {
  std::vector<uint64_t> crcs;
  for (const uint32_t slot : write.slots.view())
    crcs.push_back(state_.table().descriptor(slot).crc);
  const WriteBody body = write_body_of(write.record);
  at(write.lsn);
  append(static_cast<uint8_t>(RecordKind::write),
         {struct_bytes(body), bytes_of(crcs), std::as_bytes(write.slots.view())});
}

void IndexSaver::save_table() {
  const SlotTable& table = state_.table();
  std::vector<SavedEntry> entries;
  const auto flush_entries = [&](SavedKind kind, size_t least) {
    if (entries.size() < least) return;
    append(kind, {bytes_of(entries)});
    entries.clear();
  };
  table.pages().for_each_fresh([&](uint32_t slot, const Descriptor& entry) {
    entries.push_back({entry, slot, 0});
    flush_entries(SavedKind::entries, saved_per_record);
  });
  flush_entries(SavedKind::entries, 1);
  for (const auto& [slot, entry] : table.lost()) {
    entries.push_back({entry, slot, 0});
    flush_entries(SavedKind::lost, saved_per_record);
  }
  flush_entries(SavedKind::lost, 1);
  std::vector<SavedDirty> dirty;
  const auto mark = [&](uint32_t page, uint64_t since) {
    dirty.push_back({since, page, 0});
    if (dirty.size() < saved_per_record) return true;
    append(SavedKind::dirty, {bytes_of(dirty)});
    dirty.clear();
    return true;
  };
  table.dirty().for_each_before(std::numeric_limits<uint64_t>::max(), mark);
  for (const Commit& commit : state_.commits())
    for (const uint32_t slot : {commit.commit_slot, commit.free_slot})
      if (slot != no_slot) mark(SlotTable::page_of(slot), commit.lsn);
  if (!dirty.empty()) append(SavedKind::dirty, {bytes_of(dirty)});
}

void IndexSaver::before_change(Object& object) {
  if (object.saved_in == number_) return;
  if (SP_PLANTED_BUG(store_saves_objects_as_changed)) return;
  SP_PROBE(store_object_saved_before_change);
  object.saved_in = number_;
  // Written out by what comes next: a turn or a device operation is always on its way.
  save_object(object);
}

void IndexSaver::save_object(const Object& object) {
  const bool has_tombstone = object.has_tombstone();
  // Named by undecided writes only: they will make it again.
  if (object.blocks_used() == 0 && !has_tombstone && object.changed.is_zero()) return;
  slots_.clear();
  ranges_.clear();
  const Object::Chunks chunks = object.save_slots(slots_);
  for (const DiscardRange& range : object.ranges())
    ranges_.push_back({range.version.packed(), range.first, range.count, 0});
  const SavedObject head{object.changed.packed(),
                         object.floor.packed(),
                         has_tombstone ? object.tombstone_lsn : 0,
                         object.id.volume,
                         object.id.index,
                         object.set.packed(),
                         chunks.runs,
                         chunks.filled,
                         static_cast<uint32_t>(ranges_.size()),
                         0};
  append(SavedKind::object, {struct_bytes(head), bytes_of(ranges_), bytes_of(slots_)});
  objects_++;
}

void IndexSaver::sweep() {
  auto& sets = state_.sets();
  size_t told = 0;
  const uint32_t chunks_before = index_.chunks;
  for (auto set = sets.lower_bound(sweep_set_); set != sets.end(); ++set) {
    if (!(set->first == sweep_set_)) {
      sweep_set_ = set->first;
      sweep_object_ = {};
    }
    auto& objects = set->second.objects;
    for (auto it = objects.lower_bound(sweep_object_); it != objects.end(); ++it) {
      if (told++ == turn_objects_ || index_.chunks - chunks_before >= piece_chunks || full_) {
        sweep_object_ = it->first;
        return;
      }
      Object& object = *it->second;
      if (object.saved_in == number_) continue;
      object.saved_in = number_;
      save_object(object);
    }
    sweep_object_ = {~VolumeId{0}, ~uint32_t{0}};  // this set is through
  }
  swept_ = true;
  const SavedEnd end{objects_};
  append(SavedKind::end, {struct_bytes(end)});
  if (!full_) seal_chunk();
}

// What there is is written, more is told of while nothing is on its way, and at the end all of it
// is flushed. One of these always leads back here.
void IndexSaver::go_on() {
  if (flushing_ || turn_posted_) return;
  const auto whole = [this] { return !pieces_.empty() && pieces_.front().chunks == piece_chunks; };
  if (writes_ == 0 && !whole() && !swept_ && !full_) sweep();
  if (full_) {
    if (writes_ == 0) finish(Error(Code::no_space, "the index does not fit its region"));
    return;
  }
  const size_t writes_wanted = std::clamp<size_t>(pieces_.size() / 4, 1, writes_max);
  while (writes_ < writes_wanted && (whole() || (swept_ && !pieces_.empty()))) {
    auto piece = std::make_unique<Piece>(std::move(pieces_.front()));
    pieces_.pop_front();
    const Bytes bytes = piece->bytes.bytes().first(size_t{piece->chunks} * disk::index_chunk_bytes);
    const uint64_t offset = index_chunk_offset(superblock_.layout, index_.home, chunks_given_);
    chunks_given_ += piece->chunks;
    bytes_written_ += bytes.size();
    writes_++;
    disk_->write(offset, bytes,
                 [this, piece = std::move(piece)](Status status) { written(std::move(status)); });
  }
  if (writes_ > 0) return;
  if (swept_) {
    flushing_ = true;
    disk_->flush([this](Status status) { finish(std::move(status)); });
    return;
  }
  turn_posted_ = true;
  host_.reactor.post([this, alive = alive_] {
    if (!*alive) return;
    turn_posted_ = false;
    go_on();
  });
}

void IndexSaver::written(Status status) {
  writes_--;
  if (!active()) return;
  if (!status.ok()) return finish(std::move(status).error().with("writing the saved index"));
  go_on();
}

void IndexSaver::finish(Status status) {
  if (!active()) return;
  state_.set_watch(nullptr);
  pieces_.clear();
  const IndexBody index = std::exchange(index_, {});
  if (status.ok())
    saved_.call_once(index);
  else
    saved_.call_once(std::move(status).error());
}

}  // namespace sp::store
