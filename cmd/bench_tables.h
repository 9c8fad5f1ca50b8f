// What sp-bench prints of one run.
#pragma once
#include <string>
#include <vector>

#include "bench/session.h"
#include "bench_processes.h"
#include "cli/output.h"

namespace sp::bench {

struct Measured : SessionResult {
  std::vector<Process> processes;
  std::vector<Usage> usage_before, usage_after;  // of each of them
};

std::string server_name(ServiceId id);
// To stdout: load, processes, disks.
void print(const Measured& measured, const cli::OutputOptions& output);

}  // namespace sp::bench
