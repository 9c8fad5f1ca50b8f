// The tables of sp-disk-check: what store::check found, and the digests of the copies that it read.
#pragma once
#include <string>

#include "cli/output.h"
#include "store/check.h"

namespace sp {

// Findings, then counts; for programs one of the two.
void print_report(const std::string& device, const store::Report& report, bool summary_only,
                  const cli::OutputOptions& output);
void print_digests(const store::Report& report, const cli::OutputOptions& output);

}  // namespace sp
