// How many simulated seconds one CPU second buys, faults on: in batches of short runs, which find
// the bugs, and in one long run of 3 nodes at about 20 operations a simulated second. With the
// events that a simulated second is made of, by kind. In one process, as the runs of a batch are
// made one after another.
#include <sys/resource.h>

#include <cstdio>
#include <cstdlib>

#include "sim/cluster_run.h"

using namespace sp;
using sim::Knob;

namespace {

double cpu_seconds() {
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  const auto seconds = [](const timeval& t) {
    return static_cast<double>(t.tv_sec) + static_cast<double>(t.tv_usec) * 1e-6;
  };
  return seconds(usage.ru_utime) + seconds(usage.ru_stime);
}

bool measure(const char* name, sim::RunOptions options, uint64_t runs) {
  const double begin = cpu_seconds();
  double simulated = 0, operations = 0;
  std::array<double, io::sim_event_kinds> events{};
  for (uint64_t i = 0; i < runs; ++i, ++options.seed) {
    const sim::ClusterRunResult result = sim::run_cluster(options);
    if (!result.failure.empty()) {
      std::printf("%s: seed %llu: %s\n", name, static_cast<unsigned long long>(options.seed),
                  result.failure.c_str());
      return false;
    }
    simulated += result.simulated_seconds;
    operations += static_cast<double>(result.operations);
    for (size_t kind = 0; kind < events.size(); ++kind)
      events[kind] += static_cast<double>(result.events_by_kind[kind]);
  }
  const double spent = cpu_seconds() - begin;
  double all = 0;
  for (const double count : events) all += count;
  std::printf(
      "%-6s %6.0f simulated s in %6.2f CPU s: %5.0f times real time; %.1f operations/s, %.2f "
      "us/event\n",
      name, simulated, spent, simulated / spent, operations / simulated, spent * 1e6 / all);
  std::printf("       events per simulated second: %.0f =", all / simulated);
  for (size_t kind = 1; kind < events.size(); ++kind)
    std::printf(" %s %.0f", std::string(io::sim_event_names[kind]).c_str(),
                events[kind] / simulated);
  std::printf("\n");
  return true;
}

}  // namespace

int main(int argc, char** argv) {
  const uint64_t runs = argc > 1 ? std::strtoull(argv[1], nullptr, 10) : 40;
  sim::RunOptions batch;
  batch.seed = 900000;
  sim::RunOptions alone;
  alone.faults_for = std::chrono::minutes(10);
  alone.pins = {{Knob::nodes, 3},         {Knob::witness, 0},  {Knob::disks, 1},
                {Knob::sets, 8},          {Knob::clients, 2},  {Knob::client_nodes, 1},
                {Knob::volumes, 2},       {Knob::depth, 2},    {Knob::length, 4},
                {Knob::think_ms, 260},    {Knob::database, 0}, {Knob::noise, 0},
                {Knob::interval_ms, 2700}};
  const bool short_ones = measure("batch", batch, runs);
  return measure("alone", alone, 1) && short_ones ? 0 : 1;
}
