#include "store/round.h"

#include <algorithm>
#include <cstring>

#include "store/record_views.h"

namespace sp::store {

namespace {

constexpr uint32_t joined_blocks_max = 64;  // pieces are copied together up to here
constexpr uint32_t copied_blocks_max = 16;  // larger pieces are written from where they lie

bool aligned(const std::byte* at) {
  return reinterpret_cast<uintptr_t>(at) % Buffer::alignment == 0;
}

}  // namespace

RoundBuilder::RoundBuilder(uint32_t pages_max)
    : pages_max_(pages_max), memory_(Buffer::zeroed(size_t{pages_max} * page_bytes)) {}

void RoundBuilder::begin(uint64_t first_lsn) {
  first_lsn_ = first_lsn;
  used_.clear();
  pieces_.clear();
}

uint32_t RoundBuilder::pages_with(size_t count, size_t bytes) const {
  if (count == 0) return pages();
  const size_t per_page = log_payload_bytes / bytes;
  SP_ASSERT_OP(per_page, >, 0u);
  size_t left = count;
  if (!used_.empty()) left -= std::min(left, (log_payload_bytes - used_.back()) / bytes);
  return pages() + static_cast<uint32_t>((left + per_page - 1) / per_page);
}

uint64_t RoundBuilder::append(RecordKind kind, uint8_t flags, std::initializer_list<Bytes> parts) {
  const size_t size = record_bytes(parts);
  SP_ASSERT_OP(size, <=, log_payload_bytes);
  if (used_.empty() || used_.back() + size > log_payload_bytes) add_page();
  const size_t at = size_t{pages() - 1} * page_bytes + sizeof(LogPageHeader) + used_.back();
  encode_record(memory_.mutable_bytes().subspan(at, size), kind, flags, parts);
  used_.back() += static_cast<uint32_t>(size);
  return first_lsn_ + pages() - 1;
}

void RoundBuilder::add_page() {
  SP_ASSERT_OP(pages(), <, pages_max_);
  used_.push_back(0);
}

void RoundBuilder::add_data(uint32_t slot, const std::byte* from) {
  if (!pieces_.empty()) {
    DataPiece& last = pieces_.back();
    if (last.slot + last.count == slot && last.from + size_t{last.count} * page_bytes == from) {
      last.count++;
      return;
    }
  }
  pieces_.push_back({slot, 1, from});
}

void RoundBuilder::seal(const disk::Superblock& superblock, LogPageHeader header) {
  header.round_first = first_lsn_;
  header.round_pages = pages();
  for (uint32_t i = 0; i < pages(); i++) {
    header.lsn = first_lsn_ + i;
    header.record_bytes = used_[i];
    seal_log_page(memory_.mutable_bytes().subspan(size_t{i} * page_bytes, page_bytes), superblock,
                  header);
  }
}

Bytes RoundBuilder::page_bytes_at(uint32_t index, uint32_t count) const {
  return memory_.bytes().subspan(size_t{index} * page_bytes, size_t{count} * page_bytes);
}

std::vector<RoundBuilder::DataWrite>& RoundBuilder::join_data(std::vector<Buffer>& staging) {
  writes_.clear();
  for (size_t i = 0; i < pieces_.size();) {
    // Small pieces at adjacent slots become one device write.
    uint32_t count = pieces_[i].count;
    size_t end = i + 1;
    while (end < pieces_.size() && pieces_[end].slot == pieces_[i].slot + count &&
           pieces_[end].count <= copied_blocks_max && pieces_[i].count <= copied_blocks_max &&
           count + pieces_[end].count <= joined_blocks_max)
      count += pieces_[end++].count;
    if (end == i + 1 && aligned(pieces_[i].from)) {
      writes_.push_back({pieces_[i].slot, {pieces_[i].from, size_t{count} * page_bytes}});
    } else {
      Buffer joined = Buffer::allocate(size_t{count} * page_bytes);
      std::byte* to = joined.data();
      for (size_t k = i; k < end; k++) {
        std::memcpy(to, pieces_[k].from, size_t{pieces_[k].count} * page_bytes);
        to += size_t{pieces_[k].count} * page_bytes;
      }
      writes_.push_back({pieces_[i].slot, joined.bytes()});
      staging.push_back(std::move(joined));
    }
    i = end;
  }
  return writes_;
}

}  // namespace sp::store
