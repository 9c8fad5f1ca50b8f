#include "sim/batch.h"

#include <algorithm>
#include <cstring>
#include <map>

#include "io/buggify.h"
#include "sim/child_linux.h"

namespace sp::sim {

namespace {

constexpr uint64_t repeated_one_of = 20;
// Runs of one process after the other. Each process pays anew for the memory of its first run.
constexpr uint64_t runs_of_child_max = 20;

// What a run hands back from its process: numbers, then the hits of all probes and points, then the
// texts.
struct Numbers {
  uint64_t operations, events, trace_hash;
  double simulated_seconds;
  uint64_t failure_bytes, faults, cut_short;
};

std::string pack(const ClusterRunResult& result) {
  const Numbers numbers{result.operations,         result.events,         result.trace_hash,
                        result.simulated_seconds,  result.failure.size(), result.faults,
                        result.cut_short ? 1u : 0u};
  std::string bytes(reinterpret_cast<const char*>(&numbers), sizeof numbers);
  const auto add = [&bytes](const auto& all) {
    for (const auto& hits : all) {
      const uint64_t count = hits.load();
      bytes.append(reinterpret_cast<const char*>(&count), sizeof count);
    }
  };
  add(probe_hits);
  add(io::buggify_hits);
  return bytes + result.failure + result.details;
}

ClusterRunResult unpack(const ChildOutcome& outcome, Hits& hits) {
  ClusterRunResult result;
  Numbers numbers{};
  const size_t head = sizeof numbers + (probe_max + io::buggify_max) * sizeof(uint64_t);
  if (outcome.result.size() >= head) {
    std::memcpy(&numbers, outcome.result.data(), sizeof numbers);
    result.operations = numbers.operations;
    result.events = numbers.events;
    result.trace_hash = numbers.trace_hash;
    result.simulated_seconds = numbers.simulated_seconds;
    result.faults = static_cast<uint32_t>(numbers.faults);
    result.cut_short = numbers.cut_short != 0;
    const char* at = outcome.result.data() + sizeof numbers;
    const auto add = [&at](auto& all) {
      for (uint64_t& sum : all) {
        uint64_t count = 0;
        std::memcpy(&count, at, sizeof count);
        sum += count;
        at += sizeof count;
      }
    };
    add(hits.probes);
    add(hits.points);
    result.failure = outcome.result.substr(head, numbers.failure_bytes);
    result.details = outcome.result.substr(head + numbers.failure_bytes);
  }
  if (!outcome.died.empty() && result.failure.empty()) result.failure = outcome.died;
  if (outcome.result.size() < head && result.failure.empty())
    result.failure = "assertion: the run ended without a result";
  return result;
}

std::string work_of(const RunOptions& options, bool twice, bool& failed) {
  for (auto& hits : probe_hits) hits = 0;
  for (auto& hits : io::buggify_hits) hits = 0;
  ClusterRunResult result = run_cluster(options);
  if (twice && result.failure.empty()) {
    const ClusterRunResult again = run_cluster(options);
    if (again.trace_hash != result.trace_hash || again.operations != result.operations)
      result.failure = "determinism: a second run of this seed went another way";
    result.simulated_seconds += again.simulated_seconds;
    result.events += again.events;
  }
  failed = !result.failure.empty();
  return pack(result);
}

class Batch {
 public:
  explicit Batch(const BatchOptions& options)
      : options_(options),
        children_([this](uint64_t index, bool& last) { return work(index, last); }) {}

  BatchTotals execute() {
    while (!stopped_ && (started_ < options_.seeds || children_.running() > 0)) {
      while (started_ < options_.seeds && children_.running() < options_.jobs) start_some();
      for (ChildOutcome& outcome : children_.wait())
        outcomes_.emplace(outcome.id, std::move(outcome));
      // Taken in the order of seeds, so that a batch says the same with any number of jobs.
      for (auto next = outcomes_.find(taken_); !stopped_ && next != outcomes_.end();
           next = outcomes_.find(taken_)) {
        take(next->second);
        outcomes_.erase(next);
        ++taken_;
      }
    }
    return totals_;
  }

 private:
  void start_some() {
    // Few enough that all jobs have work until the end.
    const uint64_t share = options_.seeds / (uint64_t{options_.jobs} * 4);
    const uint64_t count =
        std::min(std::clamp<uint64_t>(share, 1, runs_of_child_max), options_.seeds - started_);
    children_.start(started_, count);
    started_ += count;
  }

  // In a child.
  std::string work(uint64_t index, bool& last) const {
    RunOptions run = options_.run;
    run.seed += index;
    bool failed = false;
    std::string bytes =
        work_of(run, index % repeated_one_of == 0 && !options_.until_failure, failed);
    last = failed && options_.until_failure;
    return bytes;
  }

  void take(const ChildOutcome& outcome) {
    const ClusterRunResult result = unpack(outcome, totals_.hits);
    const uint64_t seed = options_.run.seed + outcome.id;
    ++totals_.runs;
    totals_.cut_short += result.cut_short ? 1 : 0;
    totals_.operations += result.operations;
    totals_.events += result.events;
    totals_.simulated_seconds += result.simulated_seconds;
    if (!result.failure.empty() && totals_.failures++ == 0) {
      totals_.first_failure = seed;
      totals_.first_checker = checker_of(result.failure);
    }
    stopped_ = options_.until_failure && totals_.failures > 0;
    if (options_.ended) options_.ended(seed, result);
  }

  const BatchOptions& options_;
  Children children_;
  std::map<uint64_t, ChildOutcome> outcomes_;
  BatchTotals totals_;
  uint64_t started_ = 0, taken_ = 0;
  bool stopped_ = false;
};

}  // namespace

std::vector<std::string> BatchTotals::unhit() const {
  std::vector<std::string> names;
  for (size_t i = 0; i < probes_known(); ++i) {
    if (hits.probes[i] == 0 && runs >= probe_text(i).runs) names.emplace_back(probe_text(i).name);
  }
  return names;
}

BatchTotals run_batch(const BatchOptions& options) { return Batch(options).execute(); }

ClusterRunResult run_apart(const RunOptions& options, Hits* hits) {
  Children children([&options](uint64_t, bool& last) { return work_of(options, false, last); });
  children.start(0, 1);
  Hits ignored;
  return unpack(children.wait().front(), hits != nullptr ? *hits : ignored);
}

std::string checker_of(const std::string& failure) { return failure.substr(0, failure.find(':')); }

}  // namespace sp::sim
