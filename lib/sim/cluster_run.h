// A run: a cluster drawn from the seed, work and faults for a while, then healing, and every check.
// The same seed and options give the same run.
#pragma once
#include <array>
#include <cstdint>
#include <functional>
#include <string>
#include <string_view>

#include "io/clock.h"
#include "io/sim_core.h"
#include "sim/fault_plan.h"
#include "sim/knobs.h"
#include "sim/linearizability.h"

namespace sp::sim {

struct RunOptions {
  uint64_t seed = 1;
  Pins pins;                                             // all other knobs are drawn
  FaultNumbers without;                                  // faults of the plan that are left out
  std::optional<BlockKey> watch;                         // a timeline of it is made
  bool details = false;                                  // say what happened last before a failure
  io::Duration faults_for = std::chrono::seconds(15);    // simulated
  std::function<void(std::string_view line)> line_sink;  // of the services' logs
};

struct ClusterRunResult {
  std::string failure;  // empty when all is well; begins with the name of the checker and a colon
  std::string details;  // of a failure: what happened last; with `watch`: to the block
  uint32_t faults = 0;  // in the plan
  bool cut_short = false;  // a block had lost its last valid copy while it was away: more is lost
                           // than may be, which was reported as it has to be
  uint64_t operations = 0;
  uint64_t events = 0;
  std::array<uint64_t, io::sim_event_kinds> events_by_kind{};
  uint64_t trace_hash = 0;
  double simulated_seconds = 0;
};

ClusterRunResult run_cluster(const RunOptions& options);

}  // namespace sp::sim
