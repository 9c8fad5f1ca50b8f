#include "base/units.h"

#include <fmt/format.h>

#include <charconv>
#include <cmath>

namespace sp {

namespace {

Error bad(std::string_view what, std::string_view text, std::string_view forms) {
  return {Code::invalid, fmt::format("'{}' is not a {}: write {}", text, what, forms)};
}

// Splits "12.5abc" into 12.5 and "abc". False when there is no number in front.
bool split_number(std::string_view text, double& number, std::string_view& suffix) {
  const auto [end, error] =
      std::from_chars(text.data(), text.data() + text.size(), number, std::chars_format::fixed);
  if (error != std::errc() || number < 0 || !std::isfinite(number)) return false;
  suffix = text.substr(static_cast<size_t>(end - text.data()));
  while (!suffix.empty() && suffix.front() == ' ') suffix.remove_prefix(1);
  return true;
}

}  // namespace

Result<uint64_t> parse_size(std::string_view text) {
  constexpr std::string_view forms = "a number with k, M, G, T or P, like 4k, 10M or 2GiB";
  double number = 0;
  std::string_view suffix;
  if (!split_number(text, number, suffix)) return bad("size", text, forms);
  int power = 0;
  if (!suffix.empty() && suffix != "B") {
    constexpr std::string_view letters = "kmgtp";
    const auto at = letters.find(static_cast<char>(suffix[0] | 0x20));
    if (at == std::string_view::npos) return bad("size", text, forms);
    power = static_cast<int>(at) + 1;
    suffix.remove_prefix(1);
    if (!suffix.empty() && suffix != "B" && suffix != "iB") return bad("size", text, forms);
  }
  const double bytes = std::ldexp(number, 10 * power);
  if (bytes > 0x1p62) return bad("size", text, "less than 4096P");
  if (bytes != std::floor(bytes)) return bad("size", text, "a whole number of bytes");
  // Doubles are exact to 2^53 only; whole numbers without a fraction are parsed exactly.
  if (text.find('.') == std::string_view::npos) {
    uint64_t whole = 0;
    std::from_chars(text.data(), text.data() + text.size(), whole);
    return whole << (10 * power);
  }
  return static_cast<uint64_t>(bytes);
}

Result<std::chrono::microseconds> parse_duration(std::string_view text) {
  constexpr std::string_view forms = "a number with us, ms, s, m, h or d, like 500ms or 10m";
  double number = 0;
  std::string_view suffix;
  if (!split_number(text, number, suffix)) return bad("duration", text, forms);
  double scale = 0;
  if (suffix == "us")
    scale = 1;
  else if (suffix == "ms")
    scale = 1e3;
  else if (suffix.empty() || suffix == "s")
    scale = 1e6;
  else if (suffix == "m")
    scale = 60e6;
  else if (suffix == "h")
    scale = 3600e6;
  else if (suffix == "d")
    scale = 86400e6;
  else
    return bad("duration", text, forms);
  if (number * scale > 1e18) return bad("duration", text, "less than 30 000 years");
  return std::chrono::microseconds(std::llround(number * scale));
}

std::string format_size(uint64_t bytes) {
  if (bytes < 1024) return fmt::format("{} B", bytes);
  constexpr std::string_view units[] = {"KiB", "MiB", "GiB", "TiB", "PiB", "EiB"};
  double value = static_cast<double>(bytes) / 1024;
  size_t unit = 0;
  while (value >= 1024 && unit + 1 < std::size(units)) {
    value /= 1024;
    ++unit;
  }
  return value == std::floor(value) ? fmt::format("{:.0f} {}", value, units[unit])
                                    : fmt::format("{:.1f} {}", value, units[unit]);
}

std::string format_duration(std::chrono::nanoseconds duration) {
  const double ns = static_cast<double>(duration.count());
  if (ns < 1e3) return fmt::format("{} ns", duration.count());
  if (ns < 1e6) return fmt::format("{:.1f} us", ns / 1e3);
  if (ns < 1e9) return fmt::format("{:.1f} ms", ns / 1e6);
  if (ns < 60e9) return fmt::format("{:.1f} s", ns / 1e9);
  const auto seconds = std::llround(ns / 1e9);
  if (seconds < 3600) return fmt::format("{} m {} s", seconds / 60, seconds % 60);
  return fmt::format("{} h {} m", seconds / 3600, seconds / 60 % 60);
}

Result<uint64_t> parse_number(std::string_view text, uint64_t max) {
  uint64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (text.empty() || error != std::errc() || end != text.data() + text.size())
    return Error(Code::invalid, fmt::format("'{}' is not a whole number", text));
  if (value > max)
    return Error(Code::invalid, fmt::format("{} is too large: at most {}", text, max));
  return value;
}

}  // namespace sp
