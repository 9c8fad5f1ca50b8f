// path_bench: what the data path executes for each operation, as instructions: a simulated cluster
// of three servers without faults, driven by the load of sp-bench. Simulated time and devices make
// every run the same, so the figure is steady on any machine; `make profile` runs it under
// callgrind and prints it by layer.
//
//   path_bench read|write [DEPTH [BLOCK [OPERATIONS]]]
//
// Only `measured` is of interest: callgrind begins to collect there.
#include <cstdio>
#include <cstdlib>
#include <cstring>

#include "bench/load.h"
#include "sim/cluster.h"

using namespace sp;

namespace {

sim::ClusterSetup quiet_cluster() {
  sim::ClusterSetup setup;
  setup.client_nodes = 1;
  setup.clients_per_node = 1;
  setup.volumes = 1;
  setup.disk_bytes = 192u << 20;
  setup.volume_bytes = 64u << 20;
  setup.work.depth = 0;
  setup.keep_log = false;
  setup.world.net.short_receive = 0;
  setup.world.disk.volatile_cache = false;
  setup.world.disk.unwritten_is_noise = false;
  return setup;
}

std::string run_load(sim::Cluster& cluster, const bench::LoadOptions& options) {
  auto& client = cluster.clients.front();
  bool done = false;
  bench::LoadResult result;
  bench::Load::Events events;
  events.counted = [&](bench::LoadResult counted) { result = std::move(counted); };
  events.done = [&] { done = true; };
  auto load = bench::Load::start(client.host->host(), client.attached->volume(), options,
                                 std::move(events));
  if (!load.ok()) return load.error().message();
  cluster.world.run_until([&] { return done; }, std::chrono::hours(1));
  return done ? result.first_error : "not done in an hour";
}

}  // namespace

__attribute__((noinline)) std::string measured(sim::Cluster& cluster,
                                               const bench::LoadOptions& options) {
  return run_load(cluster, options);
}

int main(int argc, char** argv) {
  if (argc < 2)
    return std::fprintf(stderr, "path_bench read|write [DEPTH [BLOCK [OPERATIONS]]]\n"), 2;
  const auto number = [&](int at, uint64_t otherwise) {
    return argc > at ? std::strtoull(argv[at], nullptr, 10) : otherwise;
  };
  bench::LoadOptions load;
  load.reads_percent = std::strcmp(argv[1], "read") == 0 ? 100 : 0;
  load.depth = static_cast<uint32_t>(number(2, 32));
  load.block_bytes = number(3, 4096);
  load.operations_max = number(4, 20000);
  load.time = std::chrono::hours(1);

  sim::Cluster cluster(1, quiet_cluster());
  std::string wrong = cluster.start();
  bench::LoadOptions fill;
  fill.sequential = true;
  fill.block_bytes = 256u << 10;
  fill.depth = 8;
  fill.operations_max = (64u << 20) / fill.block_bytes;
  fill.time = std::chrono::hours(1);
  if (wrong.empty()) wrong = run_load(cluster, fill);
  if (wrong.empty()) wrong = measured(cluster, load);
  if (!wrong.empty()) return std::fprintf(stderr, "path_bench: %s\n", wrong.c_str()), 1;
  std::printf("%llu\n", static_cast<unsigned long long>(load.operations_max));
  return 0;
}
