// One run of sp-bench: attach, load, measure, print, detach.
#pragma once
#include <memory>
#include <string>

#include "bench/load.h"
#include "cli/daemon.h"
#include "cli/output.h"

namespace sp::bench {

struct RunOptions {
  std::string volume;
  LoadOptions load;
  bool force = false;
  std::chrono::milliseconds timeout{30000};  // of attaching
};

// Ends the daemon when done, with an error when any operation failed.
Result<std::shared_ptr<void>> start_run(cli::Daemon& daemon, const cli::Config& config,
                                        const cli::NodeConfig& node, const RunOptions& options,
                                        const cli::OutputOptions& output);

}  // namespace sp::bench
