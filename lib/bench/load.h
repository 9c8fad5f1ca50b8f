// Load: reads and writes of one size on a BlockDevice, a fixed number in flight, as `sp-bench` and
// the benchmarks drive it; counted, with their latencies, once the ramp is over.
//
// A *job* is a stream of its own with `depth` operations in flight; sequential jobs share the range
// evenly among them. Content written is a function of its place, so that what is read can be
// checked: each block begins with a stamp of its number, or was never written and is zero. Thread
// rule: the host's reactor; callbacks run in a turn of it.
#pragma once
#include <cstdint>
#include <memory>
#include <string>

#include "base/callback.h"
#include "base/result.h"
#include "bench/histogram.h"
#include "client/block_device.h"
#include "io/host.h"

namespace sp::bench {

struct LoadOptions {
  bool sequential = false;
  uint64_t block_bytes = 4096;   // a multiple of 4096
  uint32_t depth = 32;           // operations in flight, of each job
  uint32_t jobs = 1;             //
  uint32_t reads_percent = 0;    // the rest are writes
  uint64_t from = 0, bytes = 0;  // the part of the device to work on; 0: up to its end
  uint64_t operations_max = 0;   // of the whole load, ramp included; 0: no limit
  io::Duration ramp{};           // not counted
  io::Duration time = std::chrono::seconds(10);
  bool verify = true;  // compare stamps of what is read
};

struct LoadCounts {
  uint64_t operations = 0, bytes = 0;
  Histogram latency;
};

struct LoadResult {
  LoadCounts reads, writes;
  uint64_t errors = 0;      // operations that failed, or were not what was written there
  std::string first_error;  // empty: none
  double seconds = 0;       // of counting, up to the last completion
  uint64_t operations() const { return reads.operations + writes.operations; }
  uint64_t bytes() const { return reads.bytes + writes.bytes; }
};

class Load {
 public:
  struct Events {
    Callback<void()> counting;           // the ramp is over
    Callback<void(LoadResult)> counted;  // counting is over; what is in flight is waited for
    Callback<void()> done;               // nothing is in flight any more
  };
  // Code::invalid: says which option does not fit the device.
  static Result<std::unique_ptr<Load>> start(io::Host& host, client::BlockDevice& device,
                                             const LoadOptions& options, Events events);
  virtual ~Load() = default;  // nothing may be in flight
  virtual void stop() = 0;    // counting ends now
  // What was counted up to now.
  virtual const LoadResult& now() const = 0;
};

}  // namespace sp::bench
