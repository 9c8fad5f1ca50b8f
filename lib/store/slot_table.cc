#include "store/slot_table.h"

#include <algorithm>
#include <bit>
#include <cstddef>
#include <cstring>

#include "base/checksum.h"
#include "base/planted.h"

namespace sp::store {

namespace {

constexpr uint32_t per_page = disk::slots_per_table_page;

uint64_t home_crc(Bytes page) {
  constexpr uint64_t zero = 0;
  constexpr size_t at = offsetof(TablePageHeader, crc);
  const uint64_t head = crc64(struct_bytes(zero), crc64(page.first(at)));
  return crc64(page.subspan(at + sizeof zero), head);
}

}  // namespace

Result<TableHome> open_table_home(Bytes page, const disk::Superblock& superblock,
                                  uint32_t page_number) {
  SP_ASSERT_OP(page.size(), ==, disk::table_page_bytes);
  const auto header = load<TablePageHeader>(page);
  if (header.magic != table_page_magic || header.cluster != superblock.cluster ||
      header.uuid != superblock.uuid)
    return Error(Code::not_found, "no table page of this disk");
  if (header.crc != home_crc(page))
    return Error(Code::damaged, "a table page whose checksum does not match");
  const bool here = header.page == page_number || SP_PLANTED_BUG(store_takes_pages_of_other_places);
  if (!here || header.sequence == 0 || header.entries != per_page)
    return Error(Code::damaged, "a table page in the wrong place");
  return TableHome{header.sequence, page.subspan(sizeof header)};
}

uint64_t table_home_offset(const disk::Layout& layout, uint32_t page_number, uint64_t sequence) {
  return layout.table_offset + (sequence % 2) * (layout.table_bytes / 2) +
         uint64_t{page_number} * disk::table_page_bytes;
}

SlotTable::SlotTable(const disk::Superblock& superblock)
    : superblock_(superblock),
      slot_count_(static_cast<uint32_t>(disk::slot_count(superblock.layout))),
      pages_(disk::table_page_count(superblock.layout)),
      states_(pages_.size()) {}

const Descriptor& SlotTable::descriptor(uint32_t slot) const {
  static const Descriptor nobody;
  SP_ASSERT_OP(slot, <, slot_count_);
  const auto& page = pages_[slot / per_page];
  return page ? page->entries[slot % per_page] : nobody;
}

Descriptor& SlotTable::writable(uint32_t slot) {
  SP_ASSERT_OP(slot, <, slot_count_);
  auto& page = pages_[slot / per_page];
  if (!page) {
    page = std::make_unique<Page>();
    pages_present_++;
  }
  return page->entries[slot % per_page];
}

void SlotTable::claim(uint32_t slot, const Descriptor& owner) {
  Descriptor& entry = writable(slot);
  SP_ASSERT(!entry.used());
  entry = owner;
  entry.block_and_flags |= Descriptor::flag_used | Descriptor::flag_uncommitted;
  if (entry.lost()) lost_.insert(slot);
}

void SlotTable::commit(uint32_t slot, uint64_t lsn) {
  Descriptor& entry = writable(slot);
  SP_ASSERT(entry.used() && entry.uncommitted());
  entry.block_and_flags &= static_cast<uint16_t>(~Descriptor::flag_uncommitted);
  mark_dirty(slot / per_page, lsn);
}

void SlotTable::clear(uint32_t slot, uint64_t lsn) {
  Descriptor& entry = writable(slot);
  SP_ASSERT(entry.used());
  if (!entry.uncommitted()) mark_dirty(slot / per_page, lsn);
  if (entry.lost()) lost_.erase(slot);
  entry = Descriptor{};
}

std::optional<uint32_t> SlotTable::allocate() {
  if (free_count_ == 0) return std::nullopt;
  // The rest of the cursor's word, then the next word that has one, by the summary; at most one
  // lap.
  size_t word = cursor_ / 64;
  uint64_t bits = word < free_.size() ? free_[word] & (~uint64_t{0} << (cursor_ % 64)) : 0;
  if (bits == 0) {
    size_t at = (word + 1) / 64;
    uint64_t words = at < summary_.size() ? summary_[at] & (~uint64_t{0} << ((word + 1) % 64)) : 0;
    for (size_t looked = 0; words == 0; looked++) {
      SP_ASSERT_OP(looked, <=, summary_.size() + 1);
      if (++at >= summary_.size()) at = 0;
      words = summary_[at];
    }
    word = at * 64 + static_cast<size_t>(std::countr_zero(words));
    bits = free_[word];
  }
  const auto slot = static_cast<uint32_t>(word * 64 + static_cast<size_t>(std::countr_zero(bits)));
  free_[word] &= ~(uint64_t{1} << (slot % 64));
  if (free_[word] == 0) summary_[word / 64] &= ~(uint64_t{1} << (word % 64));
  free_count_--;
  cursor_ = slot + 1;
  return slot;
}

void SlotTable::release(uint32_t slot) {
  SP_ASSERT(!descriptor(slot).used());
  SP_ASSERT(!is_free(slot));
  free_[slot / 64] |= uint64_t{1} << (slot % 64);
  summary_[slot / 4096] |= uint64_t{1} << (slot / 64 % 64);
  free_count_++;
}

void SlotTable::rebuild_free() {
  free_.assign((slot_count_ + 63) / 64, ~uint64_t{0});
  if (slot_count_ % 64 != 0) free_.back() = (uint64_t{1} << (slot_count_ % 64)) - 1;
  free_count_ = slot_count_;
  cursor_ = 0;
  for (uint32_t page = 0; page < pages_.size(); page++) {
    if (!pages_[page]) continue;
    const uint32_t first = page * per_page;
    const uint32_t end = std::min(first + per_page, slot_count_);
    for (uint32_t slot = first; slot < end; slot++) {
      if (!pages_[page]->entries[slot - first].used()) continue;
      free_[slot / 64] &= ~(uint64_t{1} << (slot % 64));
      free_count_--;
    }
  }
  summary_.assign((free_.size() + 63) / 64, 0);
  for (size_t word = 0; word < free_.size(); word++)
    if (free_[word] != 0) summary_[word / 64] |= uint64_t{1} << (word % 64);
}

void SlotTable::mark_dirty(uint32_t page, uint64_t lsn) {
  PageState& state = states_[page];
  if (state.dirty_since != 0 && state.dirty_since <= lsn) return;
  if (state.dirty_since != 0) dirty_.erase({state.dirty_since, page});
  state.dirty_since = lsn;
  dirty_.insert({lsn, page});
}

uint64_t SlotTable::next_sequence(uint32_t page) const {
  return states_[page].sequence + (SP_PLANTED_BUG(store_overwrites_valid_home) ? 2 : 1);
}

void SlotTable::set_intent(uint32_t page, uint64_t lsn, bool opens) {
  PageState& state = states_[page];
  SP_ASSERT(!state.intent_open);
  if (state.intent_lsn != 0) intents_.erase({state.intent_lsn, page});
  state.intent_lsn = lsn;
  intents_.insert({lsn, page});
  if (!opens) return;
  state.sequence = next_sequence(page);
  state.intent_open = true;
}

void SlotTable::take_image(uint32_t page, MutableBytes out) {
  PageState& state = states_[page];
  SP_ASSERT(state.intent_open);
  if (state.dirty_since != 0) {
    dirty_.erase({state.dirty_since, page});
    state.dirty_since = 0;
  }
  TablePageHeader header{};
  header.magic = table_page_magic;
  header.cluster = superblock_.cluster;
  header.uuid = superblock_.uuid;
  header.sequence = state.sequence;
  header.page = page;
  header.entries = per_page;
  std::memset(out.data(), 0, disk::table_page_bytes);
  std::memcpy(out.data(), &header, sizeof header);
  if (pages_[page]) {
    for (size_t i = 0; i < per_page; i++) {
      const Descriptor& entry = pages_[page]->entries[i];
      if (entry.used() && !entry.uncommitted())
        std::memcpy(out.data() + sizeof header + i * sizeof entry, &entry, sizeof entry);
    }
  }
  header.crc = home_crc(out.first(disk::table_page_bytes));
  std::memcpy(out.data(), &header, sizeof header);
}

void SlotTable::load_entry(uint32_t slot, const Descriptor& entry) {
  writable(slot) = entry;
  if (entry.lost()) lost_.insert(slot);
}

void SlotTable::load_page_state(uint32_t page, uint64_t sequence, uint64_t intent_lsn) {
  states_[page].sequence = sequence;
  states_[page].intent_lsn = intent_lsn;
  intents_.insert({intent_lsn, page});
}

uint64_t SlotTable::memory_bytes() const {
  return pages_present_ * sizeof(Page) + pages_.size() * (sizeof(pages_[0]) + sizeof(PageState)) +
         (free_.size() + summary_.size()) * 8 +
         (dirty_.size() + intents_.size() + lost_.size()) * 64;
}

}  // namespace sp::store
