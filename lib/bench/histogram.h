// Histogram: latencies in nanoseconds, counted in buckets whose width is at most 1/32 of their
// value (log-linear, as in HdrHistogram), so that percentiles are exact to 3 %, memory is constant
// and adding is a few instructions. Plain value.
#pragma once
#include <array>
#include <cstdint>

namespace sp::bench {

class Histogram {
 public:
  // Values below 0 count as 0, values above about 9 hours as that.
  void add(int64_t ns);
  void merge(const Histogram& other);

  uint64_t count() const { return count_; }
  int64_t least() const { return count_ == 0 ? 0 : least_; }
  int64_t most() const { return most_; }
  double mean() const;
  // The smallest value that at least `share` (0..1) of all are not above; 0 when there are none.
  int64_t percentile(double share) const;

 private:
  static constexpr uint32_t steps_log2 = 5;  // buckets to each power of two: 32
  static constexpr uint32_t powers = 45 - steps_log2;
  static uint32_t bucket_of(uint64_t ns);
  static uint64_t top_of(uint32_t bucket);

  std::array<uint64_t, (powers + 1) << steps_log2> buckets_{};
  uint64_t count_ = 0;
  int64_t least_ = INT64_MAX, most_ = 0;
  double sum_ = 0;
};

}  // namespace sp::bench
