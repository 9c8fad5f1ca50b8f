// One run: a cluster drawn from the seed, faults for a while, then healing, and every check.
#pragma once
#include <cstdint>
#include <string>

namespace sp::sim {

struct RunResult {
  std::string failure;  // empty when all is well
  uint64_t operations = 0;
  uint64_t trace_hash = 0;
  double simulated_seconds = 0;
};

RunResult run(uint64_t seed, bool verbose);

}  // namespace sp::sim
