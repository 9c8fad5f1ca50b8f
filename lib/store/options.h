// How a Store is opened, and what it says of its size. Plain values.
#pragma once
#include <cstdint>

#include "base/limits.h"
#include "base/versions.h"
#include "io/clock.h"
#include "store/bounds.h"

namespace sp::store {

struct Space {
  uint64_t blocks_total = 0, blocks_used = 0;
  uint64_t objects_total = 0, objects_used = 0;
  uint64_t log_bytes = 0, tombstone_bytes = 0;  // of the log, and what discards take of it
};

struct Stats {
  uint64_t blocks_total = 0;  // data slots for users and reserve together
  uint64_t blocks_used = 0;
  uint64_t blocks_free = 0;  // at rest: all that are not used
  uint64_t objects_total = 0;
  uint64_t objects_used = 0;
  uint64_t log_pages_total = 0;
  uint64_t memory_bytes = 0;          // what index and caches take
  uint64_t table_bytes = 0;           // of it: slot table entries, see Options::table_bytes_max
  uint64_t device_bytes_written = 0;  // data and metadata, since open: for amplification
  uint64_t calls_open = 0;            // reads and changes that have not completed
};

struct Options {
  bool verify_only =
      false;  // open read-only: nothing is written, not even recovery (sp-disk-check)
  bool ignore_saved_index = false;  // open as if there were none: by the whole table and log
  // As store/bounds.h and base/limits.h say, unless the simulator makes them small; never larger.
  uint32_t operations_kept_max = limits::set_undecided_max;  // of one set
  uint32_t round_pages_max = store::round_pages_max;         // at least 16, or what the log allows
  uint32_t round_blocks_max = store::round_blocks_max;
  uint32_t home_batch_pages = store::home_batch_pages;
  uint32_t index_turn_objects = store::index_turn_objects;
  io::Duration lazy_delay = store::lazy_delay;
  uint16_t disk_minor_newest = Versions().disk_minor_newest;
  // Of slot table entries in memory; as large as the administrator says (sp.toml, table_memory).
  uint64_t table_bytes_max = store::table_bytes_max;
};

}  // namespace sp::store
