// Log page: 4 KiB of the log ring. The header says where the page belongs (ring position = lsn mod
// pages), to which round, and from where the log is still needed; the payload holds records.
// Encoding seals, decoding checks everything that a single page can prove of itself.
#pragma once
#include <cstdint>
#include <optional>

#include "base/bytes.h"
#include "base/result.h"
#include "disk/superblock.h"

namespace sp::store {

constexpr uint32_t page_bytes = 4096;

struct LogPageHeader {
  uint64_t magic;
  uint64_t cluster;
  uint64_t uuid;
  uint64_t lsn;               // counts from 1
  uint64_t round_first;       // lsn of the first page of this round
  uint64_t stable_lsn;        // all rounds below are durable and whole
  uint64_t tail_lsn;          // pages below are no longer needed
  uint32_t session;           // counts the openings of the disk for writing
  uint32_t previous_session;  // of the round that ends at round_first - 1
  uint32_t round_pages;
  uint32_t record_bytes;
  uint64_t crc;  // of the page with this field zero
};
static_assert(sizeof(LogPageHeader) == 80);
constexpr uint64_t log_page_magic = 0x3130474f4c50532f;  // "/SPLOG01"
// More pages than any disk writes in its life; so sums of lsns and counts of pages never wrap.
constexpr uint64_t lsn_max = uint64_t{1} << 56;
// Where the log goes on.
struct LogPosition {
  uint64_t next_lsn = 1;
  uint64_t tail_lsn = 1;
  uint32_t session = 0;     // of the last round
  uint64_t void_lsn = 0;    // of the round that a crash tore; 0: none
  uint64_t saved_lsn = 1;   // of the saved index, or where the log begins
  uint32_t saved_home = 1;  // of the newest saved index
};

constexpr size_t log_payload_bytes = page_bytes - sizeof(LogPageHeader);

void seal_log_page(MutableBytes page, const disk::Superblock& superblock, LogPageHeader header);

// Code::not_found: not a log page of this disk (never written, or of an earlier life of the
// device); Code::damaged: of this disk but broken.
Result<LogPageHeader> open_log_page(Bytes page, const disk::Superblock& superblock);

// A whole log page of another disk, or of another life of this one. Formatting clears the log.
bool is_foreign_log_page(Bytes page, const disk::Superblock& superblock);

// What a broken page of this disk says of itself, as far as it is possible. Good for nothing but to
// tell that its round was begun, and so that the rounds before stable_lsn were not torn.
std::optional<LogPageHeader> broken_log_page(Bytes page, const disk::Superblock& superblock);

inline Bytes log_payload(Bytes page, const LogPageHeader& header) {
  return page.subspan(sizeof(LogPageHeader), header.record_bytes);
}

}  // namespace sp::store
