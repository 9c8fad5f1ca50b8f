#include "store/recovery.h"

#include <algorithm>

#include "base/planted.h"
#include "base/probe.h"
#include "store/needs.h"
#include "store/record_views.h"
#include "store/salvage.h"

namespace sp::store {

namespace {

constexpr uint64_t chunk_bytes = 1 << 20;
constexpr uint32_t group_pages = 256;
constexpr const char* later_moment = "a table page is of a later moment than the replay";

std::string place_of(uint64_t lsn, uint64_t offset) {
  return "log page " + std::to_string(lsn) + " at device offset " + std::to_string(offset);
}

Error damaged(const std::string& what) {
  return Error(Code::damaged, what +
                                  ": acknowledged writes may be missing; look with sp-disk-check, "
                                  "or wipe the disk and let it recover from its peers");
}

}  // namespace

Recovery::Recovery(io::Host& host, std::unique_ptr<io::Disk> disk, const Options& options,
                   OpenedImpl opened)
    : host_(host), disk_(std::move(disk)), options_(options), opened_(std::move(opened)) {}

void Recovery::fail(Error error) {
  if (saved_) return begin_anew(error.message());
  // The disk may be in the middle of telling us something: it goes with the next turn.
  auto self = shared_from_this();
  host_.reactor.post([self, error = std::make_unique<Error>(std::move(error))] {
    self->store_.reset();
    self->disk_.reset();
    self->opened_.call_once(std::move(*error));
  });
}

uint64_t Recovery::page_offset(uint64_t lsn) const {
  return superblock_.layout.log_offset + lsn % pages_.size() * page_bytes;
}

void Recovery::run() {
  disk::read_superblock(
      host_, *disk_, [self = shared_from_this()](Result<disk::Superblock> superblock) {
        if (!superblock.ok()) {
          self->fail(std::move(superblock).error());
          return;
        }
        if (Status known = disk::check_minor(*superblock, self->options_.disk_minor_newest);
            !known.ok()) {
          self->fail(std::move(known).error());
          return;
        }
        self->superblock_ = *superblock;
        const disk::Layout& layout = superblock->layout;
        self->bounds_ = {disk::slot_count(layout), disk::table_page_count(layout)};
        self->pages_.resize(disk::log_page_count(layout));
        self->claimed_.resize(self->bounds_.slots);
        self->homes_.resize(self->bounds_.table_pages);
        self->chunk_ = Buffer::allocate(chunk_bytes);
        const auto group = std::min<uint64_t>(group_pages, self->bounds_.table_pages);
        self->even_homes_ = Buffer::allocate(size_t{group} * page_bytes);
        self->odd_homes_ = Buffer::allocate(size_t{group} * page_bytes);
        self->device_ = self->disk_.get();
        self->store_ = std::make_unique<StoreImpl>(self->host_, std::move(self->disk_), *superblock,
                                                   self->options_);
        self->scan_log();
      });
}

void Recovery::read_range(uint64_t offset, uint64_t size,
                          std::function<Status(uint64_t, Bytes)> chunk, Next next) {
  range_at_ = offset;
  range_end_ = offset + size;
  range_chunk_ = std::move(chunk);
  range_next_ = next;
  read_chunk();
}

void Recovery::read_chunk() {
  if (range_at_ == range_end_) {
    (this->*range_next_)();
    return;
  }
  const uint64_t size = std::min(chunk_bytes, range_end_ - range_at_);
  salvage(*device_, range_at_, chunk_.mutable_bytes().first(size),
          [self = shared_from_this(), size](Status status) {
            if (status.ok())
              status = self->range_chunk_(self->range_at_, self->chunk_.bytes().first(size));
            if (!status.ok()) {
              self->fail(std::move(status).error().with("opening the disk"));
              return;
            }
            self->range_at_ += size;
            self->read_chunk();
          });
}

void Recovery::scan_log() {
  const disk::Layout& layout = superblock_.layout;
  const auto chunk = [this](uint64_t offset, Bytes bytes) -> Status {
    for (size_t at = 0; at < bytes.size(); at += page_bytes) {
      const Bytes page = bytes.subspan(at, page_bytes);
      const auto header = open_log_page(page, superblock_);
      const uint64_t position = (offset + at - superblock_.layout.log_offset) / page_bytes;
      if (!header.ok()) {
        const auto broken = broken_log_page(page, superblock_);
        if (broken && broken->lsn % pages_.size() == position)
          broken_.push_back({broken->lsn, broken->stable_lsn, broken->session});
        foreign_ = foreign_ || is_foreign_log_page(page, superblock_);
        continue;
      }
      if (header->lsn % pages_.size() != position) continue;
      pages_[position] = {header->lsn,     header->round_first,      header->tail_lsn,
                          header->session, header->previous_session, header->round_pages};
    }
    return {};
  };
  read_range(layout.log_offset, layout.log_bytes, chunk, &Recovery::choose_round);
}

bool Recovery::round_whole(const PageInfo& round) const {
  if (round.round_pages > pages_.size()) return false;
  for (uint64_t lsn = round.round_first; lsn < round.round_first + round.round_pages; lsn++)
    if (at(lsn).lsn != lsn || at(lsn).session != round.session ||
        at(lsn).round_first != round.round_first)
      return false;
  return true;
}

// A later round is begun only when this one is durable.
bool Recovery::proven_by_broken_page(const PageInfo& round) const {
  return std::any_of(broken_.begin(), broken_.end(), [&](const BrokenPage& page) {
    return page.session >= round.session && page.lsn - round.round_first <= pages_.size() &&
           page.lsn > round.lsn &&
           (page.stable_lsn >= round.round_first + round.round_pages ||
            SP_PLANTED_BUG(store_proves_round_by_itself));
  });
}

void Recovery::choose_round() {
  const auto newest =
      std::max_element(pages_.begin(), pages_.end(), [](const PageInfo& a, const PageInfo& b) {
        return std::pair(a.session, a.lsn) < std::pair(b.session, b.lsn);
      });
  last_ = *newest;
  if (last_.lsn == 0) {
    look_for_lost_log();
    return;
  }
  const bool proven = proven_by_broken_page(last_);
  if (!round_whole(last_)) {
    if (proven)
      fail(damaged("the round of " + place_of(last_.lsn, page_offset(last_.lsn)) +
                   " is not what was written"));
    else
      round_is_void();
    return;
  }
  if (proven) {
    SP_PROBE(store_round_proven_by_torn_one);
    void_lsn_ = last_.round_first + last_.round_pages;
    accept_round();
    return;
  }
  expected_.clear();
  const auto visit = [this](const Record& record, uint64_t) -> Status {
    if ((record.flags & flag_relogged) == 0)
      for_each_placed(record, [this](uint32_t slot, uint64_t crc) {
        expected_.push_back({slot, crc});
      });
    return {};
  };
  read_records(last_.round_first, last_.round_first + last_.round_pages - 1, visit,
               &Recovery::verify_data);
}

// No later page proves that the newest round was whole: its data have to.
void Recovery::verify_data() {
  std::sort(expected_.begin(), expected_.end(),
            [](const Expected& a, const Expected& b) { return a.slot < b.slot; });
  expected_at_ = 0;
  verify_data_step(Status{});
}

void Recovery::verify_data_step(Status status) {
  if (!status.ok()) {
    fail(std::move(status).error().with("opening the disk"));
    return;
  }
  if (expected_at_ == expected_.size()) {
    accept_round();
    return;
  }
  size_t count = 1;
  while (expected_at_ + count < expected_.size() && count < chunk_bytes / page_bytes &&
         expected_[expected_at_ + count].slot == expected_[expected_at_].slot + count)
    count++;
  const uint64_t offset =
      superblock_.layout.data_offset + uint64_t{expected_[expected_at_].slot} * page_bytes;
  device_->read(offset, chunk_.mutable_bytes().first(count * page_bytes),
                [self = shared_from_this(), count](Status read) {
                  if (!read.ok() && read.error().code() == Code::io)
                    return self->verify_unreadable(std::move(read));
                  self->unreadable_ = false;
                  for (size_t i = 0; i < count && read.ok(); i++) {
                    if (crc64(self->chunk_.bytes().subspan(i * page_bytes, page_bytes)) ==
                            self->expected_[self->expected_at_ + i].crc ||
                        SP_PLANTED_BUG(store_takes_torn_round))
                      continue;
                    self->round_is_void();
                    return;
                  }
                  self->expected_at_ += count;
                  self->verify_data_step(std::move(read));
                });
}

// A sector that cannot be read was not written by this round: that would have cured it. But a
// device that fails may say so of any sector: it has to read another one, and fail this one again.
void Recovery::verify_unreadable(Status read) {
  if (std::exchange(unreadable_, true)) {
    SP_PROBE(store_round_torn_before_unreadable_sector);
    return round_is_void();
  }
  auto error = std::make_shared<Status>(std::move(read));
  reads_at_all(*device_, [self = shared_from_this(), error](bool reads) {
    self->verify_data_step(reads ? Status() : std::move(*error));
  });
}

void Recovery::round_is_void() {
  SP_PROBE(store_round_torn);
  host_.log.info("the last round was torn by a crash and is void",
                 {{"disk", superblock_.disk}, {"lsn", last_.round_first}});
  const PageInfo torn = last_;
  void_lsn_ = torn.round_first;
  if (torn.round_first == 1) {
    // The very first round of the disk.
    last_ = PageInfo{};
    last_.session = torn.session;
    accept_round();
    return;
  }
  last_ = at(torn.round_first - 1);
  if (last_.lsn != torn.round_first - 1 || last_.session != torn.previous_session ||
      !round_whole(last_)) {
    fail(damaged(place_of(torn.round_first - 1, page_offset(torn.round_first - 1)) +
                 " is not what was written"));
    return;
  }
  accept_round();
}

void Recovery::accept_round() {
  tail_ = last_.lsn == 0 ? 1 : last_.tail_lsn;
  if (Status chain = check_chain(); !chain.ok()) {
    fail(std::move(chain).error());
    return;
  }
  survey_log();
}

Status Recovery::check_chain() const {
  if (last_.lsn == 0) return {};
  PageInfo round = last_;
  if (round.round_first + round.round_pages - tail_ > pages_.size())
    return damaged("the log's tail " + std::to_string(tail_) +
                   " lies further back than the log reaches");
  while (round.round_first > tail_) {
    const uint64_t lsn = round.round_first - 1;
    const PageInfo& previous = at(lsn);
    const auto broken = [&](uint64_t bad) {
      return damaged(place_of(bad, page_offset(bad)) + " is not what was written");
    };
    if (previous.lsn != lsn || previous.session != round.previous_session) return broken(lsn);
    if (previous.round_first + previous.round_pages != round.round_first) return broken(lsn);
    for (uint64_t page = std::max(previous.round_first, tail_); page <= lsn; page++)
      if (at(page).lsn != page || at(page).session != previous.session ||
          at(page).round_first != previous.round_first)
        return broken(page);
    round = previous;
  }
  return {};
}

void Recovery::look_for_lost_log() {
  // Formatting clears the log, so this superblock came here in another way.
  if (foreign_) {
    fail(damaged("the log is that of another disk than the superblock says"));
    return;
  }
  const auto chunk = [this](uint64_t offset, Bytes bytes) -> Status {
    for (size_t at = 0; at < bytes.size(); at += page_bytes) {
      const auto page =
          static_cast<uint32_t>((offset + at - superblock_.layout.table_offset) / page_bytes);
      const auto home = open_table_home(bytes.subspan(at, page_bytes), superblock_, page);
      if (home.ok() || home.error().code() == Code::damaged)
        return damaged("the log holds no page of this disk although its tables were written");
    }
    return {};
  };
  const uint64_t size =
      std::min<uint64_t>(superblock_.layout.table_bytes / 2, uint64_t{group_pages} * page_bytes);
  read_range(superblock_.layout.table_offset, size, chunk, &Recovery::accept_round);
}

void Recovery::read_records(uint64_t first, uint64_t last,
                            std::function<Status(const Record&, uint64_t)> visit, Next next) {
  visit_ = std::move(visit);
  records_first_ = first;
  records_last_ = last;
  records_next_ = next;
  read_records_wrapped();
}

void Recovery::read_records_wrapped() {
  if (records_first_ > records_last_) {
    (this->*records_next_)();
    return;
  }
  const uint64_t position = records_first_ % pages_.size();
  const uint64_t count = std::min(records_last_ - records_first_ + 1, pages_.size() - position);
  const uint64_t first = records_first_;
  records_first_ += count;
  const uint64_t offset = superblock_.layout.log_offset + position * page_bytes;
  const auto chunk = [this, first, offset](uint64_t chunk_offset, Bytes bytes) -> Status {
    for (size_t at = 0; at < bytes.size(); at += page_bytes)
      SP_CHECK(visit_page(bytes.subspan(at, page_bytes),
                          first + (chunk_offset - offset + at) / page_bytes));
    return {};
  };
  read_range(offset, count * page_bytes, chunk, &Recovery::read_records_wrapped);
}

Result<Bytes> Recovery::payload_of(Bytes page, uint64_t lsn) const {
  const auto header = open_log_page(page, superblock_);
  if (!header.ok() || header->lsn != lsn)
    return damaged(place_of(lsn, page_offset(lsn)) + " changed while it was read");
  return log_payload(page, *header);
}

Error Recovery::unknown_record(uint64_t lsn) const {
  return damaged(place_of(lsn, page_offset(lsn)) +
                 " holds a record that no program of this version writes");
}

Status Recovery::visit_page(Bytes page, uint64_t lsn) const {
  auto payload = payload_of(page, lsn);
  if (!payload.ok()) return std::move(payload).error();
  RecordCursor cursor(*payload, bounds_);
  Record record;
  while (cursor.next(record)) SP_CHECK(visit_(record, lsn));
  if (cursor.failed()) return unknown_record(lsn);
  return {};
}

void Recovery::survey_log() {
  if (last_.lsn == 0) {
    load_tables();
    return;
  }
  const auto visit = [this](const Record& record, uint64_t lsn) -> Status {
    for_each_placed(record, [this](uint32_t slot, uint64_t) { claimed_[slot] = true; });
    if (record.kind == RecordKind::index) take_note_of(record.head<IndexBody>(), lsn);
    if (record.kind != RecordKind::homes) return {};
    if ((record.flags & flag_homes_before_done) != 0) homes_told_ = lsn;
    for (size_t at = 0; at < record.body.size(); at += sizeof(HomeEntry)) {
      const auto entry = load<HomeEntry>(record.body.subspan(at));
      homes_[entry.page] = {entry.sequence, entry.dirty_since, lsn};
    }
    return {};
  };
  read_records(tail_, last_.round_first + last_.round_pages - 1, visit,
               &Recovery::load_saved_index);
}

void Recovery::load_tables() {
  while (table_at_ < homes_.size()) {
    const uint32_t count =
        std::min<uint32_t>(group_pages, static_cast<uint32_t>(homes_.size()) - table_at_);
    bool any = false;
    for (uint32_t i = 0; i < count && !any; i++) any = is_to_be_read(table_at_ + i);
    if (any) break;
    table_at_ += count;
  }
  if (table_at_ >= homes_.size()) {
    resolve_doubles();
    return;
  }
  const uint32_t count =
      std::min<uint32_t>(group_pages, static_cast<uint32_t>(homes_.size()) - table_at_);
  table_reads_ = 2;
  const auto read = [self = shared_from_this()](Status status) {
    if (self->table_reads_ == 0) return;  // the other one failed
    if (!status.ok()) {
      self->table_reads_ = 0;
      self->fail(std::move(status).error().with("reading the tables"));
      return;
    }
    if (--self->table_reads_ == 0) self->load_table_group();
  };
  salvage(*device_, table_home_offset(superblock_.layout, table_at_, 0),
          even_homes_.mutable_bytes().first(size_t{count} * page_bytes), read);
  salvage(*device_, table_home_offset(superblock_.layout, table_at_, 1),
          odd_homes_.mutable_bytes().first(size_t{count} * page_bytes), read);
}

bool Recovery::is_to_be_read(uint32_t page) const {
  const HomeExpected& home = homes_[page];
  if (home.sequence == 0) return false;
  if (!saved_) return true;
  // Images are on the device before the tail moves, and before the next reclaim begins.
  return home.dirty_since != home_complete && home.lsn >= homes_told_ &&
         at(home.lsn).tail_lsn == tail_;
}

void Recovery::load_table_group() {
  const uint32_t count =
      std::min<uint32_t>(group_pages, static_cast<uint32_t>(homes_.size()) - table_at_);
  for (uint32_t i = 0; i < count; i++) {
    if (!is_to_be_read(table_at_ + i)) continue;
    const size_t at = size_t{i} * page_bytes;
    Status status = load_page(table_at_ + i, even_homes_.bytes().subspan(at, page_bytes),
                              odd_homes_.bytes().subspan(at, page_bytes));
    if (!status.ok()) {
      fail(std::move(status).error());
      return;
    }
  }
  table_at_ += count;
  load_tables();
}

Status Recovery::load_page(uint32_t page, Bytes even_home, Bytes odd_home) {
  const HomeExpected& expected = homes_[page];
  const auto home_of = [&](uint64_t sequence) {
    return open_table_home(sequence % 2 == 0 ? even_home : odd_home, superblock_, page);
  };
  const auto lost = [&](uint64_t sequence) {
    return damaged("table page " + std::to_string(page) + " at device offset " +
                   std::to_string(table_home_offset(superblock_.layout, page, sequence)) +
                   " is not what was written");
  };
  SlotTable& table = store_->state().table();
  const bool complete = expected.dirty_since == home_complete;
  if (!complete && !saved_) table.mark_dirty(page, tail_);
  const auto newest = home_of(expected.sequence);
  if (newest.ok() && newest->sequence == expected.sequence) {
    table.load_page_state(page, expected.sequence, expected.lsn);
    return load_entries(page, *newest);
  }
  // The image was announced but is not here. That is right only while the log still has all that
  // the home before it lacks.
  if (complete || tail_ > expected.dirty_since ||
      (newest.ok() && newest->sequence > expected.sequence))
    return lost(expected.sequence);
  SP_PROBE(store_table_page_from_other_home);
  table.mark_dirty(page, tail_);
  table.load_page_state(page, expected.sequence - 1, expected.lsn);
  if (expected.sequence == 1) return {};
  const auto before = home_of(expected.sequence - 1);
  if (!before.ok() || before->sequence != expected.sequence - 1) return lost(expected.sequence - 1);
  return load_entries(page, *before);
}

Status Recovery::load_entries(uint32_t page, const TableHome& home) {
  if (saved_) return {};  // it is read again when it is needed
  State& state = store_->state();
  if (state.table().pages().has_room())
    state.table().pages().fill(page, home.entries);
  else
    state.table().pages().miss();
  for (uint32_t i = 0; i < disk::slots_per_table_page; i++) {
    const Descriptor entry = home.at(i);
    if (!entry.used()) continue;
    const uint64_t slot = uint64_t{page} * disk::slots_per_table_page + i;
    if (slot >= bounds_.slots)
      return damaged("table page " + std::to_string(page) +
                     " names slots that the disk does not have");
    // Where the log still tells a slot's history, it is replayed from there; the entry may be of
    // its past or of its future.
    if (claimed_[slot]) {
      state.table().mark_dirty(page, tail_);
      continue;
    }
    state.table().load_entry(static_cast<uint32_t>(slot), entry);
    entries_.add(static_cast<uint32_t>(slot), entry);
  }
  return entries_.is_full() ? index_entries() : Status();
}

Status Recovery::index_entries() {
  constexpr uint32_t nothing = ~uint32_t{0};
  for (const EntryBatch::Item& item : entries_.take()) {
    uint32_t needs = nothing;
    SP_CHECK(store_->state().load_block(item.slot, item.entry, tail_, needs));
    if (needs != nothing) doubles_.push_back(item);
  }
  return {};
}

void Recovery::resolve_doubles() {
  constexpr uint32_t nothing = ~uint32_t{0};
  Status status = index_entries();
  for (; status.ok() && !doubles_.empty(); doubles_.pop_back()) {
    uint32_t needs = nothing;
    status = store_->state().load_block(doubles_.back().slot, doubles_.back().entry, tail_, needs);
    if (needs == nothing) continue;
    store_->loader().load(*device_, {&needs, 1},
                          [self = shared_from_this()](Result<PagePins> loaded) {
                            if (!loaded.ok()) return self->fail(std::move(loaded).error());
                            self->resolve_doubles();
                          });
    return;
  }
  if (!status.ok()) return fail(std::move(status).error());
  replay();
}

void Recovery::replay() {
  if (last_.lsn == 0) {
    finish();
    return;
  }
  if (replay_.lsn == 0) replay_.lsn = saved_ ? saved_->body.lsn : tail_;
  const uint64_t end = last_.round_first + last_.round_pages;
  if (replay_.lsn >= end) {
    finish();
    return;
  }
  const uint64_t position = replay_.lsn % pages_.size();
  const uint64_t count =
      std::min({end - replay_.lsn, pages_.size() - position, uint64_t{chunk_bytes / page_bytes}});
  const MutableBytes into = chunk_.mutable_bytes().first(count * page_bytes);
  salvage(*device_, superblock_.layout.log_offset + position * page_bytes, into,
          [self = shared_from_this(), into](Status status) {
            if (!status.ok()) return self->fail(std::move(status).error().with("opening the disk"));
            self->replay_.pages = into;
            self->replay_step();
          });
}

// Goes on where it stopped for table pages that a record needs.
void Recovery::replay_step() {
  State& state = store_->state();
  for (; !replay_.pages.empty(); replay_.pages = replay_.pages.subspan(page_bytes), replay_.lsn++) {
    if (!replay_.cursor) {
      auto payload = payload_of(replay_.pages.first(page_bytes), replay_.lsn);
      if (!payload.ok()) return fail(std::move(payload).error());
      replay_.cursor.emplace(*payload, bounds_);
    }
    Record record;
    while (replay_.record || replay_.cursor->next(record)) {
      if (!replay_.record) replay_.record = record;
      Slots needed;
      if (!state.table().pages().has_all()) need_to_replay(state, *replay_.record, needed);
      if (!needed.empty()) {
        SP_PROBE(store_replay_waits_for_table_pages);
        if (saved_ && replay_.needed.empty() && is_in_the_future(needed))
          return begin_anew(later_moment);
        replay_.needed = needed;
        store_->loader().load(*device_, pages_of(needed),
                              [self = shared_from_this()](Result<PagePins> loaded) {
                                if (!loaded.ok()) return self->fail(std::move(loaded).error());
                                self->replay_.pins = std::move(loaded).value();
                                self->replay_step();
                              });
        return;
      }
      if (saved_ && !needs_are_of_now(replay_.needed)) return begin_anew(later_moment);
      replay_.needed.clear();
      Status status = state.replay(*replay_.record, replay_.lsn);
      replay_.record.reset();
      replay_.pins.release();
      if (!status.ok()) return fail(std::move(status).error());
    }
    if (replay_.cursor->failed()) return fail(unknown_record(replay_.lsn));
    replay_.cursor.reset();
    state.table().pages().trim();
  }
  replay();
}

void Recovery::finish() {
  store_->state().table().rebuild_free();
  store_->state().say_again().clear();  // the log tells it as it did
  if (saved_) {
    SP_PROBE(store_opened_by_saved_index);
    saved_lsn_ = saved_->body.lsn;
    saved_home_ = saved_->body.home;
    saved_.reset();
  }
  if (options_.verify_only) {
    start();
    return;
  }
  // What was read may still sit in a volatile cache of the device: it must not vanish after others
  // were told of it.
  device_->flush([self = shared_from_this()](Status status) {
    if (status.ok())
      self->start();
    else
      self->fail(std::move(status).error().with("opening the disk"));
  });
}

void Recovery::start() {
  LogPosition position;
  position.tail_lsn = tail_;
  position.session = last_.session;
  position.void_lsn = void_lsn_;
  position.saved_lsn = saved_lsn_ != 0 ? saved_lsn_ : tail_;
  position.saved_home = saved_home_;
  position.next_lsn = last_.lsn == 0 ? 1 : last_.round_first + last_.round_pages;
  const auto started = [this](Status status) {
    if (!status.ok())
      fail(std::move(status).error().with("opening the disk"));
    else
      opened_.call_once(std::move(store_));
  };
  store_->start(position, started, shared_from_this());
}

void Store::open(io::Host& host, std::unique_ptr<io::Disk> disk, const Options& options,
                 Opened done) {
  struct Call {
    Opened done;
  };
  auto call = std::make_unique<Call>(Call{std::move(done)});
  auto opened = [call = std::move(call)](Result<std::unique_ptr<StoreImpl>> store) {
    if (!store.ok())
      call->done.call_once(std::move(store).error());
    else
      call->done.call_once(std::unique_ptr<Store>(std::move(store).value()));
  };
  std::make_shared<Recovery>(host, std::move(disk), options, std::move(opened))->run();
}

}  // namespace sp::store
