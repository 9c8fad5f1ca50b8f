#include "store/log_page.h"

#include <cstddef>
#include <cstring>

#include "base/checksum.h"

namespace sp::store {

namespace {

uint64_t page_crc(Bytes page) {
  constexpr uint64_t zero = 0;
  constexpr size_t at = offsetof(LogPageHeader, crc);
  const uint64_t head = crc64(struct_bytes(zero), crc64(page.first(at)));
  return crc64(page.subspan(at + sizeof zero), head);
}

bool place_possible(const LogPageHeader& header) {
  return header.lsn != 0 && header.lsn <= lsn_max && header.round_first != 0 &&
         header.round_first <= header.lsn && header.stable_lsn <= header.round_first &&
         header.session != 0;
}

bool possible(const LogPageHeader& header) {
  return place_possible(header) && header.round_pages != 0 &&
         header.lsn - header.round_first < header.round_pages && header.tail_lsn != 0 &&
         header.tail_lsn <= header.lsn && header.record_bytes <= log_payload_bytes;
}

bool of_this_disk(const LogPageHeader& header, const disk::Superblock& superblock) {
  return header.magic == log_page_magic && header.cluster == superblock.cluster &&
         header.uuid == superblock.uuid;
}

}  // namespace

void seal_log_page(MutableBytes page, const disk::Superblock& superblock, LogPageHeader header) {
  SP_ASSERT_OP(page.size(), ==, page_bytes);
  SP_ASSERT_OP(header.record_bytes, <=, log_payload_bytes);
  header.magic = log_page_magic;
  header.cluster = superblock.cluster;
  header.uuid = superblock.uuid;
  header.crc = 0;
  std::memcpy(page.data(), &header, sizeof header);
  std::memset(page.data() + sizeof header + header.record_bytes, 0,
              log_payload_bytes - header.record_bytes);
  header.crc = page_crc(page);
  std::memcpy(page.data(), &header, sizeof header);
}

Result<LogPageHeader> open_log_page(Bytes page, const disk::Superblock& superblock) {
  SP_ASSERT_OP(page.size(), ==, page_bytes);
  const auto header = load<LogPageHeader>(page);
  if (!of_this_disk(header, superblock)) return Error(Code::not_found, "no log page of this disk");
  if (header.crc != page_crc(page))
    return Error(Code::damaged, "a log page whose checksum does not match");
  if (!possible(header)) return Error(Code::damaged, "a log page with an impossible header");
  return header;
}

bool is_foreign_log_page(Bytes page, const disk::Superblock& superblock) {
  const auto header = load<LogPageHeader>(page);
  return header.magic == log_page_magic && !of_this_disk(header, superblock) &&
         header.crc == page_crc(page);
}

std::optional<LogPageHeader> broken_log_page(Bytes page, const disk::Superblock& superblock) {
  const auto header = load<LogPageHeader>(page);
  if (!of_this_disk(header, superblock) || !place_possible(header) || header.crc == page_crc(page))
    return std::nullopt;
  return header;
}

}  // namespace sp::store
