#include "api/value.h"

#include <doctest/doctest.h>

using namespace sp;
using namespace sp::api;

namespace {

std::string fault_of(const std::string& text) {
  const auto value = parse_json(text);
  return value.ok() ? "" : value.error().message();
}

bool contains(const std::string& text, std::string_view part) {
  return text.find(part) != std::string::npos;
}

}  // namespace

TEST_CASE("JSON that is sound but hostile is refused for what it is") {
  const auto nested = [](size_t depth) {
    return std::string(depth, '[') + std::string(depth, ']');
  };
  CHECK(fault_of(nested(16)) == "");
  CHECK(contains(fault_of(nested(17)), "nested deeper than 16"));
  CHECK(contains(fault_of(nested(1'000'000)), "nested deeper than 16"));
  CHECK(contains(fault_of(R"({"a":1,"b":2,"a":3})"), "the key 'a' is given twice"));
  CHECK(contains(fault_of(R"([{"a":{"x":1,"x":1}}])"), "the key 'x' is given twice"));
  CHECK(contains(fault_of("\"" + std::string(limits::api_json_bytes_max, 'x') + "\""), "at most"));
  CHECK(contains(fault_of("[1,2"), "not valid at byte"));
  CHECK(contains(fault_of("\"\xff\""), "not valid"));
  CHECK(fault_of("") != "");
}

TEST_CASE("values are read and written back as they were") {
  const std::string text =
      R"({"n":-7,"big":9223372036854775807,"t":"a\"\\\u0001\u00e9","l":[true,false,null,1.5],"o":{}})";
  const auto value = parse_json(text);
  REQUIRE(value.ok());
  CHECK((*value)["n"].integer_or_zero() == -7);
  CHECK((*value)["big"].integer_or_zero() == INT64_MAX);
  CHECK((*value)["t"].text_or_empty() == "a\"\\\x01\xc3\xa9");
  CHECK((*value)["l"].elements().size() == 4);
  CHECK((*value)["none"]["deeper"].is_null());
  CHECK(
      to_json(*value) ==
      R"({"n":-7,"big":9223372036854775807,"t":"a\"\\\u0001é","l":[true,false,null,1.5],"o":{}})");
  CHECK(parse_json("18446744073709551615")->integer() == nullptr);  // does not fit: a double
}

TEST_CASE("text under construction stays JSON whatever it is given") {
  Json json;
  json.begin_object()
      .put("k\"", std::string_view("\xff\xc0\x80 \xf0\x9f\x98\x80\n", 9))
      .key("l")
      .begin_array()
      .number(1)
      .null()
      .end_array()
      .end_object();
  const std::string text = json.take();
  CHECK(text == "{\"k\\\"\":\"\\ufffd\\ufffd\\ufffd \xf0\x9f\x98\x80\\u000a\",\"l\":[1,null]}");
  CHECK(parse_json(text).ok());
}
