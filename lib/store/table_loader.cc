#include "store/table_loader.h"

#include <utility>

#include "base/planted.h"
#include "base/probe.h"
#include "store/salvage.h"

namespace sp::store {

PagePins::PagePins(TablePages& pages, std::span<const uint32_t> pinned)
    : pages_(&pages), pinned_(pinned.begin(), pinned.end()) {
  for (const uint32_t page : pinned_) pages.pin(page);
}

PagePins::PagePins(PagePins&& other) noexcept
    : pages_(other.pages_), pinned_(std::move(other.pinned_)) {
  other.pinned_.clear();
}

PagePins& PagePins::operator=(PagePins&& other) noexcept {
  if (this == &other) return *this;
  release();
  pages_ = other.pages_;
  pinned_ = std::move(other.pinned_);
  other.pinned_.clear();
  return *this;
}

void PagePins::release() {
  for (const uint32_t page : pinned_) pages_->unpin(page);
  pinned_.clear();
}

TableLoader::TableLoader(io::Host& host, const disk::Superblock& superblock, SlotTable& table)
    : host_(host), superblock_(superblock), table_(table) {}

TableLoader::~TableLoader() { *alive_ = false; }

bool TableLoader::is_here(uint32_t page) {
  if (table_.pages().is_whole(page)) return true;
  if (table_.durable_sequence(page) != 0) return false;
  table_.pages().fill(page, {});
  return true;
}

Result<TableHome> TableLoader::open_home(uint32_t page, Bytes home) const {
  auto opened = open_table_home(home, superblock_, page);
  const uint64_t sequence = table_.durable_sequence(page);
  if (opened.ok() &&
      (opened->sequence == sequence || SP_PLANTED_BUG(store_believes_misread_table_page)))
    return opened;
  return Error(Code::damaged,
               "table page " + std::to_string(page) + " at device offset " +
                   std::to_string(table_home_offset(superblock_.layout, page, sequence)) +
                   " is not what was written: wipe the disk and let it recover from its peers");
}

void TableLoader::load(io::Disk& disk, std::span<const uint32_t> pages, Loaded loaded) {
  auto made = std::make_unique<Wait>();
  Wait* const wait = made.get();
  waits_.emplace(wait, std::move(made));
  wait->pins = PagePins(table_.pages(), pages);
  wait->loaded = std::move(loaded);
  wait->outstanding = 1;
  for (const uint32_t page : pages) {
    if (is_here(page)) continue;
    wait->outstanding++;
    auto& read = reads_[page];
    if (!read) {
      read = std::make_unique<Read>();
      read->page = page;
      queue_.push_back(page);
    }
    read->waits.push_back(wait);
  }
  start_reads(disk);
  host_.reactor.post([this, wait, alive = alive_] {
    if (*alive) one_less(wait, Status{});
  });
}

void TableLoader::start_reads(io::Disk& disk) {
  for (; active_ < reads_max && !queue_.empty(); queue_.pop_front(), active_++) {
    Read& read = *reads_[queue_.front()];
    read.buffer = Buffer::allocate(disk::table_page_bytes);
    start(disk, read);
  }
}

void TableLoader::start(io::Disk& disk, Read& read) {
  read.sequence = table_.durable_sequence(read.page);
  salvage(disk, table_home_offset(superblock_.layout, read.page, read.sequence),
          read.buffer.mutable_bytes(),
          [this, &disk, &read](Status status) { finish(disk, read, std::move(status)); });
}

void TableLoader::finish(io::Disk& disk, Read& read, Status status) {
  if (table_.pages().is_whole(read.page)) {
    status = Status();  // all of it was put, and its homes may be written to
  } else if (read.sequence != table_.durable_sequence(read.page)) {
    return start(disk, read);  // a newer home became durable meanwhile
  } else if (status.ok()) {
    const auto home = open_home(read.page, read.buffer.bytes());
    if (!home.ok() && !std::exchange(read.again, true)) return start(disk, read);
    if (home.ok())
      table_.pages().fill(read.page, home->entries);
    else
      status = home.error();
  }
  SP_PROBE(store_table_page_read_again);
  const auto waits = std::move(read.waits);
  reads_.erase(read.page);
  active_--;
  start_reads(disk);
  const auto alive = alive_;
  for (Wait* const wait : waits) {
    one_less(wait, status);
    if (!*alive) return;
  }
}

void TableLoader::one_less(Wait* wait, const Status& status) {
  if (!status.ok() && wait->status.ok()) wait->status = status.error();
  if (--wait->outstanding > 0) return;
  const auto found = waits_.find(wait);
  const auto finished = std::move(found->second);
  waits_.erase(found);
  if (finished->status.ok())
    finished->loaded.call_once(std::move(finished->pins));
  else
    finished->loaded.call_once(std::move(finished->status).error());
}

}  // namespace sp::store
