// Windows and batches of agreement. As base/limits.h says, unless the simulator makes them small to
// see what happens at their bounds: never larger. Plain values.
#pragma once
#include "base/limits.h"

namespace sp::raft {

struct Bounds {
  uint32_t append_bytes_max = limits::raft_append_bytes_max;
  uint32_t append_entries_max = limits::raft_append_entries_max;
  uint32_t appends_in_flight_max = limits::raft_appends_in_flight_max;
  uint32_t uncommitted_entries_max = limits::raft_uncommitted_entries_max;
  uint32_t apply_ahead_max = limits::raft_apply_ahead_max;
  uint32_t snapshot_chunk_bytes = limits::raft_snapshot_chunk_bytes;
};

}  // namespace sp::raft
