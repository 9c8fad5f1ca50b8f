// sp-bench: load on a volume through the client library, without a block device in between, and
// what it costs every process that takes part.
//   sp-bench VOLUME [--pattern random|sequential] [--block SIZE] [--depth N] [--jobs N] [--reads N]
// Exit codes: 1 when an operation failed; others: sp(7).
#include "bench_run.h"
#include "cli/exit_code.h"

using namespace sp;

namespace {

struct Values {
  bench::RunOptions run;
  std::string pattern = "random";
  std::optional<uint64_t> block, depth, jobs, reads, from, range, operations;
  std::chrono::milliseconds time{10000}, ramp{1000};
  bool no_verify = false, yes = false;
};

Status check(Values& v) {
  bench::LoadOptions& load = v.run.load;
  load.sequential = v.pattern == "sequential";
  load.block_bytes = v.block.value_or(4096);
  load.depth = static_cast<uint32_t>(v.depth.value_or(32));
  load.jobs = static_cast<uint32_t>(v.jobs.value_or(1));
  load.reads_percent = static_cast<uint32_t>(v.reads.value_or(100));
  load.from = v.from.value_or(0);
  load.bytes = v.range.value_or(0);
  load.operations_max = v.operations.value_or(0);
  load.time = v.time;
  load.ramp = v.ramp;
  load.verify = !v.no_verify;
  if (load.reads_percent < 100 && !v.yes)
    return Error(Code::invalid,
                 "writes destroy what the volume holds: give --yes, or --reads 100 (the default)");
  return {};
}

}  // namespace

int main(int argc, char** argv) {
  Values v;
  cli::Options options("sp-bench", "Load a volume, and measure what each process spends on it.");
  cli::ClusterOptions cluster;
  cli::OutputOptions output;
  cli::DaemonOptions service;
  cluster.add(options);
  output.add(options);
  service.add(options);
  options.argument("VOLUME", v.run.volume, "The volume: its name, or ~ID.");
  options.choice("--pattern", {"random", "sequential"}, v.pattern,
                 "Which places: random (default), or sequential.");
  options.size("--block", v.block, "Bytes of an operation (default 4K).");
  options.number("--depth", 1, 4096, v.depth, "Operations in flight of each job (default 32).");
  options.number("--jobs", 1, 256, v.jobs, "Streams of operations (default 1).");
  options.number("--reads", 0, 100, v.reads, "Percent of reads (default 100).");
  options.size("--from", v.from, "Where to begin in the volume (default 0).");
  options.size("--range", v.range, "How much of the volume (default: up to its end).");
  options.number("--operations", 1, UINT64_MAX / 2, v.operations, "End after so many.");
  options.duration("--time", v.time, "How long to count (default 10s).");
  options.duration("--ramp", v.ramp, "How long to run before counting (default 1s).");
  options.flag("--no-verify", v.no_verify, "Do not look at what is read.");
  options.flag("--force", v.run.force, "Take the volume from whoever has it.");
  options.flag("--yes", v.yes, "Writes may destroy what the volume holds.");
  options.duration("--timeout", v.run.timeout, "How long to wait for the volume (default 30s).");
  options.check([&] { return check(v); });
  options.run([&] {
    service.once = true;
    const auto config = cluster.load();
    const auto node = config.ok() ? cluster.own(*config) : Result<cli::NodeConfig>(config.error());
    if (!node.ok()) return cli::fail("sp-bench", node.error());
    return cli::run_daemon("sp-bench", service, [&](cli::Daemon& daemon) {
      return bench::start_run(daemon, *config, *node, v.run, output);
    });
  });
  return options.execute(argc, argv);
}
