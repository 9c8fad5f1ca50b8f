// Whole clusters under drawn faults. More seeds, or one again: sp-sim(1).
#include <doctest/doctest.h>

#include <string>

#include "sim/cluster_run.h"

namespace sp::sim {
namespace {

TEST_CASE(
    "whatever fails, acknowledged writes stay, one server leads a set, states agree, and "
    "everything heals") {
  RunOptions options;
  options.seed = 1;
  std::string failures;
  const RunTotals totals = run_clusters(options, 30, [&](uint64_t seed, const std::string& why) {
    failures += "seed " + std::to_string(seed) + ": " + why +
                "\n  replay: sp-sim --seeds 1 --verbose --first-seed " + std::to_string(seed) +
                "\n";
  });
  CHECK_EQ(failures, "");
  CHECK_EQ(totals.runs, 30);
  CHECK_GT(totals.operations, 1000);
}

}  // namespace
}  // namespace sp::sim
