// A batch: many runs, one per seed, in processes of their own (sim/child_linux.h), so that a failed
// assertion of the services is found like everything else. One of twenty is made twice, to see that
// it repeats itself. Counts the probes that were passed (base/probe.h).
#pragma once
#include <array>
#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "base/probe.h"
#include "io/buggify.h"
#include "sim/cluster_run.h"

namespace sp::sim {

struct BatchOptions {
  RunOptions run;  // of the first seed; the others follow
  uint64_t seeds = 100;
  uint32_t jobs = 1;           // runs at a time
  bool until_failure = false;  // stops at the first seed that fails
  bool require_probes = false;
  std::function<void(uint64_t seed, const ClusterRunResult& result)> ended;  // in order of seeds
};

// How often runs passed each probe, and each point of buggify fired.
struct Hits {
  std::array<uint64_t, probe_max> probes{};
  std::array<uint64_t, io::buggify_max> points{};
};

struct BatchTotals {
  uint64_t runs = 0, failures = 0, cut_short = 0, operations = 0, events = 0;
  double simulated_seconds = 0;
  Hits hits;
  uint64_t first_failure = 0;              // its seed
  std::string first_checker;               // that found it
  std::vector<std::string> unhit() const;  // probes that such a batch has to pass
};

BatchTotals run_batch(const BatchOptions& options);

// One run in a process of its own. `hits`, when given, gets the probes that it passed added.
ClusterRunResult run_apart(const RunOptions& options, Hits* hits = nullptr);

// The short name that leads a failure: "linearizability", "lease", "assertion", ...
std::string checker_of(const std::string& failure);

}  // namespace sp::sim
