#include "sim/shrink.h"

#include <algorithm>
#include <vector>

#include "sim/batch.h"
#include "sim/timeline.h"

namespace sp::sim {

namespace {

using std::chrono::milliseconds;

class Shrinker {
 public:
  Shrinker(RunOptions run, std::string checker, uint32_t tries_max,
           const std::function<void(uint32_t)>& tried)
      : checker_(std::move(checker)), tries_max_(tries_max), tried_(tried) {
    best_.run = std::move(run);
    best_.run.line_sink = nullptr;
  }

  Shrunk execute() {
    time();
    faults();
    knobs();
    faults();
    best_.run.details = true;
    best_.result = run_apart(best_.run);
    best_.run.watch = block_of(best_.result.failure);
    if (best_.run.watch) {
      best_.run.details = false;
      best_.result = run_apart(best_.run);
    }
    best_.tries = tries_;
    return best_;
  }

 private:
  bool fails(const RunOptions& run) {
    if (tries_ >= tries_max_) return false;
    const ClusterRunResult result = run_apart(run);
    tried_(++tries_);
    if (result.failure.empty() || checker_of(result.failure) != checker_) return false;
    best_.run = run;
    best_.result = result;
    return true;
  }

  void time() {
    for (;;) {
      RunOptions run = best_.run;
      run.faults_for = std::chrono::duration_cast<milliseconds>(run.faults_for) * 3 / 4;
      if (run.faults_for < milliseconds(100) || !fails(run)) return;
    }
  }

  // Leaves out runs of faults, long ones first.
  void faults() {
    std::vector<uint32_t> left;
    for (const Fault& fault :
         plan_faults(best_.run.seed, Knobs(best_.run.seed, best_.run.pins), best_.run.faults_for)) {
      if (!best_.run.without.contains(fault.index)) left.push_back(fault.index);
    }
    for (size_t length = (left.size() + 1) / 2; length > 0; length /= 2) {
      for (size_t from = 0; from < left.size();) {
        const size_t count = std::min(length, left.size() - from);
        RunOptions run = best_.run;
        const auto begin = left.begin() + static_cast<std::ptrdiff_t>(from);
        run.without.insert(begin, begin + static_cast<std::ptrdiff_t>(count));
        if (fails(run))
          left.erase(begin, begin + static_cast<std::ptrdiff_t>(count));
        else
          from += count;
      }
    }
  }

  // Each knob at its simplest. Weights and intervals of faults stay: the plan is made of them.
  void knobs() {
    const auto rows = knob_rows();
    for (size_t i = 0; i < static_cast<size_t>(Knob::interval_ms); ++i) {
      const Knob knob = static_cast<Knob>(i);
      if (Knobs(best_.run.seed, best_.run.pins)[knob] == rows[i].simplest) continue;
      RunOptions run = best_.run;
      run.pins[knob] = rows[i].simplest;
      fails(run);
    }
  }

  const std::string checker_;
  const uint32_t tries_max_;
  const std::function<void(uint32_t)>& tried_;
  Shrunk best_;
  uint32_t tries_ = 0;
};

}  // namespace

Shrunk shrink(const RunOptions& run, const std::string& checker, uint32_t tries_max,
              const std::function<void(uint32_t tries)>& tried) {
  return Shrinker(run, checker, tries_max, tried).execute();
}

}  // namespace sp::sim
