// Sizes and durations as people write them. Sizes: a number and an optional suffix k M G T P, with
// or without B or iB; all are powers of 1024 ("4k", "10M", "2GiB"). Durations: a number and us, ms,
// s, m, h, d ("500ms", "10m"); plain numbers are seconds.
#pragma once
#include <chrono>
#include <cstdint>
#include <string>
#include <string_view>

#include "base/result.h"

namespace sp {

Result<uint64_t> parse_size(std::string_view text);
Result<std::chrono::microseconds> parse_duration(std::string_view text);
std::string format_size(uint64_t bytes);                         // "1.5 GiB"; exact below 1024
std::string format_duration(std::chrono::nanoseconds duration);  // "12.3 ms", "4.2 s", "3 m 10 s"
Result<uint64_t> parse_number(std::string_view text, uint64_t max);  // decimal digits only

}  // namespace sp
