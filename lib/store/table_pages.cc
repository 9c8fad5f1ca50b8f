#include "store/table_pages.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include "base/assert.h"
#include "base/planted.h"
#include "base/probe.h"

namespace sp::store {

class TablePages::Change {
 public:
  Change(TablePages& pages, Page& page) : pages_(pages), page_(page), fresh_(page.fresh.any()) {
    pages.bytes_ -= bytes_of(page);
    if (fresh_) pages.fresh_bytes_ -= bytes_of(page);
  }
  ~Change() {
    const bool fresh = page_.fresh.any();
    pages_.bytes_ += bytes_of(page_);
    if (fresh) pages_.fresh_bytes_ += bytes_of(page_);
    if (fresh == fresh_) return;
    pages_.leave(page_);
    pages_.join(page_);
  }
  Change(const Change&) = delete;

 private:
  TablePages& pages_;
  Page& page_;
  const bool fresh_;
};

void TablePages::leave(Page& page) {
  if (page.in_clean) {
    clean_[page.place] = clean_.back();
    clean_[page.place]->place = page.place;
    clean_.pop_back();
    page.in_clean = false;
    return;
  }
  (page.older != nullptr ? page.older->newer : fresh_oldest_) = page.newer;
  (page.newer != nullptr ? page.newer->older : fresh_newest_) = page.older;
}

void TablePages::join(Page& page) {
  if (page.fresh.none()) {
    page.in_clean = true;
    page.place = static_cast<uint32_t>(clean_.size());
    clean_.push_back(&page);
    return;
  }
  page.newer = nullptr;
  page.older = fresh_newest_;
  (fresh_newest_ != nullptr ? fresh_newest_->newer : fresh_oldest_) = &page;
  fresh_newest_ = &page;
}

TablePages::TablePages(uint32_t pages, size_t bytes_max)
    : bytes_max_(bytes_max), here_(pages), pages_(1) {}

size_t TablePages::bytes_of(const Page& page) {
  return sizeof(Page) + (page.all ? sizeof(Entries) : page.few.capacity() * sizeof(Few));
}

TablePages::Page& TablePages::present(uint32_t number) {
  Page* page = page_at(number);
  if (page == nullptr) {
    if (unused_.empty()) {
      unused_.push_back(static_cast<uint32_t>(pages_.size()));
      pages_.emplace_back();
    }
    here_[number] = unused_.back();
    unused_.pop_back();
    pages_[here_[number]] = std::make_unique<Page>();
    page = page_at(number);
    page->number = number;
    join(*page);
    bytes_ += bytes_of(*page);
  }
  page->recent = true;
  return *page;
}

Descriptor* TablePages::entry(Page& page, uint32_t index) {
  if (page.all) return &(*page.all)[index];
  const auto found = std::find_if(page.few.begin(), page.few.end(),
                                  [index](const Few& few) { return few.index == index; });
  return found == page.few.end() ? nullptr : &found->entry;
}

void TablePages::widen(Page& page) {
  if (page.all) return;
  page.all = std::make_unique<Entries>();
  for (const Few& few : page.few) (*page.all)[few.index] = few.entry;
  page.few = {};
}

Descriptor* TablePages::find(uint32_t slot) const {
  Page* const page = page_at(slot / per_page);
  if (page == nullptr || !page->known.test(slot % per_page)) return nullptr;
  if (!page->recent) page->recent = true;
  return entry(*page, slot % per_page);
}

bool TablePages::is_whole(uint32_t page) const {
  const Page* const here = page_at(page);
  return here != nullptr && here->known.all();
}

void TablePages::put(uint32_t slot, const Descriptor& value) {
  Page& page = present(slot / per_page);
  const uint32_t index = slot % per_page;
  if (page.all && page.fresh.test(index)) {
    (*page.all)[index] = value;
  } else {
    const Change change(*this, page);
    if (!page.all && !page.known.test(index)) {
      if (page.few.size() == few_max)
        widen(page);
      else
        page.few.push_back({{}, static_cast<uint8_t>(index)});
    }
    page.known.set(index);
    page.fresh.set(index);
    *entry(page, index) = value;
  }
  if (!SP_PLANTED_BUG(store_forgets_entry_behind_image)) page.imaged.reset(index);
}

void TablePages::drop_fresh(uint32_t slot) {
  Page& page = *page_at(slot / per_page);
  const Change change(*this, page);
  page.fresh.reset(slot % per_page);
  page.imaged.reset(slot % per_page);
}

void TablePages::fill(uint32_t number, Bytes entries) {
  Page& page = present(number);
  if (page.known.all()) return;
  const Change change(*this, page);
  widen(page);
  if (page.known.none() && !entries.empty()) {
    std::memcpy(page.all->data(), entries.data(), sizeof(Entries));
  } else {
    for (uint32_t index = 0; index < per_page && !entries.empty(); index++)
      if (!page.known.test(index))
        (*page.all)[index] = load<Descriptor>(entries.subspan(index * sizeof(Descriptor)));
  }
  page.known.set();
}

void TablePages::begin_image(uint32_t number) {
  Page& page = *page_at(number);
  page.imaged.reset();
  for (uint32_t index = 0; index < per_page; index++)
    if (page.fresh.test(index) && !entry(page, index)->uncommitted()) page.imaged.set(index);
}

void TablePages::end_image(uint32_t number) {
  Page* const page = page_at(number);
  if (page == nullptr) return;  // it had nothing fresh, and went
  const Change change(*this, *page);
  page->fresh &= ~page->imaged;
  page->imaged.reset();
}

void TablePages::pin(uint32_t page) { present(page).pins++; }

void TablePages::unpin(uint32_t page) {
  Page* const here = page_at(page);
  SP_ASSERT(here != nullptr && here->pins > 0);
  here->pins--;
}

void TablePages::trim() {
  // Not all at once: where all is in use there is nothing to find.
  constexpr size_t looked_max = 512;
  for (size_t looked = 0; bytes_ > bytes_max_ && looked < looked_max && !clean_.empty(); looked++) {
    if (hand_ >= clean_.size()) hand_ = 0;
    Page& page = *clean_[hand_];
    if (page.pins > 0 || page.recent) {
      page.recent = false;
      hand_++;
      continue;
    }
    SP_PROBE(store_table_page_dropped);
    has_all_ = false;
    bytes_ -= bytes_of(page);
    leave(page);
    const uint32_t place = std::exchange(here_[page.number], 0);
    pages_[place].reset();
    unused_.push_back(place);
  }
}

std::vector<uint32_t> TablePages::relief(size_t pages_max) const {
  std::vector<uint32_t> found;
  uint64_t passed = 0;  // bytes
  for (Page* page = fresh_oldest_; page != nullptr && found.size() < pages_max;
       page = page->newer) {
    if (passed > fresh_bytes_ / 2 && !found.empty()) break;
    passed += bytes_of(*page);
    bool committed = false;
    for (uint32_t index = 0; index < per_page && !committed; index++)
      committed = page->fresh.test(index) && !entry(*page, index)->uncommitted();
    if (committed) found.push_back(page->number);
  }
  return found;
}

}  // namespace sp::store
