// Fuzz target of the control API: requests, with a line ";" between them. The first line of each is
// "METHOD path", the rest the JSON of the request. Every request is answered once, with JSON that
// parses, and with success or an error that has a name. The replay fails when there is a call to
// which no input got an answer of success.
#include <cstdlib>

#include "api/api.h"
#include "api/calls.h"
#include "api/value.h"
#include "fuzz/parsers.h"
#include "unit/api/fake_member.h"

namespace {

using namespace sp;
using namespace sp::api;
using sp::test::require;

constexpr size_t requests_max = 16;

// The call that a request which succeeded was one of: that of whose path it has most.
size_t call_of(std::string_view method, std::string_view path) {
  size_t best = 0, best_size = 0;
  for (size_t i = 0; i < calls().size(); ++i) {
    const std::string_view fixed = calls()[i].path.substr(0, calls()[i].path.find('{'));
    if (calls()[i].method != method || !path.starts_with(fixed) || fixed.size() < best_size)
      continue;
    best = i;
    best_size = fixed.size();
  }
  return best;
}

void request(api::test::Bench& bench, std::string_view input) {
  const size_t line_end = std::min(input.find('\n'), input.size());
  const std::string_view line = input.substr(0, line_end);
  const size_t space = std::min(line.find(' '), line.size());
  const std::string method(line.substr(0, space));
  const std::string path(space < line.size() ? line.substr(space + 1) : "");
  const std::string json(line_end < input.size() ? input.substr(line_end + 1) : "");

  const auto answer = bench.start(method, path, json);
  bench.world.run_until([&] { return answer->has_value(); }, std::chrono::minutes(10));
  require(answer->has_value());
  const auto value = parse_json((*answer)->body);
  require(value.ok());
  const bool success = (*answer)->status == 200;
  if (success) sp::test::accepted |= uint64_t{1} << call_of(method, path);
  require(success || !(*value)["error"]["name"].text_or_empty().empty());
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  std::string_view input(reinterpret_cast<const char*>(data), std::min<size_t>(size, 65536));
  api::test::Bench bench;
  for (size_t i = 0; i < requests_max && (i == 0 || !input.empty()); ++i) {
    constexpr std::string_view between = "\n;\n";
    const size_t end = std::min(input.find(between), input.size());
    request(bench, input.substr(0, end));
    input.remove_prefix(std::min(end + between.size(), input.size()));
  }
  return 0;
}
// Of replay.cc.
extern int (*fuzz_unreached)();
int (*fuzz_unreached)() = [] {
  sp::test::require(calls().size() <= 64);
  return sp::test::first_unreached(calls().size());
};
