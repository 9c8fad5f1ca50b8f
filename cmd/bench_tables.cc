#include "bench_tables.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstdio>
#include <map>

namespace sp::bench {

std::string server_name(ServiceId id) {
  return fmt::format("server {}.{}", static_cast<unsigned>(id.node),
                     static_cast<unsigned>(id.instance));
}

namespace {

cli::Table load_table(const LoadResult& result) {
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
    const double seconds = std::max(result.seconds, 1e-9);
    table.add({std::string(name), counts.operations,
               static_cast<double>(counts.operations) / seconds,
               static_cast<double>(counts.bytes) / 1048576 / seconds, counts.latency.mean() / 1e3,
               at(0.5), at(0.99), at(0.999), static_cast<double>(counts.latency.most()) / 1e3});
  };
  add("read", result.reads);
  add("write", result.writes);
  return table;
}

cli::Table process_table(const Measured& m) {
  cli::Table table({{"process", "PROCESS"},
                    {"cpu_us_per_operation", "CPU us/op"},
                    {"operations_per_wakeup", "OPS/WAKEUP"},
                    {"memory_bytes", "MEMORY"}});
  const auto operations = static_cast<double>(std::max<uint64_t>(m.load.operations(), 1));
  const auto add = [&](std::string name, const Usage& used) {
    table.add({std::move(name), used.cpu_us / operations,
               used.sleeps == 0 ? 0.0 : operations / static_cast<double>(used.sleeps),
               cli::Bytes64{used.memory_bytes}});
  };
  Usage servers;
  for (size_t i = 0; i < m.processes.size(); ++i) {
    const Usage used{m.usage_after[i].cpu_us - m.usage_before[i].cpu_us,
                     m.usage_after[i].sleeps - m.usage_before[i].sleeps,
                     m.usage_after[i].memory_bytes};
    add(m.processes[i].name, used);
    if (!m.processes[i].name.starts_with("server")) continue;
    servers.cpu_us += used.cpu_us;
    servers.sleeps += used.sleeps;
    servers.memory_bytes += used.memory_bytes;
  }
  add("all servers", servers);
  return table;
}

cli::Table disk_table(const Measured& m) {
  cli::Table table({{"disk", "DISK"},
                    {"server", "SERVER"},
                    {"writes_per_operation", "WRITES/OP"},
                    {"reads_per_operation", "READS/OP"},
                    {"flushes_per_operation", "FLUSHES/OP"},
                    {"bytes_written", "WRITTEN"},
                    {"bytes_read", "READ"},
                    {"used_percent", "USED %"},
                    {"memory_bytes", "INDEX"}});
  const auto operations = static_cast<double>(std::max<uint64_t>(m.load.operations(), 1));
  std::map<DiskId, wire::DiskStatistics> before;
  for (const auto& server : m.servers_before) {
    for (const auto& disk : server.reply.disks) before[disk.disk] = disk;
  }
  for (const auto& server : m.servers_after) {
    for (const auto& disk : server.reply.disks) {
      const auto& earlier = before[disk.disk];
      const auto per_operation = [&](uint64_t now, uint64_t then) {
        return static_cast<double>(now - then) / operations;
      };
      table.add({uint64_t{disk.disk}, server_name(server.server),
                 per_operation(disk.device_writes, earlier.device_writes),
                 per_operation(disk.device_reads, earlier.device_reads),
                 per_operation(disk.device_flushes, earlier.device_flushes),
                 cli::Bytes64{disk.device_bytes_written - earlier.device_bytes_written},
                 cli::Bytes64{disk.device_bytes_read - earlier.device_bytes_read},
                 100.0 * static_cast<double>(disk.blocks_used) /
                     static_cast<double>(std::max<uint64_t>(disk.blocks_total, 1)),
                 cli::Bytes64{disk.memory_bytes}});
    }
  }
  return table;
}

}  // namespace

void print(const Measured& measured, const cli::OutputOptions& output) {
  const std::string load = load_table(measured.load).format(output);
  const std::string processes = process_table(measured).format(output);
  const std::string disks = disk_table(measured).format(output);
  if (output.format == cli::Format::json)
    fmt::print("{{\"seconds\":{:.3f},\"errors\":{},\"load\":{},\"processes\":{},\"disks\":{}}}\n",
               measured.load.seconds, measured.load.errors, load, processes, disks);
  else
    fmt::print("{}\n{}\n{}", load, processes, disks);
  std::fflush(stdout);
}

}  // namespace sp::bench
