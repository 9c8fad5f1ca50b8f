// Value: a JSON value that came from outside, and Json: JSON text under construction.
//
// parse() is bounded: at most `bytes_max` bytes, depth 16, no duplicate keys, UTF-8 only; anything
// else is Code::invalid with the place of the fault. Numbers are integers or doubles; what does not
// fit 64 bits becomes a double. Plain values, owned by whoever holds them.
#pragma once
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

#include "base/limits.h"
#include "base/result.h"

namespace sp::api {

class Value {
 public:
  using Array = std::vector<Value>;
  using Object =
      std::vector<std::pair<std::string, Value>>;  // in the order of the text; keys are unique

  Value() = default;
  explicit Value(
      std::variant<std::monostate, bool, int64_t, double, std::string, Array, Object> value)
      : value_(std::move(value)) {}

  bool is_null() const { return std::holds_alternative<std::monostate>(value_); }
  const bool* boolean() const { return std::get_if<bool>(&value_); }
  const int64_t* integer() const { return std::get_if<int64_t>(&value_); }
  const double* real() const { return std::get_if<double>(&value_); }
  const std::string* text() const { return std::get_if<std::string>(&value_); }
  const Array* array() const { return std::get_if<Array>(&value_); }
  const Object* object() const { return std::get_if<Object>(&value_); }
  Array* array() { return std::get_if<Array>(&value_); }
  Object* object() { return std::get_if<Object>(&value_); }

  // For readers of answers: a missing key, or another type, gives the null value, "", 0, false, or
  // nothing to iterate over.
  const Value& operator[](std::string_view key) const;
  std::string text_or_empty() const;  // a number is written out
  int64_t integer_or_zero() const;
  bool boolean_or_false() const;
  const Array& elements() const;
  const Object& members() const;

 private:
  std::variant<std::monostate, bool, int64_t, double, std::string, Array, Object> value_;
};

Result<Value> parse_json(std::string_view text, size_t bytes_max = limits::api_json_bytes_max);

std::string to_json(const Value& value);

// Builds JSON by appending; commas are its affair, pairing of begin and end the caller's (asserted
// at the end).
class Json {
 public:
  Json& begin_object() { return open('{'); }
  Json& end_object() { return close('}'); }
  Json& begin_array() { return open('['); }
  Json& end_array() { return close(']'); }
  Json& key(std::string_view name);
  Json& text(std::string_view value);  // invalid UTF-8 becomes U+FFFD
  Json& number(int64_t value);
  Json& boolean(bool value);
  Json& null();
  Json& raw(std::string_view json);  // a value that is JSON already
  // key(name) and the value.
  Json& put(std::string_view name, std::string_view value) { return key(name).text(value); }
  Json& put_number(std::string_view name, uint64_t value) {
    return key(name).number(static_cast<int64_t>(value));
  }
  Json& put_boolean(std::string_view name, bool value) { return key(name).boolean(value); }
  template <class Numbers>
  Json& put_numbers(std::string_view name, const Numbers& values) {
    key(name).begin_array();
    for (const auto value : values) number(static_cast<int64_t>(value));
    return end_array();
  }
  std::string take();

 private:
  Json& open(char bracket);
  Json& close(char bracket);
  void comma();
  std::string out_;
  std::string open_;   // brackets not closed yet
  bool first_ = true;  // nothing was written since the last bracket or key
};

}  // namespace sp::api
