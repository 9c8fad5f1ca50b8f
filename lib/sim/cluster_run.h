// A run: a cluster drawn from the seed, work and faults for a while, then healing, and every check.
// The same seed and options give the same run.
#pragma once
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>

#include "io/clock.h"

namespace sp::sim {

struct RunOptions {
  uint64_t seed = 1;
  std::optional<uint32_t> storage_nodes;                 // drawn when not given
  io::Duration faults_for = std::chrono::seconds(15);    // simulated
  std::function<void(std::string_view line)> line_sink;  // of the services' logs
};

struct ClusterRunResult {
  std::string failure;  // empty when all is well
  uint64_t operations = 0;
  uint64_t events = 0;
  uint64_t trace_hash = 0;
  double simulated_seconds = 0;
};

ClusterRunResult run_cluster(const RunOptions& options);

// Runs so many seeds from options.seed on, one of twenty twice to see that it repeats itself.
// `failed` is told of each that fails.
struct RunTotals {
  uint64_t runs = 0, failures = 0, operations = 0, events = 0;
  double simulated_seconds = 0;
};
RunTotals run_clusters(RunOptions options, uint64_t seeds,
                       const std::function<void(uint64_t seed, const std::string& why)>& failed);

}  // namespace sp::sim
