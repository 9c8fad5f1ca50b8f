// Whole clusters under drawn faults. More seeds, or one again: sp-sim(1).
#include <doctest/doctest.h>

#include <string>

#include "sim/batch.h"

namespace sp::sim {
namespace {

TEST_CASE(
    "whatever fails, acknowledged writes stay, one server leads a set, states agree, and "
    "everything heals") {
  BatchOptions options;
  options.seeds = 30;
  std::string failures;
  options.ended = [&](uint64_t seed, const ClusterRunResult& result) {
    if (result.failure.empty()) return;
    failures += "seed " + std::to_string(seed) + ": " + result.failure +
                "\n  replay: sp-sim --seeds 1 --verbose --first-seed " + std::to_string(seed) +
                "\n";
  };
  const BatchTotals totals = run_batch(options);
  CHECK_EQ(failures, "");
  CHECK_EQ(totals.runs, 30);
  CHECK_GT(totals.operations, 1000);
}

}  // namespace
}  // namespace sp::sim
