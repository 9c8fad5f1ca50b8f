// sp-disk-check: reads everything that a disk holds, with its server stopped, and says what is
// wrong, where, and what to do. Writes nothing.
//
//   sp-disk-check [--no-data] [--summary|--digest] DEVICE
//   sp-disk-check --locate VOLUME:OBJECT:BLOCK DEVICE
//
// Exit codes: 0 clean; 3 no such device, no such block; 5 a server holds the device; 9 something is
// damaged; others as in sp(7).
#include <fmt/format.h>
#include <unistd.h>

#include <cstdio>

#include "base/units.h"
#include "cli/exit_code.h"
#include "cli/output.h"
#include "disk_check_tables.h"
#include "io/real_host.h"
#include "store/check.h"

using namespace sp;

namespace {

constexpr const char* program = "sp-disk-check";
int print_location(const Result<store::Location>& found, const cli::OutputOptions& output) {
  if (!found.ok()) return cli::fail(program, found.error());
  cli::Table table({{"offset", "OFFSET"}, {"version", "VERSION"}, {"crc64", "CRC64"}});
  table.add({found->device_offset,
             fmt::format("{}.{}", found->version.epoch(), found->version.sequence()),
             fmt::format("{:016x}", found->crc)});
  table.print(output);
  return cli::exit_done;
}

}  // namespace

int main(int argc, char** argv) {
  cli::Options options(program, "Verify a disk offline.");
  std::string device, where;
  bool no_data = false, summary = false, digest = false;
  cli::OutputOptions output;
  options.argument("DEVICE", device, "Device or file of the disk; its server must be stopped.")
      .flag("--no-data", no_data,
            "Verify superblocks, log and tables only, not the content of blocks.")
      .flag("--summary", summary, "Print the counts only, not the findings.")
      .flag("--digest", digest,
            "Print a digest of each set that the disk holds, to compare copies.")
      .text("--locate", "VOLUME:OBJECT:BLOCK", where,
            "Print where on the device a block lies, instead of checking.");
  output.add(options);
  if (auto code = options.parse(argc, argv)) return *code;

  auto block =
      where.empty() ? Result<store::BlockName>(store::BlockName{}) : store::parse_block_name(where);
  if (!block.ok()) return cli::fail(program, block.error());
  auto real = io::RealHost::create({.name = program, .log_least = LogLevel::warning});
  if (!real.ok()) return cli::fail(program, real.error());
  io::OpenOptions opening;
  opening.mode = io::OpenOptions::Mode::read_only;
  io::Host& host = (*real)->host();
  auto disk = host.disks.open(device, opening);
  if (!disk.ok()) return cli::fail(program, disk.error());
  constexpr auto long_enough = std::chrono::hours(24 * 365);
  if (!where.empty()) {
    std::optional<Result<store::Location>> found;
    store::locate(host, std::move(*disk), *block,
                  [&found](Result<store::Location> result) { found = std::move(result); });
    (*real)->run_until([&found] { return found.has_value(); }, long_enough);
    return print_location(*found, output);
  }
  store::CheckOptions how;
  how.read_data = !no_data;
  how.digests = digest;
  if (isatty(STDERR_FILENO) == 1)
    how.progress = [](uint64_t done, uint64_t total) {
      std::fprintf(stderr, "\r%s of %s verified ", format_size(done).c_str(),
                   format_size(total).c_str());
    };
  std::optional<Result<store::Report>> report;
  store::check(host, std::move(*disk), how,
               [&report](Result<store::Report> result) { report = std::move(result); });
  (*real)->run_until([&report] { return report.has_value(); }, long_enough);
  if (how.progress) std::fputs("\n", stderr);
  if (!report->ok()) return cli::fail(program, report->error());
  if (digest)
    print_digests(**report, output);
  else
    print_report(device, **report, summary, output);
  return (*report)->worst() == store::Severity::damage ? cli::exit_damaged : cli::exit_done;
}
