#include "bench/histogram.h"

#include <algorithm>
#include <bit>
#include <cmath>

namespace sp::bench {

// Values below 32 have a bucket each; from there on each power of two has 32.
uint32_t Histogram::bucket_of(uint64_t ns) {
  constexpr uint64_t steps = 1u << steps_log2;
  if (ns < steps) return static_cast<uint32_t>(ns);
  const auto power = static_cast<uint32_t>(std::bit_width(ns)) - 1 - steps_log2;
  return ((power + 1) << steps_log2) + static_cast<uint32_t>((ns >> power) - steps);
}

uint64_t Histogram::top_of(uint32_t bucket) {
  constexpr uint32_t steps = 1u << steps_log2;
  if (bucket < steps) return bucket;
  const uint32_t power = (bucket >> steps_log2) - 1;
  const uint64_t from = uint64_t{steps + bucket % steps} << power;
  return from + (uint64_t{1} << power) - 1;
}

void Histogram::add(int64_t ns) {
  constexpr int64_t ceiling = (int64_t{1} << 45) - 1;
  ns = std::clamp<int64_t>(ns, 0, ceiling);
  ++buckets_[bucket_of(static_cast<uint64_t>(ns))];
  ++count_;
  sum_ += static_cast<double>(ns);
  least_ = std::min(least_, ns);
  most_ = std::max(most_, ns);
}

void Histogram::merge(const Histogram& other) {
  for (size_t i = 0; i < buckets_.size(); ++i) buckets_[i] += other.buckets_[i];
  count_ += other.count_;
  sum_ += other.sum_;
  least_ = std::min(least_, other.least_);
  most_ = std::max(most_, other.most_);
}

double Histogram::mean() const { return count_ == 0 ? 0 : sum_ / static_cast<double>(count_); }

int64_t Histogram::percentile(double share) const {
  if (count_ == 0) return 0;
  const double wanted = std::ceil(std::clamp(share, 0.0, 1.0) * static_cast<double>(count_));
  const auto rank = std::max<uint64_t>(1, static_cast<uint64_t>(wanted));
  uint64_t seen = 0;
  for (uint32_t bucket = 0; bucket < buckets_.size(); ++bucket) {
    seen += buckets_[bucket];
    if (seen >= rank)
      return std::min(most_, std::max(least_, static_cast<int64_t>(top_of(bucket))));
  }
  return most_;
}

}  // namespace sp::bench
