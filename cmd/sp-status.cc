// sp-status: one screen of the cluster's health.
//   sp-status [--quiet] [--wait healthy]
// Exit codes: 0 all is well; 4 warnings: redundancy or spare is reduced, data is served; 1
// critical: something does not serve; 6 not healthy in --timeout, with --wait; 7 no quorum, or
// nobody answers. Others: sp(7).
#include <cstdio>

#include "cli/exit_code.h"
#include "cli/health.h"
#include "cli/remote.h"

using namespace sp;

int main(int argc, char** argv) {
  cli::Options options("sp-status", "One screen of the cluster's health.");
  cli::Remote remote(options);
  bool quiet = false;
  std::string wait;
  options.flag("-q,--quiet", quiet, "Print nothing; the exit code tells.");
  options.choice("--wait", {"healthy"}, wait,
                 "Wait until all is well, at most --timeout; then print.");
  options.run([&] {
    const auto status = wait.empty() ? remote.get("SpStatus") : cli::await_health(remote);
    if (!status.ok()) return remote.failed(status.error());
    const std::string text = cli::health_text(*status, remote.output);
    if (!quiet) std::fwrite(text.data(), 1, text.size(), stdout);
    const int code = cli::health_exit_code(*status);
    return !wait.empty() && code != cli::exit_done ? int(cli::exit_timed_out) : code;
  });
  return options.execute(argc, argv);
}
