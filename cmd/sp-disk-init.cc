// sp-disk-init: makes a device or a file a disk of a cluster; lists devices and what they hold.
//
//   sp-disk-init [--cluster ID] --id N [--size SIZE] [--sparse] [--dry-run] [--force-overwrite
//   NAME]... DEVICE sp-disk-init --list
//
// Exit codes: 0 done; 2 usage; 3 no such device; 5 the device holds something or is in use; others
// as in sp(7).
#include <cstdio>

#include "base/limits.h"
#include "cli/exit_code.h"
#include "cli/output.h"
#include "disk/discover.h"
#include "disk/init.h"
#include "io/real_host.h"

using namespace sp;

namespace {

int list_devices(const cli::OutputOptions& output) {
  const auto devices = disk::discover_devices();
  if (!devices.ok()) return cli::fail("sp-disk-init", devices.error());
  cli::Table table({{"device", "DEVICE"},
                    {"size", "SIZE"},
                    {"model", "MODEL"},
                    {"serial", "SERIAL"},
                    {"used_by", "USED BY"},
                    {"holds", "HOLDS"}});
  for (const disk::Device& device : *devices) {
    std::string holds = device.problem;
    for (const disk::Holding& holding : device.holds)
      holds += (holds.empty() ? "" : ", ") + holding.description;
    table.add({device.path, cli::Bytes64{device.size_bytes}, device.model, device.serial,
               device.used_by, holds});
  }
  table.print(output);
  return cli::exit_done;
}

void print_superblock(const std::string& path, const disk::Superblock& made,
                      const cli::OutputOptions& output) {
  cli::Table table({{"device", "DEVICE"},
                    {"disk", "DISK"},
                    {"cluster", "CLUSTER"},
                    {"size", "SIZE"},
                    {"data", "DATA"},
                    {"log", "LOG"}});
  char cluster[17];
  std::snprintf(cluster, sizeof cluster, "%016llx", static_cast<unsigned long long>(made.cluster));
  table.add({path, uint64_t{made.disk}, std::string(cluster),
             cli::Bytes64{made.layout.device_bytes}, cli::Bytes64{made.layout.data_bytes},
             cli::Bytes64{made.layout.log_bytes}});
  table.print(output);
}

Result<ClusterId> cluster_of(const std::string& text, const cli::ClusterOptions& options) {
  if (text.empty()) {
    SP_TRY(auto config, options.load());
    return config.cluster_id;
  }
  std::array<std::byte, 8> bytes{};
  ClusterId id = 0;
  const bool good = from_hex(text, bytes);
  for (const std::byte byte : bytes) id = id << 8 | std::to_integer<ClusterId>(byte);
  if (!good || id == 0)
    return Error(Code::invalid,
                 "--cluster: the id of a cluster is 16 hexadecimal digits, not all zero");
  return id;
}

}  // namespace

int main(int argc, char** argv) {
  cli::Options options("sp-disk-init", "Make a device or a file a disk of a cluster.");
  disk::InitRequest request;
  std::string cluster_text;
  std::optional<uint64_t> id;
  bool list = false, sparse = false;
  cli::ClusterOptions cluster;
  cli::OutputOptions output;
  options.optional_argument("DEVICE", request.path, "Device or file to format.")
      .number("--id", 1, limits::disks_max - 1, id, "Id of the disk in its cluster.")
      .text("--cluster", "ID", cluster_text,
            "Id of the cluster, 16 hexadecimal digits; otherwise that of sp.toml(5).")
      .size("--size", request.create_bytes, "Make DEVICE as a file of this size.")
      .flag("--sparse", sparse,
            "Do not write all of a file: blocks are allocated on their first use.")
      .flag("--dry-run", request.dry_run,
            "Check everything and show what would be made, but write nothing.")
      .list("--force-overwrite", "NAME", request.overwrite,
            "Lose what DEVICE holds, by the name that the refusal gives. May be repeated.")
      .flag("--list", list, "List block devices and what they hold.");
  cluster.add(options);
  output.add(options);
  options.check([&]() -> Status {
    if (list && !request.path.empty()) return Error(Code::invalid, "--list takes no DEVICE");
    if (!list && (request.path.empty() || !id))
      return Error(Code::invalid, "DEVICE and --id are needed");
    return {};
  });
  if (auto code = options.parse(argc, argv)) return *code;
  if (list) return list_devices(output);

  auto cluster_id = cluster_of(cluster_text, cluster);
  if (!cluster_id.ok()) return cli::fail("sp-disk-init", cluster_id.error());
  request.cluster = *cluster_id;
  request.disk = static_cast<DiskId>(*id);
  request.write_in_full = !sparse;
  auto host = io::RealHost::create({.name = "sp-disk-init", .log_least = LogLevel::warning});
  if (!host.ok()) return cli::fail("sp-disk-init", host.error());
  std::optional<Result<disk::Superblock>> made;
  disk::initialise((*host)->host(), request,
                   [&made](Result<disk::Superblock> result) { made = std::move(result); });
  (*host)->run_until([&made] { return made.has_value(); }, std::chrono::hours(24 * 365));
  if (!made->ok()) return cli::fail("sp-disk-init", made->error());
  print_superblock(request.path, **made, output);
  return cli::exit_done;
}
