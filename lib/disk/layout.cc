#include <algorithm>

#include "base/units.h"
#include "disk/superblock.h"

namespace sp::disk {

namespace {

constexpr uint64_t page = 4096;
constexpr uint64_t log_start =
    64 << 10;  // leaves room behind the first superblock, and aligns what follows
constexpr uint64_t region_alignment = 64 << 10;
constexpr uint64_t slots_max = 0xffff'fff0;  // slot numbers are 32 bits wide

uint64_t round_up(uint64_t value, uint64_t unit) { return (value + unit - 1) / unit * unit; }

// Four bytes a slot and half as much for objects, and for the table's entries that no home has yet:
// as many as a server keeps in memory unless it is told to keep more. What does not fit is not
// saved, and the disk takes longer to open.
uint64_t index_home_bytes(uint64_t slots) {
  constexpr uint64_t entries_max = 64 << 20;
  return round_up(slots * 6 + std::min(slots * 8, entries_max) + index_chunk_bytes,
                  index_chunk_bytes);
}

}  // namespace

Result<Layout> plan_layout(uint64_t device_bytes, uint16_t minor) {
  if (device_bytes < device_bytes_min)
    return Error(Code::invalid, "the device has " + format_size(device_bytes) +
                                    "; a disk needs at least " + format_size(device_bytes_min));
  Layout layout;
  layout.device_bytes = device_bytes / page * page;
  const uint64_t floor = std::min<uint64_t>(16 << 20, layout.device_bytes / 8);
  layout.log_offset = log_start;
  layout.log_bytes = std::max(layout.device_bytes / 1024, floor) / page * page;

  layout.table_offset = round_up(layout.log_offset + layout.log_bytes, region_alignment);
  uint64_t end = layout.device_bytes - superblock_bytes;
  if (minor >= index_minor_least) {
    layout.index_bytes =
        2 * index_home_bytes(std::min((end - layout.table_offset) / page, slots_max));
    layout.index_offset = end / region_alignment * region_alignment - layout.index_bytes;
    end = layout.index_offset;
  }
  const uint64_t blocks =
      (end - layout.table_offset - region_alignment) / page;  // less the worst of aligning the data
  constexpr uint64_t group = slots_per_table_page + 2;        // two homes and their slots
  uint64_t pages = blocks / group;
  uint64_t slots = pages * slots_per_table_page;
  if (blocks % group > 2) {
    pages++;
    slots += blocks % group - 2;
  }
  if (slots > slots_max) {
    slots = slots_max;
    pages = (slots + slots_per_table_page - 1) / slots_per_table_page;
  }
  layout.table_bytes = pages * 2 * page;
  layout.data_offset = round_up(layout.table_offset + layout.table_bytes, region_alignment);
  layout.data_bytes = slots * page;
  return layout;
}

Status check_layout(const Layout& layout) {
  const auto broken = [](const char* rule) {
    return Error(Code::damaged, std::string("the superblock's layout is impossible: ") + rule);
  };
  constexpr uint64_t bytes_max = uint64_t{1} << 60;
  for (const uint64_t value : {layout.device_bytes, layout.log_offset, layout.log_bytes,
                               layout.table_offset, layout.table_bytes, layout.data_offset,
                               layout.data_bytes, layout.index_offset, layout.index_bytes}) {
    if (value % page != 0) return broken("a region is not aligned to 4096");
    if (value > bytes_max) return broken("a region is beyond any device");
  }
  if (layout.log_offset < superblock_bytes) return broken("the log covers the first superblock");
  if (log_page_count(layout) < log_pages_min) return broken("the log is too small");
  if (layout.table_offset < layout.log_offset + layout.log_bytes)
    return broken("the tables overlap the log");
  if (layout.data_offset < layout.table_offset + layout.table_bytes)
    return broken("the data overlap the tables");
  if (layout.device_bytes < layout.data_offset + layout.data_bytes + superblock_bytes)
    return broken("the data go beyond the device");
  if (layout.index_bytes != 0) {
    if (layout.index_bytes % (2 * uint64_t{index_chunk_bytes}) != 0)
      return broken("the saved index is not two homes of whole chunks");
    if (layout.index_offset < layout.data_offset + layout.data_bytes)
      return broken("the saved index overlaps the data");
    if (layout.device_bytes < layout.index_offset + layout.index_bytes + superblock_bytes)
      return broken("the saved index goes beyond the device");
  }
  if (slot_count(layout) == 0 || slot_count(layout) > slots_max)
    return broken("the number of slots is out of range");
  if (layout.table_bytes % (2 * page) != 0 ||
      table_page_count(layout) !=
          (slot_count(layout) + slots_per_table_page - 1) / slots_per_table_page)
    return broken("the tables do not fit the number of slots");
  return {};
}

}  // namespace sp::disk
