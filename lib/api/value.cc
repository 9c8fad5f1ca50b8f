#include "api/value.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <nlohmann/json.hpp>

#include "base/limits.h"

namespace sp::api {

namespace {

constexpr size_t depth_max = 16;

// Builds Values from the parser's events; no recursion, so depth costs no stack.
class Builder : public nlohmann::json_sax<nlohmann::json> {
 public:
  Value result;
  std::string fault;

  bool null() override { return put(Value()); }
  bool boolean(bool value) override { return put(Value(value)); }
  bool number_integer(int64_t value) override { return put(Value(value)); }
  bool number_unsigned(uint64_t value) override {
    return value > INT64_MAX ? put(Value(static_cast<double>(value)))
                             : put(Value(static_cast<int64_t>(value)));
  }
  bool number_float(double value, const std::string&) override { return put(Value(value)); }
  bool string(std::string& value) override { return put(Value(std::move(value))); }
  bool binary(nlohmann::json::binary_t&) override { return stop("binary data"); }
  bool key(std::string& name) override {
    stack_.back().name = std::move(name);
    return true;
  }
  bool start_object(size_t) override { return push(Value(Value::Object())); }
  bool start_array(size_t) override { return push(Value(Value::Array())); }
  bool end_object() override {
    std::vector<std::string_view> names;
    for (const auto& [name, value] : *stack_.back().value.object()) names.push_back(name);
    std::sort(names.begin(), names.end());
    const auto twice = std::adjacent_find(names.begin(), names.end());
    if (twice != names.end())
      return stop(fmt::format("the key '{}' is given twice", twice->substr(0, 100)));
    return pop();
  }
  bool end_array() override { return pop(); }
  bool parse_error(size_t at, const std::string&, const nlohmann::detail::exception&) override {
    return stop(fmt::format("not valid at byte {}", at));
  }

 private:
  struct Open {
    Value value;
    std::string name;  // of the member being read
  };
  bool stop(std::string why) {
    if (fault.empty()) fault = std::move(why);
    return false;
  }
  bool push(Value value) {
    if (stack_.size() >= depth_max) return stop(fmt::format("nested deeper than {}", depth_max));
    stack_.push_back({std::move(value), {}});
    return true;
  }
  bool pop() {
    Value done = std::move(stack_.back().value);
    stack_.pop_back();
    return put(std::move(done));
  }
  bool put(Value value) {
    if (stack_.empty())
      result = std::move(value);
    else if (auto* array = stack_.back().value.array())
      array->push_back(std::move(value));
    else
      stack_.back().value.object()->emplace_back(std::move(stack_.back().name), std::move(value));
    return true;
  }
  std::vector<Open> stack_;
};

// The length of the valid UTF-8 sequence in front, or 0 (RFC 3629, section 4).
size_t utf8_length(std::string_view text) {
  const auto byte = [&](size_t i) -> unsigned {
    return i < text.size() ? static_cast<unsigned char>(text[i]) : 0u;
  };
  const auto follows = [&](size_t count) {
    for (size_t i = 1; i <= count; ++i) {
      if ((byte(i) & 0xc0) != 0x80) return false;
    }
    return true;
  };
  const unsigned first = byte(0), second = byte(1);
  if (first < 0x80) return 1;
  if (first >= 0xc2 && first <= 0xdf) return follows(1) ? 2 : 0;
  if ((first == 0xe0 && second < 0xa0) || (first == 0xed && second >= 0xa0)) return 0;
  if (first >= 0xe0 && first <= 0xef) return follows(2) ? 3 : 0;
  if ((first == 0xf0 && second < 0x90) || (first == 0xf4 && second >= 0x90)) return 0;
  return first >= 0xf0 && first <= 0xf4 && follows(3) ? 4 : 0;
}

const Value nothing;

}  // namespace

const Value& Value::operator[](std::string_view key) const {
  if (const Object* members = object()) {
    for (const auto& [name, value] : *members) {
      if (name == key) return value;
    }
  }
  return nothing;
}

std::string Value::text_or_empty() const {
  if (const std::string* value = text()) return *value;
  if (const int64_t* value = integer()) return std::to_string(*value);
  return "";
}

int64_t Value::integer_or_zero() const { return integer() != nullptr ? *integer() : 0; }
bool Value::boolean_or_false() const { return boolean() != nullptr && *boolean(); }

const Value::Array& Value::elements() const {
  static const Array none;
  return array() != nullptr ? *array() : none;
}

const Value::Object& Value::members() const {
  static const Object none;
  return object() != nullptr ? *object() : none;
}

Result<Value> parse_json(std::string_view text, size_t bytes_max) {
  if (text.size() > bytes_max)
    return Error(Code::invalid,
                 fmt::format("JSON of {} bytes: at most {}", text.size(), bytes_max));
  Builder builder;
  if (!nlohmann::json::sax_parse(text.begin(), text.end(), &builder))
    return Error(Code::invalid, "JSON: " + (builder.fault.empty() ? "not valid" : builder.fault));
  return std::move(builder.result);
}

namespace {

void write(Json& json, const Value& value) {
  if (value.is_null())
    json.null();
  else if (value.boolean() != nullptr)
    json.boolean(*value.boolean());
  else if (value.integer() != nullptr)
    json.number(*value.integer());
  else if (value.real() != nullptr)
    json.raw(fmt::format("{}", *value.real()));
  else if (value.text() != nullptr)
    json.text(*value.text());
  else if (value.array() != nullptr) {
    json.begin_array();
    for (const Value& element : *value.array()) write(json, element);
    json.end_array();
  } else {
    json.begin_object();
    for (const auto& [name, member] : *value.object()) write(json.key(name), member);
    json.end_object();
  }
}

}  // namespace

std::string to_json(const Value& value) {
  Json json;
  write(json, value);
  return json.take();
}

void Json::comma() {
  if (!first_) out_ += ',';
  first_ = false;
}

Json& Json::open(char bracket) {
  comma();
  out_ += bracket;
  open_ += bracket;
  first_ = true;
  return *this;
}

Json& Json::close(char bracket) {
  SP_ASSERT(!open_.empty() && open_.back() == (bracket == '}' ? '{' : '['));
  open_.pop_back();
  out_ += bracket;
  first_ = false;
  return *this;
}

Json& Json::key(std::string_view name) {
  text(name);
  out_ += ':';
  first_ = true;
  return *this;
}

Json& Json::text(std::string_view value) {
  comma();
  out_ += '"';
  while (!value.empty()) {
    const size_t length = utf8_length(value);
    const char c = value.front();
    if (length == 0)
      out_ += "\\ufffd";
    else if (length > 1)
      out_ += value.substr(0, length);
    else if (c == '"' || c == '\\')
      (out_ += '\\') += c;
    else if (static_cast<unsigned char>(c) < 0x20)
      fmt::format_to(std::back_inserter(out_), "\\u{:04x}", static_cast<unsigned>(c));
    else
      out_ += c;
    value.remove_prefix(std::max<size_t>(length, 1));
  }
  out_ += '"';
  return *this;
}

Json& Json::number(int64_t value) {
  char digits[24];
  const auto end = std::to_chars(digits, digits + sizeof digits, value).ptr;
  return raw({digits, static_cast<size_t>(end - digits)});
}

Json& Json::boolean(bool value) { return raw(value ? "true" : "false"); }
Json& Json::null() { return raw("null"); }

Json& Json::raw(std::string_view json) {
  comma();
  out_ += json;
  return *this;
}

std::string Json::take() {
  SP_ASSERT(open_.empty());
  first_ = true;
  return std::exchange(out_, {});
}

}  // namespace sp::api
