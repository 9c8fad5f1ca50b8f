#include "bench_run.h"

#include <fmt/format.h>
#include <unistd.h>

#include <cstdio>
#include <utility>
#include <vector>

#include "base/units.h"
#include "bench_processes.h"
#include "cli/identity.h"
#include "client/standalone.h"
#include "client/statistics.h"

namespace sp::bench {

namespace {

using Statistics = std::vector<client::ServerStatistics>;

std::string server_name(ServiceId id) {
  return fmt::format("server {}.{}", static_cast<unsigned>(id.node),
                     static_cast<unsigned>(id.instance));
}

std::vector<Listener> listeners_of(const map::Map& map) {
  std::vector<Listener> list;
  const auto add = [&](std::string name, const std::string& address) {
    const auto parsed = io::Address::parse(address);
    if (parsed.ok()) list.push_back({std::move(name), parsed->host, parsed->port});
  };
  for (const auto& [id, service] : map.services) {
    if (id.kind == ServiceKind::server && service.up) add(server_name(id), service.address);
  }
  for (const auto& [id, node] : map.nodes)
    add(fmt::format("beacon {}", static_cast<unsigned>(id)), node.address);
  return list;
}

wire::DiskStatistics difference(const wire::DiskStatistics& a, wire::DiskStatistics b) {
  b.device_reads -= a.device_reads;
  b.device_bytes_read -= a.device_bytes_read;
  b.device_writes -= a.device_writes;
  b.device_bytes_written -= a.device_bytes_written;
  b.device_flushes -= a.device_flushes;
  return b;
}

class Run {
 public:
  Run(cli::Daemon& daemon, RunOptions options, const cli::OutputOptions& output)
      : daemon_(daemon),
        options_(std::move(options)),
        output_(output),
        progress_(daemon.host().reactor) {}

  void attach(client::StandaloneOptions standalone) {
    attempt_ =
        client::Standalone::attach(daemon_.host(), std::move(standalone),
                                   [this](Result<std::unique_ptr<client::Standalone>> result) {
                                     if (!result.ok())
                                       return daemon_.finish(std::move(result).error());
                                     attached_ = std::move(result).value();
                                     begin();
                                   });
    daemon_.on_stop = [this] { stop(); };
  }

 private:
  void begin() {
    processes_ = find_processes(listeners_of(attached_->member().map()));
    processes_.push_back({"client", getpid()});
    Load::Events events;
    events.counting = [this] { counting(); };
    events.counted = [this](LoadResult result) { counted(std::move(result)); };
    events.done = [this] { done(); };
    auto load = Load::start(daemon_.host(), attached_->volume(), options_.load, std::move(events));
    if (!load.ok()) return finish(std::move(load).error());
    load_ = std::move(load).value();
    if (isatty(STDERR_FILENO) != 0) show_progress(0);
  }

  void counting() {
    for (const Process& process : processes_) before_.push_back(usage_of(process.pid));
    ask([this](Statistics statistics) { statistics_before_ = std::move(statistics); });
  }

  void counted(LoadResult result) {
    result_ = std::move(result);
    for (const Process& process : processes_) after_.push_back(usage_of(process.pid));
    ask([this](Statistics statistics) {
      statistics_after_ = std::move(statistics);
      if (load_over_) print();
    });
  }

  void done() {
    load_over_ = true;
    progress_.cancel();
    if (isatty(STDERR_FILENO) != 0) std::fprintf(stderr, "\r\033[K");
    if (before_.empty())
      return finish(Error(Code::interrupted, "stopped before the ramp was over"));
    if (!statistics_after_.empty()) print();
  }

  void ask(Callback<void(Statistics)> done) {
    client::ask_statistics(daemon_.host(), attached_->member(), attached_->servers(),
                           std::move(done));
  }

  void stop() {
    if (load_)
      load_->stop();
    else
      daemon_.finish(Error(Code::interrupted, "stopped"));
  }

  void show_progress(uint64_t operations_before) {
    progress_.arm(std::chrono::seconds(1), [this, operations_before] {
      const LoadResult& now = load_->now();
      std::fprintf(stderr, "\r\033[K%5.0f s  %lu operations/s", now.seconds,
                   now.operations() - operations_before);
      show_progress(now.operations());
    });
  }

  cli::Table load_table() const {
    cli::Table table({{"operation", "OPERATION"},
                      {"operations", "COUNT"},
                      {"iops", "IOPS"},
                      {"mib_per_second", "MIB/S"},
                      {"mean_us", "MEAN us"},
                      {"p50_us", "P50"},
                      {"p99_us", "P99"},
                      {"p999_us", "P99.9"},
                      {"most_us", "MAX"}});
    const auto add = [&](const char* name, const LoadCounts& counts) {
      if (counts.operations == 0) return;
      const auto at = [&](double share) {
        return static_cast<double>(counts.latency.percentile(share)) / 1e3;
      };
      const double seconds = std::max(result_.seconds, 1e-9);
      table.add({std::string(name), counts.operations,
                 static_cast<double>(counts.operations) / seconds,
                 static_cast<double>(counts.bytes) / 1048576 / seconds, counts.latency.mean() / 1e3,
                 at(0.5), at(0.99), at(0.999), static_cast<double>(counts.latency.most()) / 1e3});
    };
    add("read", result_.reads);
    add("write", result_.writes);
    return table;
  }

