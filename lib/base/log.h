// Structured log lines: a level, an event in plain words, and named fields.
//
//   log.info("set activated", {{"set", 12}, {"epoch", 7}});      ->   info  serve.2: set activated
//   set=12 epoch=7
//
// A Log is given to each service; there is no global one, so that many services can run in one
// process. It only formats and hands lines to its sink; time stamps are the sink's affair (journald
// has its own, the simulator uses virtual time).
#pragma once
#include <cstdint>
#include <functional>
#include <initializer_list>
#include <string>
#include <string_view>
#include <type_traits>

namespace sp {

enum class LogLevel : uint8_t { debug, info, warning, error };

class LogField {
 public:
  template <class T>
  LogField(std::string_view name, const T& value) : name_(name) {
    if constexpr (std::is_same_v<T, bool>)
      text_ = value ? "true" : "false";
    else if constexpr (std::is_integral_v<T>)
      text_ = std::to_string(value);
    else if constexpr (std::is_enum_v<T>)
      text_ = std::to_string(static_cast<long long>(value));
    else
      text_ = std::string_view(value);
  }
  std::string_view name() const { return name_; }
  std::string_view text() const { return text_; }

 private:
  std::string_view name_;
  std::string text_;
};

class Log {
 public:
  using Sink = std::function<void(LogLevel, std::string_view line)>;
  using Fields = std::initializer_list<LogField>;

  Log(std::string name, LogLevel least, Sink sink);
  static Log to_stderr(std::string name, LogLevel least = LogLevel::info);
  static Log nowhere();

  void debug(std::string_view event, Fields fields = {}) { write(LogLevel::debug, event, fields); }
  void info(std::string_view event, Fields fields = {}) { write(LogLevel::info, event, fields); }
  void warning(std::string_view event, Fields fields = {}) {
    write(LogLevel::warning, event, fields);
  }
  void error(std::string_view event, Fields fields = {}) { write(LogLevel::error, event, fields); }
  bool enabled(LogLevel level) const { return level >= least_; }

 private:
  void write(LogLevel level, std::string_view event, Fields fields);
  std::string name_;
  LogLevel least_;
  Sink sink_;
};

std::string_view log_level_name(LogLevel level);

}  // namespace sp
