// Time as a service sees it. `now` is monotonic, with an arbitrary origin that differs from host to
// host; all leases and timeouts use it. `wall_ms` (Unix time, milliseconds) only labels things for
// people: it may jump.
#pragma once
#include <chrono>
#include <compare>
#include <cstdint>

namespace sp::io {

using Duration = std::chrono::nanoseconds;

struct Instant {
  int64_t ns = 0;
  auto operator<=>(const Instant&) const = default;
  Instant operator+(Duration d) const { return {ns + d.count()}; }
  Instant operator-(Duration d) const { return {ns - d.count()}; }
  Duration operator-(Instant other) const { return Duration(ns - other.ns); }
  static constexpr Instant never() { return {INT64_MAX}; }
};

class Clock {
 public:
  virtual ~Clock() = default;
  virtual Instant now() const = 0;
  virtual int64_t wall_ms() const = 0;
};

}  // namespace sp::io
