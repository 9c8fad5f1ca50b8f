// The calls of a Bench that check what every answer must have.
#include <doctest/doctest.h>

#include "fake_member.h"

namespace sp::api::test {

using namespace std::chrono_literals;

Response Bench::call(const std::string& method, const std::string& path, const std::string& json,
                     const std::string& token) {
  std::optional<Response> answer;
  const std::string full = path.starts_with('/') ? path : "/ctrl/1.0/" + path;
  api->handle({method, full, json, token},
              [&answer](Response response) { answer = std::move(response); });
  CHECK_FALSE(answer.has_value());  // never inside the call
  REQUIRE(world.run_until([&] { return answer.has_value(); }, 10s));
  return *answer;
}

Value Bench::data(const std::string& method, const std::string& path, const std::string& json) {
  const Response response = call(method, path, json);
  CHECK_MESSAGE(response.status == 200, path << " " << json << ": " << response.body);
  auto value = parse_json(response.body);
  REQUIRE(value.ok());
  CHECK((*value)["generation"].integer() != nullptr);
  return (*value)["data"];
}

std::string Bench::error(const std::string& method, const std::string& path,
                         const std::string& json) {
  const Response response = call(method, path, json);
  CHECK_MESSAGE(response.status != 200, path << " " << json << ": " << response.body);
  auto value = parse_json(response.body);
  REQUIRE(value.ok());
  CHECK((*value)["error"]["descr"].text() != nullptr);
  CHECK((*value)["error"]["transient"].boolean() != nullptr);
  return (*value)["error"]["name"].text_or_empty();
}

}  // namespace sp::api::test
