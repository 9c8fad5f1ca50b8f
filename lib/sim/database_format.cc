#include "sim/database_format.h"

#include <algorithm>

namespace sp::sim::database {

namespace {

template <class T>
T head_of(Bytes payload) {
  T value;
  std::memcpy(&value, payload.data(), sizeof value);
  return value;
}

// The bytes of the log from `redo` on, as far as they follow each other.
std::vector<std::byte> bytes_of_log(const Control& control, const SealedRead& log) {
  std::vector<std::byte> bytes;
  uint64_t from = control.redo % log_bytes;
  for (uint64_t number = control.redo / log_bytes;; ++number, from = 0) {
    const Bytes payload = log.payload(Layout::log_block(number));
    const auto head = head_of<LogHead>(payload);
    if (head.magic != log_magic || head.run != control.run || head.number != number) break;
    if (head.used > log_bytes || head.used < from) break;
    const Bytes content = payload.subspan(sizeof head + from, head.used - from);
    bytes.insert(bytes.end(), content.begin(), content.end());
    if (head.used < log_bytes) break;
  }
  return bytes;
}

Page page_of(const Layout& layout, uint32_t number, const SealedRead& read) {
  Page page;
  page.rows.resize(layout.rows());
  for (uint32_t i = 0; i < layout.page_blocks; ++i) {
    const Bytes payload = read.payload(read.first + i);
    const auto head = head_of<PageHead>(payload);
    const bool empty = read.stamps[i] == 0;
    if (!empty && (head.magic != page_magic || head.page != number || head.block != i)) {
      page.torn = true;
      continue;
    }
    if (i > 0 && head.position != page.position) page.torn = true;
    page.position = std::max(page.position, head.position);
    std::memcpy(&page.rows[size_t{i} * rows_per_block], payload.data() + sizeof head,
                size_t{rows_per_block} * 8);
  }
  return page;
}

class Redo {
 public:
  Redo(const Layout& layout, const Control& control, std::vector<std::byte> bytes, Recovered& out)
      : layout_(layout), control_(control), bytes_(std::move(bytes)), out_(out) {}

  void execute() {
    out_.newest = control_.transaction;
    out_.end = control_.redo;
    std::vector<size_t> open;  // records of the transaction that is being read
    for (size_t at = 0; at + sizeof(Record) <= bytes_.size();) {
      const Record record = record_at(at);
      const size_t size =
          sizeof record + (record.kind == RecordKind::image ? size_t{layout_.rows()} * 8 : 0);
      if (at + size > bytes_.size()) break;
      if (record.transaction != out_.newest + 1) {
        out_.wrong = "the log has transaction " + std::to_string(record.transaction) + " behind " +
                     std::to_string(out_.newest);
        out_.block = Layout::log_block((control_.redo + at) / log_bytes);
        return;
      }
      open.push_back(at);
      at += size;
      if (record.kind != RecordKind::commit) continue;
      const uint64_t end = control_.redo + at;
      for (const size_t one : open) apply(one, end);
      if (!out_.wrong.empty()) return;
      open.clear();
      out_.newest = record.transaction;
      out_.end = end;
    }
  }

 private:
  Record record_at(size_t at) const {
    Record record;
    std::memcpy(&record, bytes_.data() + at, sizeof record);
    return record;
  }

  // `end`: of the transaction, which is the position of pages that have it.
  void apply(size_t at, uint64_t end) {
    const Record record = record_at(at);
    if (record.kind == RecordKind::commit) return;
    Page& page = out_.pages[record.page];
    if (record.kind == RecordKind::image) {
      // Whatever became of the page since.
      std::memcpy(page.rows.data(), bytes_.data() + at + sizeof record, page.rows.size() * 8);
      page.torn = false;
      page.changed = true;
      page.position = 0;
      return;
    }
    if (page.torn) {
      out_.wrong = "page " + std::to_string(record.page) +
                   " is torn, and was not changed since the checkpoint before transaction " +
                   std::to_string(record.transaction);
      out_.block = layout_.pages[record.page];
      return;
    }
    if (page.position > end) return;
    page.changed = true;
    page.rows[record.row] = record.value;
    page.position = std::max(page.position, end);
  }

  const Layout& layout_;
  const Control& control_;
  std::vector<std::byte> bytes_;
  Recovered& out_;
};

}  // namespace

// Pages over the whole volume, every other one across the border of two objects where there is one.
Layout::Layout(uint64_t size_blocks, VolumeId volume) : page_blocks(2 + volume % 3) {
  const uint64_t begin = log + log_blocks;
  const uint64_t apart = (size_blocks - begin) / page_count;
  for (uint32_t i = 0; i < page_count; ++i) {
    const uint64_t from = begin + apart * i;
    const uint64_t border = (from / limits::blocks_per_object + 1) * limits::blocks_per_object;
    const bool fits = border - 1 + page_blocks <= from + apart;
    pages[i] = i % 2 == 0 && fits ? border - 1 : from + apart / 2;
  }
}

Recovered recover(const Layout& layout, const Control& control, const SealedRead& log,
                  const std::vector<SealedRead>& pages) {
  Recovered out;
  std::vector<uint64_t> as_found;
  for (uint32_t i = 0; i < page_count; ++i) {
    out.pages.push_back(page_of(layout, i, pages[i]));
    as_found.push_back(out.pages[i].position);
  }
  Redo(layout, control, bytes_of_log(control, log), out).execute();
  for (uint32_t i = 0; i < page_count && out.wrong.empty(); ++i) {
    out.block = layout.pages[i];
    if (out.pages[i].torn)
      out.wrong = "page " + std::to_string(i) + " is torn, and the log has no image of it";
    else if (as_found[i] > out.end)
      out.wrong = "page " + std::to_string(i) + " has changes up to position " +
                  std::to_string(as_found[i]) + ", and the log ends at " + std::to_string(out.end);
  }
  return out;
}

Buffer page_content(const Layout& layout, uint32_t page, const Page& content) {
  const Buffer data = Buffer::zeroed(size_t{layout.page_blocks} * limits::block_bytes);
  for (uint32_t i = 0; i < layout.page_blocks; ++i) {
    std::byte* const at = data.data() + size_t{i} * limits::block_bytes;
    const PageHead head{page_magic, content.position, page, i};
    std::memcpy(at, &head, sizeof head);
    std::memcpy(at + sizeof head, &content.rows[size_t{i} * rows_per_block],
                size_t{rows_per_block} * 8);
  }
  return data;
}

}  // namespace sp::sim::database
