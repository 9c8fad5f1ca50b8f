#include "sim/report.h"

#include <cstdio>

#include "base/planted.h"
#include "sim/shrink.h"
#include "sim/timeline.h"

namespace sp::sim {

namespace {

using Count = unsigned long long;

void print_probes(const BatchTotals& totals) {
  for (size_t i = 0; i < probes_known(); ++i) {
    const ProbeText text = probe_text(i);
    std::printf("probe %12llu  %-44s %s\n", static_cast<Count>(totals.hits.probes[i]),
                std::string(text.name).c_str(), std::string(text.what).c_str());
  }
  for (size_t i = 0; i < io::buggify_points(); ++i) {
    const io::BuggifyPoint& point = io::buggify_point(i);
    std::printf("point %12llu  %-44s %s\n", static_cast<Count>(totals.hits.points[i]),
                std::string(point.name).c_str(), std::string(point.what).c_str());
  }
}

}  // namespace

std::string replay_line(const RunOptions& run) {
  std::string line = "sp-sim --seeds 1 --first-seed " + std::to_string(run.seed);
  line += pins_text(run.pins);
  if (!run.without.empty()) line += " --without-faults " + fault_numbers_text(run.without);
  const auto time = std::chrono::duration_cast<std::chrono::milliseconds>(run.faults_for);
  line += " --time " + std::to_string(time.count()) + "ms";
#ifdef SP_PLANTED
  for (const PlantedBugRow& row : planted_bugs())
    if (row.name == planted_bug) line += " --plant " + std::string(row.name);
#endif
  if (run.watch)
    line +=
        " --watch " + std::to_string(run.watch->volume) + ":" + std::to_string(run.watch->block);
  return line + (run.watch ? "" : " --verbose");
}

Status choose(RunOptions& run, const std::vector<std::string>& pins, const std::string& without,
              const std::string& watch) {
  for (const std::string& text : pins) {
    SP_TRY(const auto pin, parse_pin(text));
    run.pins[pin.first] = pin.second;
  }
  SP_TRY(run.without, parse_fault_numbers(without));
  if (!watch.empty()) {
    SP_TRY(run.watch, parse_block(watch));
  }
  return {};
}

void print_knobs() {
  for (const KnobRow& row : knob_rows())
    std::printf("%-18s %lld..%lld  %s\n", std::string(row.name).c_str(),
                static_cast<long long>(row.least), static_cast<long long>(row.most),
                std::string(row.what).c_str());
}

void print_planted() {
  for (const PlantedBugRow& row : planted_bugs())
    std::printf("%-44s %s\n", std::string(row.name).c_str(), std::string(row.what).c_str());
}

void print_run(const RunOptions& batch_run, uint64_t seed, const ClusterRunResult& result,
               bool drawn) {
  RunOptions run = batch_run;
  run.seed = seed;
  if (result.failure.empty())
    std::printf("seed %llu: kept all promises%s, %llu operations, %.0f s, trace %016llx\n%s",
                static_cast<Count>(seed),
                result.cut_short ? " until a block had no valid copy any more" : "",
                static_cast<Count>(result.operations), result.simulated_seconds,
                static_cast<Count>(result.trace_hash), result.details.c_str());
  else
    std::printf("seed %llu: %s\n%s", static_cast<Count>(seed), result.failure.c_str(),
                result.details.c_str());
  if (drawn || !result.failure.empty())
    std::printf("  drawn: %s, faults %u\n  replay: %s\n", Knobs(seed, run.pins).text().c_str(),
                result.faults, replay_line(run).c_str());
  if (!result.failure.empty()) std::fflush(stdout);
}

void print_shrunk(const RunOptions& batch_run, uint64_t seed, const std::string& checker) {
  RunOptions run = batch_run;
  run.seed = seed;
  constexpr uint32_t tries_max = 300;
  std::fprintf(stderr, "making it small ...\n");
  const Shrunk small = shrink(run, checker, tries_max, [](uint32_t) {});
  std::printf("smallest of %u tries: %s\n%s  drawn: %s, faults %u\n  replay: %s\n", small.tries,
              small.result.failure.c_str(), small.result.details.c_str(),
              Knobs(seed, small.run.pins).text().c_str(), small.result.faults,
              replay_line(small.run).c_str());
}

bool print_totals(const BatchOptions& options, const BatchTotals& totals, double real_seconds,
                  bool probes) {
  bool well = totals.failures == 0;
  if (probes) print_probes(totals);
  if (options.require_probes) {
    for (const std::string& name : totals.unhit()) {
      std::printf("probe %s was never passed\n", name.c_str());
      well = false;
    }
  }
  if (totals.cut_short > 0)
    std::printf("%llu of the runs ended early: a block had no valid copy any more\n",
                static_cast<Count>(totals.cut_short));
  std::printf(
      "%llu seeds, %llu failed, %llu operations, %.0f s simulated in %.1f s: %.0f times real time, "
      "%.0f events/s\n",
      static_cast<Count>(totals.runs), static_cast<Count>(totals.failures),
      static_cast<Count>(totals.operations), totals.simulated_seconds, real_seconds,
      totals.simulated_seconds / real_seconds, static_cast<double>(totals.events) / real_seconds);
  if (totals.failures > 0)
    std::printf("found by %s after %llu seeds in %.1f s\n", totals.first_checker.c_str(),
                static_cast<Count>(totals.first_failure - options.run.seed + 1), real_seconds);
  return well;
}

}  // namespace sp::sim
