// sp-status: one screen of the cluster's health.
//   sp-status [--quiet]
// Exit codes: 0 all is well; 4 warnings: redundancy or spare is reduced, data is served; 1
// critical: something does not serve; 7 no quorum, or nobody answers. Others: sp(7).
#include <cstdio>

#include "cli/exit_code.h"
#include "cli/health.h"
#include "cli/remote.h"

using namespace sp;

int main(int argc, char** argv) {
  cli::Options options("sp-status", "One screen of the cluster's health.");
  cli::Remote remote(options);
  bool quiet = false;
  options.flag("-q,--quiet", quiet, "Print nothing; the exit code tells.");
  options.run([&] {
    const auto status = remote.get("SpStatus");
    if (!status.ok()) return remote.failed(status.error());
    const std::string text = cli::health_text(*status, remote.output);
    if (!quiet) std::fwrite(text.data(), 1, text.size(), stdout);
    return cli::health_exit_code(*status);
  });
  return options.execute(argc, argv);
}
