// Shrink: makes a failing run small: fewer nodes, clients and operations, a shorter time, fewer
// faults, for as long as the same checker still fails.
#pragma once
#include <cstdint>
#include <functional>
#include <string>

#include "sim/cluster_run.h"

namespace sp::sim {

struct Shrunk {
  RunOptions run;
  ClusterRunResult result;  // of the smallest run that still fails, with its last events
  uint32_t tries = 0;
};

// `run` must fail by `checker` (batch.h). At most `tries_max` runs are made, each in a process of
// its own; `tried` is told after each.
Shrunk shrink(const RunOptions& run, const std::string& checker, uint32_t tries_max,
              const std::function<void(uint32_t tries)>& tried);

}  // namespace sp::sim
