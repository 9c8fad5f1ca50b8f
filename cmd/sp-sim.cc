// sp-sim: runs whole simulated clusters under faults, one per seed, and checks the promises of
// sp-guarantees(7).
//
//   sp-sim [--seeds N] [--first-seed S] [--nodes N] [--time DURATION] [--verbose]
//
// Exit codes: 0 every run kept the promises; 1 some did not; 2 wrong usage.
#include <chrono>
#include <cstdio>

#include "base/units.h"
#include "cli/exit_code.h"
#include "cli/options.h"
#include "sim/cluster_run.h"

using namespace sp;

namespace {

std::string replay_line(const sim::RunOptions& run, uint64_t seed, std::chrono::milliseconds time) {
  std::string line = "sp-sim --seeds 1 --first-seed " + std::to_string(seed);
  if (run.storage_nodes) line += " --nodes " + std::to_string(*run.storage_nodes);
  return line + " --time " + std::to_string(time.count()) + "ms --verbose";
}

}  // namespace

int main(int argc, char** argv) {
  cli::Options options("sp-sim", "Simulate clusters under faults and check what they promise.");
  std::optional<uint64_t> seeds, first_seed, nodes;
  std::chrono::milliseconds time = std::chrono::seconds(15);
  bool verbose = false;
  options.number("--seeds", 1, UINT32_MAX, seeds, "Runs to make, one per seed (100).")
      .number("--first-seed", 0, UINT64_MAX / 2, first_seed,
              "Seed of the first run; the others follow (1).")
      .number("--nodes", 3, 16, nodes,
              "Storage nodes of each cluster (3 to 5, drawn from the seed).")
      .duration("--time", time, "Simulated time during which faults happen (15s).")
      .flag("-v,--verbose", verbose,
            "Print the log lines of all services with their virtual time.");
  if (auto code = options.parse(argc, argv)) return *code;

  sim::RunOptions run;
  run.seed = first_seed.value_or(1);
  if (nodes) run.storage_nodes = static_cast<uint32_t>(*nodes);
  run.faults_for = time;
  if (verbose)
    run.line_sink = [](std::string_view line) {
      std::printf("%.*s\n", static_cast<int>(line.size()), line.data());
    };

  const auto begin = std::chrono::steady_clock::now();
  const sim::RunTotals totals =
      sim::run_clusters(run, seeds.value_or(100), [&](uint64_t seed, const std::string& why) {
        std::printf("seed %llu: %s\n  replay: %s\n", static_cast<unsigned long long>(seed),
                    why.c_str(), replay_line(run, seed, time).c_str());
        std::fflush(stdout);
      });
  const double real =
      std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
  std::printf(
      "%llu seeds, %llu failed, %llu operations, %.0f s simulated in %.1f s: %.0f times real time, "
      "%.0f events/s\n",
      static_cast<unsigned long long>(totals.runs),
      static_cast<unsigned long long>(totals.failures),
      static_cast<unsigned long long>(totals.operations), totals.simulated_seconds, real,
      totals.simulated_seconds / real, static_cast<double>(totals.events) / real);
  return totals.failures == 0 ? cli::exit_done : cli::exit_failed;
}
