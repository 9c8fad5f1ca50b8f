#include "base/log.h"

#include <cstdio>
#include <utility>

namespace sp {

std::string_view log_level_name(LogLevel level) {
  constexpr std::string_view names[] = {"debug", "info", "warning", "error"};
  return names[static_cast<size_t>(level)];
}

Log::Log(std::string name, LogLevel least, Sink sink)
    : name_(std::move(name)), least_(least), sink_(std::move(sink)) {}

Log Log::to_stderr(std::string name, LogLevel least) {
  return {std::move(name), least, [](LogLevel level, std::string_view line) {
            const auto level_name = log_level_name(level);
            std::fprintf(stderr, "%-7.*s %.*s\n", static_cast<int>(level_name.size()),
                         level_name.data(), static_cast<int>(line.size()), line.data());
          }};
}

Log Log::nowhere() {
  return {"", LogLevel::error, [](LogLevel, std::string_view) {}};
}

void Log::write(LogLevel level, std::string_view event, Fields fields) {
  if (level < least_) return;
  std::string line = name_;
  line.append(": ").append(event);
  for (const LogField& field : fields) {
    line.append(" ").append(field.name()).append("=");
    const bool quote =
        field.text().empty() || field.text().find_first_of(" \"=\n") != std::string_view::npos;
    if (!quote) {
      line.append(field.text());
      continue;
    }
    line.push_back('"');
    for (const char c : field.text()) {
      if (c == '\n') {
        line.append("\\n");
        continue;
      }
      if (c == '"' || c == '\\') line.push_back('\\');
      line.push_back(c);
    }
    line.push_back('"');
  }
  sink_(level, line);
}

}  // namespace sp
