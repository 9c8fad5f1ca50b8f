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

SlotTable::SlotTable(const disk::Superblock& superblock, size_t pages_bytes_max)
    : superblock_(superblock),
      slot_count_(static_cast<uint32_t>(disk::slot_count(superblock.layout))),
      pages_(static_cast<uint32_t>(disk::table_page_count(superblock.layout)), pages_bytes_max),
      sequences_(disk::table_page_count(superblock.layout)),
      dirty_(page_count()),
      intents_(page_count()),
      open_(page_count()),
      owned_(slot_count_),
      free_(slot_count_) {}

const Descriptor& SlotTable::descriptor(uint32_t slot) const {
  SP_ASSERT_OP(slot, <, slot_count_);
  const Descriptor* const entry = pages_.find(slot);
  SP_ASSERT(entry != nullptr && owned(slot));
  return *entry;
}

void SlotTable::claim(uint32_t slot, const Descriptor& owner) {
  SP_ASSERT_OP(slot, <, slot_count_);
  SP_ASSERT(!owned(slot));
  Descriptor entry = owner;
  entry.block_and_flags |= Descriptor::flag_used | Descriptor::flag_uncommitted;
  pages_.put(slot, entry);
  owned_.set(slot);
  if (entry.lost()) lost_.emplace(slot, entry);
}

void SlotTable::commit(uint32_t slot, uint64_t lsn) {
  Descriptor* const entry = pages_.find(slot);
  SP_ASSERT(entry != nullptr && owned(slot) && entry->uncommitted());
  entry->block_and_flags &= static_cast<uint16_t>(~Descriptor::flag_uncommitted);
  if (entry->lost()) lost_[slot] = *entry;
  mark_dirty(page_of(slot), lsn);
}

void SlotTable::clear(uint32_t slot, uint64_t lsn) {
  SP_ASSERT(owned(slot));
  // One that is not committed is always here.
  const Descriptor* const entry = pages_.find(slot);
  if (entry == nullptr || !entry->uncommitted())
    mark_dirty(page_of(slot), lsn);
  else
    pages_.drop_fresh(slot);
  if (!lost_.empty()) lost_.erase(slot);
  owned_.clear(slot);
}

std::optional<uint32_t> SlotTable::allocate() {
  if (free_count_ == 0) return std::nullopt;
  // The rest of the cursor's word, then the next word that has one, by the summary; at most one
  // lap.
  size_t word = cursor_ / 64;
  uint64_t bits = word < free_.words() ? free_.word(word) & (~uint64_t{0} << (cursor_ % 64)) : 0;
  if (bits == 0) {
    size_t at = (word + 1) / 64;
    uint64_t words = at < summary_.size() ? summary_[at] & (~uint64_t{0} << ((word + 1) % 64)) : 0;
    for (size_t looked = 0; words == 0; looked++) {
      SP_ASSERT_OP(looked, <=, summary_.size() + 1);
      if (++at >= summary_.size()) at = 0;
      words = summary_[at];
    }
    word = at * 64 + static_cast<size_t>(std::countr_zero(words));
    bits = free_.word(word);
  }
  const auto slot = static_cast<uint32_t>(word * 64 + static_cast<size_t>(std::countr_zero(bits)));
  free_.clear(slot);
  if (free_.word(word) == 0) summary_[word / 64] &= ~(uint64_t{1} << (word % 64));
  free_count_--;
  cursor_ = slot + 1;
  return slot;
}

void SlotTable::release(uint32_t slot) {
  SP_ASSERT(!owned(slot));
  SP_ASSERT(!is_free(slot));
  free_.set(slot);
  summary_[slot / 4096] |= uint64_t{1} << (slot / 64 % 64);
  free_count_++;
}

void SlotTable::rebuild_free() {
  free_ = owned_.complement();
  free_count_ = slot_count_ - owned_.count();
  cursor_ = 0;
  summary_.assign((free_.words() + 63) / 64, 0);
  for (size_t word = 0; word < free_.words(); word++)
    if (free_.word(word) != 0) summary_[word / 64] |= uint64_t{1} << (word % 64);
}

void SlotTable::mark_dirty(uint32_t page, uint64_t lsn) {
  const uint64_t since = dirty_.at(page);
  if (since == 0 || since > lsn) dirty_.set(page, lsn);
}

uint64_t SlotTable::sequence(uint32_t page) const {
  if (sequences_high_.empty()) return sequences_[page];
  const auto high = sequences_high_.find(page);
  return (high == sequences_high_.end() ? 0 : uint64_t{high->second} << 32) + sequences_[page];
}

void SlotTable::set_sequence(uint32_t page, uint64_t sequence) {
  sequences_[page] = static_cast<uint32_t>(sequence);
  if (const auto high = static_cast<uint32_t>(sequence >> 32); high != 0)
    sequences_high_[page] = high;
  else if (!sequences_high_.empty())
    sequences_high_.erase(page);
}

uint64_t SlotTable::next_sequence(uint32_t page) const {
  return sequence(page) + (SP_PLANTED_BUG(store_overwrites_valid_home) ? 2 : 1);
}

void SlotTable::set_intent(uint32_t page, uint64_t lsn, bool opens) {
  SP_ASSERT(!open_[page]);
  intents_.set(page, lsn);
  if (!opens) return;
  set_sequence(page, next_sequence(page));
  open_[page] = true;
}

void SlotTable::take_image(uint32_t page, MutableBytes out) {
  SP_ASSERT(open_[page] && pages_.is_whole(page));
  dirty_.clear(page);
  pages_.begin_image(page);
  TablePageHeader header{};
  header.magic = table_page_magic;
  header.cluster = superblock_.cluster;
  header.uuid = superblock_.uuid;
  header.sequence = sequence(page);
  header.page = page;
  header.entries = per_page;
  std::memset(out.data(), 0, disk::table_page_bytes);
  std::memcpy(out.data(), &header, sizeof header);
  const uint32_t first = page * per_page;
  const uint32_t end = std::min(first + per_page, slot_count_);
  for (uint32_t slot = first; slot < end; slot++) {
    if (!owned(slot)) continue;
    const Descriptor& entry = *pages_.find(slot);
    if (!entry.uncommitted())
      std::memcpy(out.data() + sizeof header + (slot - first) * sizeof entry, &entry, sizeof entry);
  }
  header.crc = home_crc(out.first(disk::table_page_bytes));
  std::memcpy(out.data(), &header, sizeof header);
}

void SlotTable::home_written(uint32_t page) {
  open_[page] = false;
  pages_.end_image(page);
}

void SlotTable::load_entry(uint32_t slot, const Descriptor& entry) {
  owned_.set(slot);
  if (entry.lost()) lost_[slot] = entry;
}

void SlotTable::load_page_state(uint32_t page, uint64_t sequence, uint64_t intent_lsn) {
  set_sequence(page, sequence);
  intents_.set(page, intent_lsn);
}

uint64_t SlotTable::memory_bytes() const {
  return pages_.memory_bytes() + sequences_.size() * 4 + open_.size() / 8 + dirty_.memory_bytes() +
         intents_.memory_bytes() + owned_.memory_bytes() + free_.memory_bytes() +
         summary_.size() * 8 + lost_.size() * 80;
}

}  // namespace sp::store
