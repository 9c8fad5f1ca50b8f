// Numbers of clients, which processes of one host claim.
#include "cli/identity.h"

#include <doctest/doctest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <set>

#include "base/client_id.h"

using namespace sp;
using namespace sp::cli;

namespace {

Config config_of_test() {
  Config config;
  config.cluster_id = 0x7e57'0000'0000'0000 + static_cast<uint64_t>(getpid());
  return config;
}

// What another process gets, which ends with it; 0: nothing.
int claimed_by_another(const Config& config, NodeId node) {
  const pid_t child = fork();
  if (child == 0) {
    const auto claimed = claim_client_instance(config, node);
    _exit(claimed.ok() ? *claimed : 0);
  }
  int status = 0;
  REQUIRE(waitpid(child, &status, 0) == child);
  REQUIRE(WIFEXITED(status));
  return WEXITSTATUS(status);
}

}  // namespace

// Drawn, two of them could be the same, and throw each other out (sp-sim seed 5040).
TEST_CASE("two clients of one host never have the same number, and it is free again afterwards") {
  const Config config = config_of_test();
  CHECK(claimed_by_another(config, 1) == 2);
  REQUIRE(claim_client_instance(config, 1).ok());  // kept from here on
  CHECK(claimed_by_another(config, 1) == 3);
  CHECK(claimed_by_another(config, 2) == 2);  // another host
  std::set<uint8_t> numbers{2};
  for (int i = 3; i <= client_instance_max; ++i)
    CHECK(numbers.insert(claim_client_instance(config, 1).value()).second);
  CHECK(claim_client_instance(config, 1).error().code() == Code::refused);
}
