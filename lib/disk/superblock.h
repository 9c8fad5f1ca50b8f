// Superblock: what makes a device a disk of a cluster. Two identical copies, in the first and the
// last 4 KiB of the device, each with its own CRC-64; either one suffices to find everything else.
// Layout and worked example: sp-disk-format(5).
#pragma once
#include <array>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>

#include "base/ids.h"
#include "base/result.h"
#include "base/versions.h"
#include "io/host.h"

namespace sp::disk {

// A disk of another format version is refused. Of a minor version (Versions::disk_minor_newest)
// that is as old or older it is opened, of a newer one it is refused.
constexpr uint32_t format_version = 1;

// The regions of a disk in bytes, computed once by format and stored, so that later versions may
// compute otherwise.
struct Layout {
  uint64_t device_bytes = 0;
  uint64_t log_offset = 0;
  uint64_t log_bytes = 0;
  uint64_t table_offset = 0;  // both homes of all slot table pages
  uint64_t table_bytes = 0;
  uint64_t data_offset = 0;
  uint64_t data_bytes = 0;    // 4096 a slot
  uint64_t index_offset = 0;  // both homes of the saved index (store/saved_index.h)
  uint64_t index_bytes = 0;   // 0: a disk of minor 1, which has none
};

struct Superblock {
  ClusterId cluster = 0;
  DiskId disk = 0;
  uint64_t uuid = 0;  // drawn at format: tells a re-made disk from its predecessor
  int64_t created_ms = 0;
  Layout layout;
  uint16_t minor = 0;  // of the format
};

constexpr uint32_t superblock_bytes = 4096;
constexpr uint32_t table_page_bytes = 4096;
constexpr uint32_t slots_per_table_page = 126;
constexpr uint64_t device_bytes_min = 32ull << 20;
constexpr uint32_t index_chunk_bytes = 64 << 10;
constexpr uint16_t index_minor_least = 2;
constexpr uint32_t log_pages_min = 128;  // of any layout; plan_layout gives at least 1024

inline uint64_t log_page_count(const Layout& layout) { return layout.log_bytes / 4096; }
inline uint64_t slot_count(const Layout& layout) { return layout.data_bytes / 4096; }
inline uint64_t table_page_count(const Layout& layout) {
  return layout.table_bytes / 2 / table_page_bytes;
}

inline uint64_t index_chunk_count(const Layout& layout) {  // of one home
  return layout.index_bytes / 2 / index_chunk_bytes;
}

// Regions in order, aligned, inside the device, with one table page for every 126 slots.
// Code::damaged says which rule is broken.
Status check_layout(const Layout& layout);

// Code::invalid for a disk that a newer version has made; says what to do.
Status check_minor(const Superblock& superblock, uint16_t newest);

// The layout for a device of this size, of this minor version of the format. Code::invalid below
// the smallest useful size (named in the message).
Result<Layout> plan_layout(uint64_t device_bytes, uint16_t minor = Versions().disk_minor_newest);

struct FormatOptions {
  ClusterId cluster = 0;
  DiskId disk = 0;
  uint16_t minor = Versions().disk_minor_newest;
  bool write_in_full =
      true;  // files: write every byte once, so that later writes need no allocation
  std::optional<Layout> layout;  // instead of plan_layout's: tests with tiny logs
  std::function<void(uint64_t done, uint64_t total)> progress;  // bytes written
};

// Writes log, tables and superblocks; the last copy of the superblock is written last, after a
// flush. Refusal of used devices is `probe`'s and the command's affair.
void format(io::Host& host, io::Disk& disk, const FormatOptions& options,
            Callback<void(Result<Superblock>)> done);

// The 4096 bytes of a copy, and back. Code::not_found: these bytes never were a superblock;
// Code::damaged: they were.
std::array<std::byte, superblock_bytes> encode_superblock(const Superblock& superblock);
Result<Superblock> decode_superblock(Bytes page);

// Reads and checks both copies. Code::not_found: not a disk of ours; Code::damaged: it was, but
// neither copy is whole, or they disagree.
void read_superblock(io::Host& host, io::Disk& disk, Callback<void(Result<Superblock>)> done);

// Both copies as they are, for checks: first, last.
struct SuperblockCopies {
  Result<Superblock> first;
  Result<Superblock> last;
};
void read_superblock_copies(io::Disk& disk, Callback<void(Result<SuperblockCopies>)> done);
Result<Superblock> choose_superblock(const SuperblockCopies& copies, uint64_t device_bytes);

}  // namespace sp::disk
