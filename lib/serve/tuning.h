// Windows, batches and pauses of a server. As base/limits.h says, unless the simulator makes them
// small to see what happens at their bounds. Plain values.
#pragma once
#include "base/limits.h"
#include "io/clock.h"

namespace sp::serve {

struct Tuning {
  uint32_t undecided_max = limits::set_undecided_max;  // writes of one set; never more
  uint32_t waiting_max = limits::set_undecided_max;    // requests that wait for one set
  uint32_t operations_per_attachment_max = limits::operations_per_attachment_max;
  uint32_t recoveries = limits::recoveries_in_flight;
  uint32_t recovery_objects = limits::recovery_objects_in_flight;
  uint32_t recovery_blocks = limits::io_blocks_max;  // of one message; never more
  uint32_t recovery_batch_objects = 65536;           // looked up at a time
  uint32_t repair_attempts = limits::repair_attempts_max;
  uint32_t layer_views_max = limits::layer_views_per_set_max;
  uint32_t holes_max = limits::holes_per_set_max;
  uint32_t in_service_max = limits::requests_in_service_max;  // of a disk, see Admission
  io::Duration request_parked_max = limits::request_parked_max;
};

}  // namespace sp::serve
