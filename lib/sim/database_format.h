// What the simulated database keeps where, the bytes of its log, and how both are recovered. Plain
// values.
//
// The log is a sequence of bytes, cut into blocks that are numbered from the volume's beginning on
// and lie in a ring. A position counts its bytes. Each run (a recovery and the work behind it)
// begins a block anew, and its blocks carry its number: what an earlier run left is no log.
#pragma once
#include <cstring>
#include <string>
#include <vector>

#include "sim/sealed_blocks.h"

namespace sp::sim::database {

constexpr uint32_t log_blocks = 72;
constexpr uint32_t page_count = 10;
constexpr uint32_t page_blocks_max = 4;
constexpr uint32_t rows_per_block = 480;
constexpr uint32_t changes_max = 6;  // rows of a transaction

struct Layout {
  Layout(uint64_t size_blocks, VolumeId volume);
  static constexpr uint64_t control = 0, log = 1;
  uint32_t page_blocks;  // 2 to 4
  uint64_t pages[page_count];
  uint32_t rows() const { return page_blocks * rows_per_block; }  // of a page
  static uint64_t log_block(uint64_t number) { return log + number % log_blocks; }
};

struct Control {
  uint64_t magic = 0;
  uint64_t run = 0;
  uint64_t redo = 0;         // position from which the log is applied
  uint64_t transaction = 0;  // the newest one before it
};

struct LogHead {
  uint64_t magic = 0;
  uint64_t run = 0;
  uint64_t number = 0;
  uint32_t used = 0;  // bytes behind this
  uint32_t unused = 0;
};
constexpr uint32_t log_bytes = SealedBlocks::payload_bytes - sizeof(LogHead);

struct PageHead {  // in each block of a page
  uint64_t magic = 0;
  uint64_t position = 0;  // end of the newest record in it
  uint32_t page = 0, block = 0;
};
static_assert(sizeof(PageHead) + rows_per_block * 8 <= SealedBlocks::payload_bytes);

enum class RecordKind : uint32_t { image = 1, change, commit };
struct Record {  // an image is followed by all rows of the page
  RecordKind kind = RecordKind::commit;
  uint32_t page = 0;
  uint32_t row = 0;
  uint32_t unused = 0;
  uint64_t value = 0;
  uint64_t transaction = 0;
};

constexpr uint64_t control_magic = 0xdbc0, log_magic = 0xdb10, page_magic = 0xdba9;

struct Page {
  std::vector<uint64_t> rows;
  uint64_t position = 0;
  bool torn = false;
  bool changed = false;  // by recovery
};

// What is found. `wrong` with the block that shows it.
struct Recovered {
  uint64_t newest = 0;  // transaction
  uint64_t end = 0;     // position
  std::vector<Page> pages;
  std::string wrong;
  uint64_t block = 0;
};
Recovered recover(const Layout& layout, const Control& control, const SealedRead& log,
                  const std::vector<SealedRead>& pages);

Buffer page_content(const Layout& layout, uint32_t page, const Page& content);

}  // namespace sp::sim::database
