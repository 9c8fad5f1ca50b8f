#include "disk_check_tables.h"

#include <fmt/format.h>

namespace sp {

namespace {
constexpr const char* severities[] = {"note", "warning", "damage"};
}  // namespace

void print_report(const std::string& device, const store::Report& report, bool summary_only,
                  const cli::OutputOptions& output) {
  cli::Table findings({{"severity", "SEVERITY"},
                       {"place", "PLACE"},
                       {"explanation", "EXPLANATION"},
                       {"advice", "WHAT TO DO"}});
  for (const store::Finding& finding : report.findings)
    findings.add({std::string(severities[static_cast<int>(finding.severity)]), finding.place,
                  finding.explanation, finding.advice});
  const bool people = output.format == cli::Format::table;
  if (!summary_only && (!people || findings.rows() > 0)) findings.print(output);
  if (!summary_only && !people) return;
  cli::Table summary({{"device", "DEVICE"},
                      {"disk", "DISK"},
                      {"objects", "OBJECTS"},
                      {"blocks_verified", "BLOCKS VERIFIED"},
                      {"blocks_damaged", "DAMAGED"},
                      {"blocks_undecided", "UNDECIDED"},
                      {"findings", "FINDINGS"},
                      {"state", "STATE"}});
  const bool damaged = report.worst() == store::Severity::damage;
  summary.add({device, uint64_t{report.superblock.disk}, report.objects, report.blocks_verified,
               report.blocks_damaged, report.blocks_undecided,
               report.findings.size() + report.findings_omitted,
               std::string(damaged ? "damaged" : "clean")});
  summary.print(output);
}

void print_digests(const store::Report& report, const cli::OutputOptions& output) {
  cli::Table table({{"set", "SET"},
                    {"disk", "DISK"},
                    {"recovering", "RECOVERING"},
                    {"blocks", "BLOCKS"},
                    {"digest", "DIGEST"}});
  for (const store::SetDigest& digest : report.digests)
    table.add({fmt::format("{}.{}", digest.set.group, digest.set.index),
               uint64_t{report.superblock.disk}, digest.recovering, digest.blocks,
               fmt::format("{:016x}", digest.hash)});
  table.print(output);
}

}  // namespace sp
