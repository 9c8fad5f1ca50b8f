#include "sim/cluster_run.h"

#include <algorithm>

#include "sim/cluster.h"
#include "sim/cluster_faults.h"

namespace sp::sim {

namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

constexpr auto look_interval = milliseconds(2);
constexpr auto tend_interval = milliseconds(100);
constexpr auto heal_limit = seconds(60);
constexpr auto idle_limit = seconds(30);
constexpr uint64_t repeated_one_of = 20;

ClusterSetup draw_setup(const RunOptions& options) {
  io::SeededRandom random(options.seed * 0x9e3779b97f4a7c15ull + 1);
  ClusterSetup setup;
  setup.storage_nodes = 3 + static_cast<uint32_t>(random.below(3));
  setup.witness = random.below(3) == 0;
  setup.disks_per_server = random.below(4) == 0 ? 2 : 1;
  setup.sets = 8u << random.below(2);
  setup.client_nodes = 1 + static_cast<uint32_t>(random.below(2));
  setup.volumes = 1 + static_cast<uint32_t>(random.below(2));
  setup.work.depth = 1 + static_cast<uint32_t>(random.below(4));
  setup.work.blocks = 4 + static_cast<uint32_t>(random.below(40));
  setup.work.stride =
      random.below(2) == 0 ? 1 : 197;  // at times all within one object, at times across several
  setup.work.length_max = random.below(4) == 0 ? 40 : 4;
  setup.work.think_mean = milliseconds(50 + random.below(200));
  setup.log_entries_kept = random.below(2) == 0 ? 30 : 1000;
  setup.world.clock_drift_max = 0.0099;
  setup.world.disk.volatile_cache = random.below(4) != 0;
  setup.world.disk.unwritten_is_noise = random.below(4) == 0;  // noise costs as much as all else
  if (options.storage_nodes) setup.storage_nodes = *options.storage_nodes;
  setup.line_sink = options.line_sink;
  return setup;
}

// The world goes on in small steps, with everything that must always hold looked at in between.
class Run {
 public:
  explicit Run(const RunOptions& options)
      : options_(options), cluster_(options.seed, draw_setup(options)), faults_(cluster_) {}

  ClusterRunResult execute() {
    ClusterRunResult result;
    result.failure = all();
    result.operations = cluster_.operations();
    result.events = cluster_.world.event_count();
    result.trace_hash = cluster_.world.trace_hash();
    result.simulated_seconds = static_cast<double>(cluster_.world.now().ns) * 1e-9;
    if (result.operations == 0 && result.failure.empty()) result.failure = "nothing was done";
    return result;
  }

 private:
  std::string all() {
    if (auto wrong = cluster_.start(); !wrong.empty()) return "start: " + wrong;
    if (advance([] { return false; }, milliseconds(300)); !wrong_.empty()) return wrong_;
    faults_.start();
    if (advance([] { return false; }, options_.faults_for); !wrong_.empty()) return wrong_;
    faults_.heal();
    const bool settled = advance([this] { return cluster_.unsettled().empty(); }, heal_limit);
    if (!wrong_.empty()) return wrong_;
    if (!settled) return "not healed after a minute: " + cluster_.unsettled();
    return at_rest();
  }

  std::string at_rest() {
    std::map<const Cluster::ClientProcess*, uint64_t> before;
    for (const auto& process : cluster_.clients) {
      if (process.work) before[&process] = process.work->completed();
    }
    const bool works = advance(
        [&] {
          return std::all_of(before.begin(), before.end(), [](const auto& entry) {
            return !entry.first->work || entry.first->work->completed() > entry.second;
          });
        },
        idle_limit);
    if (!wrong_.empty()) return wrong_;
    if (!works) return "operations do not go on though everything is well" + cluster_.waiting();
    for (auto& process : cluster_.clients) {
      if (process.work) process.work->stop();
    }
    const auto idle = [&] {
      return std::all_of(cluster_.clients.begin(), cluster_.clients.end(),
                         [](const auto& process) { return !process.work || process.work->idle(); });
    };
    const bool ended = advance(idle, idle_limit);
    if (!wrong_.empty()) return wrong_;
    if (!ended) return "operations do not end though everything is well" + cluster_.waiting();
    if (auto difference = compare(); !difference.empty()) return difference;
    if (const auto wrong = cluster_.history.check()) return "not linearizable: " + *wrong;
    return cluster_.check_disks(faults_.spoiled());
  }

  // What was decided last is told to all copies soon.
  std::string compare() {
    std::string difference;
    for (int attempt = 0; attempt < 50; ++attempt) {
      advance([] { return false; }, milliseconds(100));
      if (!wrong_.empty()) return wrong_;
      if (!cluster_.unsettled().empty()) continue;
      difference = cluster_.compare_copies();
      if (difference.empty()) return "";
    }
    return "the copies differ at rest: " + difference + cluster_.unsettled();
  }

  template <class Predicate>
  bool advance(Predicate reached, io::Duration limit) {
    const io::Instant until = cluster_.world.now() + limit;
    while (cluster_.world.now() < until) {
      if (reached()) return true;
      cluster_.world.run_for(look_interval);
      wrong_ = cluster_.check_now();
      if (!wrong_.empty()) return false;
      if (cluster_.world.now() < next_tend_) continue;
      next_tend_ = cluster_.world.now() + tend_interval;
      cluster_.tend();
    }
    return reached();
  }

  const RunOptions& options_;
  Cluster cluster_;
  ClusterFaults faults_;
  std::string wrong_;
  io::Instant next_tend_{};
};

}  // namespace

ClusterRunResult run_cluster(const RunOptions& options) { return Run(options).execute(); }

RunTotals run_clusters(RunOptions options, uint64_t seeds,
                       const std::function<void(uint64_t seed, const std::string& why)>& failed) {
  RunTotals totals;
  for (uint64_t i = 0; i < seeds; ++i, ++options.seed) {
    ClusterRunResult result = run_cluster(options);
    if (result.failure.empty() && i % repeated_one_of == 0) {
      const ClusterRunResult again = run_cluster(options);
      if (again.trace_hash != result.trace_hash || again.operations != result.operations)
        result.failure = "a second run of this seed went another way";
      totals.simulated_seconds += again.simulated_seconds;
      totals.events += again.events;
    }
    ++totals.runs;
    totals.operations += result.operations;
    totals.events += result.events;
    totals.simulated_seconds += result.simulated_seconds;
    if (result.failure.empty()) continue;
    ++totals.failures;
    failed(options.seed, result.failure);
  }
  return totals;
}

}  // namespace sp::sim
