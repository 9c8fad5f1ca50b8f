// Runs every file of the directories named on the command line through a fuzz target once. Where
// the target has several parsers (parsers.h), each of them has to accept some of the files.
#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <vector>

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size);
// The first parser that none of the inputs got through, or -1. Null for targets without parsers.
[[gnu::weak]] extern int (*fuzz_unreached)();

int main(int argc, char** argv) {
  size_t files = 0;
  for (int i = 1; i < argc; ++i) {
    std::vector<std::filesystem::path> paths;
    for (const auto& entry : std::filesystem::directory_iterator(argv[i]))
      paths.push_back(entry.path());
    std::sort(paths.begin(), paths.end());
    for (const auto& path : paths) {
      std::ifstream in(path, std::ios::binary);
      const std::vector<char> bytes{std::istreambuf_iterator<char>(in), {}};
      LLVMFuzzerTestOneInput(reinterpret_cast<const uint8_t*>(bytes.data()), bytes.size());
      ++files;
    }
  }
  std::printf("%zu inputs\n", files);
  if (&fuzz_unreached != nullptr && fuzz_unreached() >= 0) {
    std::printf("no input is accepted by parser %d\n", fuzz_unreached());
    return 1;
  }
  return files > 0 ? 0 : 1;  // an empty corpus tests nothing
}
