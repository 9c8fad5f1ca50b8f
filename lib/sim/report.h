// What sp-sim prints. Lines for people whose first words scripts may rely on: "seed", "replay:",
// "found by".
#pragma once
#include "sim/batch.h"

namespace sp::sim {

// The command that makes this run again.
std::string replay_line(const RunOptions& run);

// Takes "NAME=VALUE" pins, "3,7-9" faults and a block like "2:17" over into `run`.
Status choose(RunOptions& run, const std::vector<std::string>& pins, const std::string& without,
              const std::string& watch);

void print_planted();
void print_knobs();
// One that went well in a line; `drawn`: with everything that it drew, and how to make it again.
void print_run(const RunOptions& batch_run, uint64_t seed, const ClusterRunResult& result,
               bool drawn);
// Makes the failing run of this seed small (shrink.h) and prints what is left of it.
void print_shrunk(const RunOptions& batch_run, uint64_t seed, const std::string& checker);
// True when all is well. `probes`: with the table of their hits.
bool print_totals(const BatchOptions& options, const BatchTotals& totals, double real_seconds,
                  bool probes);

}  // namespace sp::sim
