// sp-sim: runs whole simulated clusters under faults, one per seed, and checks the promises of
// sp-guarantees(7).
//
//   sp-sim [--seeds N] [--first-seed S] [--nodes N] [--time DURATION] [--jobs N]
//          [--until-failure] [--shrink] [--drawn] [--set NAME=VALUE]... [--without-faults NUMBERS]
//          [--watch VOLUME:BLOCK] [--list-knobs] [--probes] [--require-probes] [--plant NAME]
//          [--list-planted] [--verbose]
//
// Exit codes: 0 every run kept the promises; 1 some did not; 2 wrong usage.
#include <malloc.h>

#include <chrono>
#include <cstdio>

#include "base/planted.h"
#include "cli/exit_code.h"
#include "cli/options.h"
#include "sim/report.h"

using namespace sp;

namespace {

Status choose_bug(const std::string& name) {
  if (name.empty()) return {};
  const auto bug = planted_bug_of(name);
  if (!bug) return Error(Code::invalid, "--plant: no bug '" + name + "'; see --list-planted");
#ifdef SP_PLANTED
  planted_bug = *bug;
  return {};
#else
  return Error(Code::invalid,
               "--plant: this program was built without planted bugs; use one of a build with "
               "-DSP_PLANTED=ON (make planted)");
#endif
}

}  // namespace

int main(int argc, char** argv) {
  // A run frees and takes memory all the time: given back to the kernel, it would come as new
  // pages.
  mallopt(M_MMAP_THRESHOLD, 1 << 30);
  mallopt(M_TRIM_THRESHOLD, 1 << 30);
  cli::Options options("sp-sim", "Simulate clusters under faults and check what they promise.");
  std::optional<uint64_t> seeds, first_seed, nodes, jobs;
  std::chrono::milliseconds time = std::chrono::seconds(15);
  std::string plant, without, watch;
  std::vector<std::string> set;
  bool verbose = false, list_planted = false, list_knobs = false, probes = false, shrink = false,
       drawn = false;
  sim::BatchOptions batch;
  options.number("--seeds", 1, UINT32_MAX, seeds, "Runs to make, one per seed (100).")
      .number("--first-seed", 0, UINT64_MAX / 2, first_seed,
              "Seed of the first run; the others follow (1).")
      .number("--nodes", 1, 63, nodes,
              "Storage nodes of each cluster (3 to 7, drawn from the seed).")
      .duration("--time", time, "Simulated time during which faults happen (15s).")
      .number("--jobs", 1, 256, jobs, "Runs at a time, each in a process of its own (1).")
      .flag("--until-failure", batch.until_failure,
            "Stop at the first seed that fails; say how many were needed and what found it.")
      .flag("--drawn", drawn,
            "Print what each run drew and how to make it again, not only failed ones.")
      .flag("--probes", probes, "Print how often each mark on a rare path was passed.")
      .flag("--require-probes", batch.require_probes,
            "Fail when a mark on a rare path was never passed.")
      .text("--plant", "NAME", plant, "Run with this planted bug (-DSP_PLANTED=ON builds).")
      .flag("--list-planted", list_planted, "List the planted bugs and end.")
      .flag("-v,--verbose", verbose, "Print the log lines of all services with their virtual time.")
      .flag("--shrink", shrink, "Make the first failing run as small as it still fails.")
      .list("--set", "NAME=VALUE", set, "Pin a knob that is drawn otherwise; see --list-knobs.")
      .text("--without-faults", "NUMBERS", without, "Leave out these faults, like 3,7-9.")
      .text("--watch", "VOLUME:BLOCK", watch,
            "Print what happened last to this block, such as 2:17.")
      .flag("--list-knobs", list_knobs, "List the knobs with what they mean, and end.")
      .check([&] { return choose_bug(plant); })
      .check([&] { return sim::choose(batch.run, set, without, watch); });
  if (auto code = options.parse(argc, argv)) return *code;
  if (list_planted) {
    sim::print_planted();
    return cli::exit_done;
  }
  if (list_knobs) {
    sim::print_knobs();
    return cli::exit_done;
  }
  batch.run.seed = first_seed.value_or(1);
  batch.seeds = seeds.value_or(100);
  batch.jobs = static_cast<uint32_t>(jobs.value_or(1));
  if (nodes) batch.run.pins[sim::Knob::nodes] = static_cast<int64_t>(*nodes);
  batch.run.faults_for = time;
  if (verbose)
    batch.run.line_sink = [](std::string_view line) {
      std::printf("%.*s\n", static_cast<int>(line.size()), line.data());
    };
  batch.ended = [&](uint64_t seed, const sim::ClusterRunResult& result) {
    sim::print_run(batch.run, seed, result, drawn || batch.seeds == 1);
  };
  const auto begin = std::chrono::steady_clock::now();
  const sim::BatchTotals totals = sim::run_batch(batch);
  const std::chrono::duration<double> real = std::chrono::steady_clock::now() - begin;
  if (shrink && totals.failures > 0)
    sim::print_shrunk(batch.run, totals.first_failure, totals.first_checker);
  return sim::print_totals(batch, totals, real.count(), probes) ? cli::exit_done : cli::exit_failed;
}
