#include "run.h"

#include <algorithm>
#include <cstdio>

#include "cluster.h"
#include "faults.h"

namespace sp::sim {

namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

ClusterOptions draw_options(uint64_t seed) {
  io::SeededRandom random(seed * 0x9e3779b97f4a7c15ull);
  ClusterOptions options;
  options.servers = 3 + static_cast<uint32_t>(random.below(2));
  if (seed % 3 == 1) options.store.table_bytes_max = 9000;  // about two pages of it
  options.disks_per_server = 1 + static_cast<uint32_t>(random.below(2));
  options.sets = 1u << random.below(3);
  options.clients = 1 + static_cast<uint32_t>(random.below(2));
  options.sharers = static_cast<uint32_t>(random.below(2));
  options.readers = static_cast<uint32_t>(random.below(2));
  options.work.depth = 1 + static_cast<uint32_t>(random.below(6));
  options.work.blocks = 4 + static_cast<uint32_t>(random.below(40));
  // At times few blocks and many operations: whatever goes wrong with one is seen at once.
  if (random.below(3) == 0) {
    options.work.depth = 8;
    options.work.blocks = 1 + static_cast<uint32_t>(random.below(3));
  }
  // At times all within one object, at times across several.
  options.work.stride = random.below(2) == 0 ? 1 : 97;
  options.work.length_max = random.below(4) == 0 ? 40 : 4;
  options.work.think_mean = milliseconds(5 + random.below(60));
  options.control.unknown_outcome = random.below(2) == 0 ? 0 : 0.1;
  options.control.slow_change = random.below(3) == 0 ? 0.3 : 0.02;
  options.world.net.reset = random.below(3) == 0 ? 0.0005 : 0;
  options.world.net.loss = random.below(3) == 0 ? 0.001 : 0;
  options.world.log_least = LogLevel::info;
  return options;
}

std::string heal_and_check(DataCluster& cluster, Faults& faults) {
  const auto failed = [&] { return cluster.work_failure(); };
  if (!failed().empty()) return failed();
  faults.stop();
  faults.heal();
  // Work goes on while copies recover, then stops.
  cluster.world.run_for(milliseconds(500));
  // A disk may have been given up only now: the last ones are exchanged.
  const auto whole = [&] {
    for (auto& process : cluster.servers) {
      if (process.server && process.server->all_opened() &&
          process.server->disks().size() != process.disks.size())
        cluster.end_server(process, io::SimHost::Death::process), cluster.start_server(process);
    }
    return cluster.settled();
  };
  io::Instant next_look{};
  const bool settled = cluster.world.run_until(
      [&] {
        if (cluster.world.now() < next_look) return false;
        next_look = cluster.world.now() + milliseconds(20);
        return whole();
      },
      seconds(60));
  if (!settled) return "not healed after 60 s: " + cluster.unsettled();
  for (auto& client : cluster.clients) client.work->stop();
  const auto idle = [&] {
    return std::all_of(cluster.clients.begin(), cluster.clients.end(),
                       [](const auto& client) { return client.work->idle(); });
  };
  if (!cluster.world.run_until(idle, seconds(30)))
    return "operations do not end though everything is well";
  if (!failed().empty()) return failed();
  // What was decided last is told to all copies soon.
  std::string difference = "not compared";
  for (int i = 0; i < 50 && !difference.empty(); ++i) {
    cluster.world.run_for(milliseconds(100));
    difference = cluster.compare_copies();
  }
  if (!difference.empty()) return difference;
  // A block that a copy got as lost is mended in the background.
  const auto mended = [&] {
    for (auto& process : cluster.servers)
      for (const DiskId disk : process.disks)
        if (store::Store* const store = process.server->store(disk);
            store == nullptr || !store->lost(0, 1).empty())
          return false;
    return true;
  };
  if (!cluster.world.run_until(mended, seconds(60))) return "a lost block is not mended";
  if (const auto wrong = cluster.history.check()) return "not linearizable: " + *wrong;
  return cluster.check_disks(faults.spoiled());
}

}  // namespace

RunResult run(uint64_t seed, bool verbose) {
  RunResult result;
  DataCluster cluster(seed, draw_options(seed));
  Faults faults(cluster);
  cluster.world.run_for(milliseconds(300));
  faults.start();
  cluster.world.run_for(seconds(12));
  result.failure = heal_and_check(cluster, faults);
  result.operations = cluster.operations();
  result.trace_hash = cluster.world.trace_hash();
  result.simulated_seconds = static_cast<double>(cluster.world.now().ns) * 1e-9;
  if (result.operations == 0 && result.failure.empty()) result.failure = "nothing was done";
  if (verbose) {
    for (const auto& line : cluster.log) std::printf("%s\n", line.c_str());
  }
  return result;
}

}  // namespace sp::sim