  cli::Table process_table() const {
    cli::Table table({{"process", "PROCESS"},
                      {"cpu_us_per_operation", "CPU us/op"},
                      {"operations_per_wakeup", "OPS/WAKEUP"},
                      {"memory_bytes", "MEMORY"}});
    const auto operations = static_cast<double>(std::max<uint64_t>(result_.operations(), 1));
    const auto add = [&](std::string name, const Usage& used) {
      table.add({std::move(name), used.cpu_us / operations,
                 used.sleeps == 0 ? 0.0 : operations / static_cast<double>(used.sleeps),
                 cli::Bytes64{used.memory_bytes}});
    };
    Usage servers;
    for (size_t i = 0; i < processes_.size(); ++i) {
      const Usage used{after_[i].cpu_us - before_[i].cpu_us, after_[i].sleeps - before_[i].sleeps,
                       after_[i].memory_bytes};
      add(processes_[i].name, used);
      if (!processes_[i].name.starts_with("server")) continue;
      servers.cpu_us += used.cpu_us;
      servers.sleeps += used.sleeps;
      servers.memory_bytes += used.memory_bytes;
    }
    add("all servers", servers);
    return table;
  }

  cli::Table disk_table() const {
    cli::Table table({{"disk", "DISK"},
                      {"server", "SERVER"},
                      {"writes_per_operation", "WRITES/OP"},
                      {"reads_per_operation", "READS/OP"},
                      {"flushes_per_operation", "FLUSHES/OP"},
                      {"bytes_written", "WRITTEN"},
                      {"bytes_read", "READ"},
                      {"used_percent", "USED %"},
                      {"memory_bytes", "INDEX"}});
    const auto operations = static_cast<double>(std::max<uint64_t>(result_.operations(), 1));
    for (const auto& after : statistics_after_) {
      for (const auto& before : statistics_before_) {
        if (before.server != after.server) continue;
        for (const auto& disk : after.reply.disks) {
          for (const auto& earlier : before.reply.disks) {
            if (earlier.disk != disk.disk) continue;
            const auto d = difference(earlier, disk);
            table.add({uint64_t{d.disk}, server_name(after.server),
                       static_cast<double>(d.device_writes) / operations,
                       static_cast<double>(d.device_reads) / operations,
                       static_cast<double>(d.device_flushes) / operations,
                       cli::Bytes64{d.device_bytes_written}, cli::Bytes64{d.device_bytes_read},
                       100.0 * static_cast<double>(d.blocks_used) /
                           static_cast<double>(std::max<uint64_t>(d.blocks_total, 1)),
                       cli::Bytes64{d.memory_bytes}});
          }
        }
      }
    }
    return table;
  }

  void print() {
    const std::string load = load_table().format(output_),
                      processes = process_table().format(output_),
                      disks = disk_table().format(output_);
    if (output_.format == cli::Format::json) {
      fmt::print("{{\"seconds\":{:.3f},\"errors\":{},\"load\":{},\"processes\":{},\"disks\":{}}}\n",
                 result_.seconds, result_.errors, load, processes, disks);
    } else {
      fmt::print("{}\n{}\n{}", load, processes, disks);
    }
    std::fflush(stdout);
    for (const auto& server : statistics_after_) {
      if (!server.error.empty())
        fmt::print(stderr, "sp-bench: {}: {}\n", server_name(server.server), server.error);
    }
    if (result_.errors == 0) return finish({});
    finish(Error(Code::failed, fmt::format("{} operations failed; the first: {}", result_.errors,
                                           result_.first_error)));
  }

  void finish(Status status) {
    daemon_.on_stop.reset();
    outcome_ = std::move(status);
    attached_->detach(
        [this](const Status& detached) { daemon_.finish(outcome_.ok() ? detached : outcome_); });
  }

  cli::Daemon& daemon_;
  const RunOptions options_;
  const cli::OutputOptions& output_;
  std::unique_ptr<client::Standalone::Attempt> attempt_;
  std::unique_ptr<client::Standalone> attached_;
  std::unique_ptr<Load> load_;
  io::Timer progress_;
  LoadResult result_;
  std::vector<Process> processes_;
  std::vector<Usage> before_, after_;
  Statistics statistics_before_, statistics_after_;
  bool load_over_ = false;
  Status outcome_;
};

}  // namespace

Result<std::shared_ptr<void>> start_run(cli::Daemon& daemon, const cli::Config& config,
                                        const cli::NodeConfig& node, const RunOptions& options,
                                        const cli::OutputOptions& output) {
  SP_TRY(const auto key, cli::load_key(config));
  SP_TRY(const uint8_t instance, cli::claim_client_instance(config, node.id));
  client::StandaloneOptions standalone;
  standalone.key.bytes = key;
  standalone.cluster = config.cluster_id;
  standalone.node = node.id;
  standalone.instance = instance;
  standalone.beacons = cli::beacon_addresses(config, node.id);
  standalone.volume = options.volume;
  standalone.device = "sp-bench";
  standalone.force = options.force;
  standalone.timeout = options.timeout;
  const bool reads_only = options.load.reads_percent == 100;
  standalone.rights = reads_only ? map::Rights::read_only : map::Rights::read_write;
  auto run = std::make_shared<Run>(daemon, options, output);
  run->attach(std::move(standalone));
  return std::shared_ptr<void>(std::move(run));
}

}  // namespace sp::bench
