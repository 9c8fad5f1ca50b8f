// Fuzz target of the control API: the first line of the input is "METHOD path", the rest the JSON
// of the request. Every request is answered once, with JSON that parses, and with success or an
// error that has a name.
#include <cstdlib>

#include "api/api.h"
#include "api/value.h"
#include "unit/api/fake_member.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace sp;
  using namespace sp::api;
  const std::string_view input(reinterpret_cast<const char*>(data), std::min<size_t>(size, 65536));
  const size_t line_end = std::min(input.find('\n'), input.size());
  const std::string_view line = input.substr(0, line_end);
  const size_t space = std::min(line.find(' '), line.size());
  const std::string method(line.substr(0, space));
  const std::string path(space < line.size() ? line.substr(space + 1) : "");
  const std::string json(line_end < input.size() ? input.substr(line_end + 1) : "");

  test::Bench bench;
  const auto answer = bench.start(method, path, json);
  bench.world.run_until([&] { return answer->has_value(); }, std::chrono::minutes(10));
  if (!answer->has_value()) std::abort();
  const auto value = parse_json((*answer)->body);
  if (!value.ok()) std::abort();
  const bool success = (*answer)->status == 200;
  if (!success && (*value)["error"]["name"].text_or_empty().empty()) std::abort();
  return 0;
}
