// The whole data path under faults, many seeds. Without arguments: a fixed set of seeds. To search
// or replay:
//   sim_data_path --seed N --runs M [--until-failure] [--verbose]
#include <doctest/doctest.h>

#include <chrono>
#include <cstdio>
#include <fstream>
#include <string>
#include <vector>

#include "run.h"

namespace sp::sim {
namespace {

struct Arguments {
  uint64_t seed = 1;
  uint64_t runs = 40;
  bool verbose = false, until_failure = false;
};

// The test runner owns argv; what it does not know is ours.
Arguments arguments() {
  Arguments out;
  std::ifstream file("/proc/self/cmdline", std::ios::binary);
  std::vector<std::string> words;
  std::string word;
  while (std::getline(file, word, '\0')) words.push_back(word);
  for (size_t i = 0; i < words.size(); ++i) {
    if (words[i] == "--verbose") out.verbose = true;
    if (words[i] == "--until-failure") out.until_failure = true;
    if (i + 1 == words.size()) continue;
    if (words[i] == "--seed") out.seed = std::stoull(words[i + 1]);
    if (words[i] == "--runs") out.runs = std::stoull(words[i + 1]);
  }
  return out;
}

TEST_CASE("whatever fails, acknowledged writes stay, reads are explained, and everything heals") {
  const Arguments given = arguments();
  uint64_t operations = 0, failed = 0;
  double simulated = 0;
  const auto begin = std::chrono::steady_clock::now();
  for (uint64_t seed = given.seed; seed < given.seed + given.runs; ++seed) {
    const RunResult result = run(seed, given.verbose);
    operations += result.operations;
    simulated += result.simulated_seconds;
    if (result.failure.empty()) continue;
    ++failed;
    std::fflush(stdout);
    std::printf("seed %llu: %s\n  replay: sim_data_path --seed %llu --runs 1 --verbose\n",
                static_cast<unsigned long long>(seed), result.failure.c_str(),
                static_cast<unsigned long long>(seed));
    if (!given.until_failure) continue;
    std::printf("found by sim_data_path after %llu seeds\n",
                static_cast<unsigned long long>(seed - given.seed + 1));
    break;
  }
  const double real =
      std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
  std::printf(
      "%llu runs, %llu failed, %llu operations, %.0f simulated seconds in %.1f s: %.0f x real "
      "time\n",
      static_cast<unsigned long long>(given.runs), static_cast<unsigned long long>(failed),
      static_cast<unsigned long long>(operations), simulated, real, simulated / real);
  CHECK_EQ(failed, 0);
}

TEST_CASE("the same seed gives the same run") {
  const Arguments given = arguments();
  const RunResult first = run(given.seed, false);
  const RunResult second = run(given.seed, false);
  CHECK_EQ(first.trace_hash, second.trace_hash);
  CHECK_EQ(first.operations, second.operations);
}

}  // namespace
}  // namespace sp::sim
