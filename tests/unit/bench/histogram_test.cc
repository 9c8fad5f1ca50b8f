#include "bench/histogram.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <vector>

#include "io/random.h"

using namespace sp;
using bench::Histogram;

TEST_CASE("percentiles are within one bucket of the sorted values") {
  io::SeededRandom random(7);
  Histogram histogram;
  std::vector<int64_t> values;
  for (int i = 0; i < 20000; ++i) {
    values.push_back(static_cast<int64_t>(random.number() >> (20 + random.below(43))));
    histogram.add(values.back());
  }
  std::sort(values.begin(), values.end());
  for (const double share : {0.0, 0.01, 0.5, 0.9, 0.99, 0.999, 1.0}) {
    const auto rank = static_cast<size_t>(std::max(1.0, std::ceil(share * 20000.0)));
    const int64_t exact = values[rank - 1];
    CHECK(histogram.percentile(share) >= exact);
    CHECK(histogram.percentile(share) <= exact + exact / 32 + 1);
  }
  CHECK(histogram.most() == values.back());
  CHECK(histogram.least() == values.front());
  CHECK(histogram.count() == 20000);
}

TEST_CASE("small values are exact, and nothing falls outside") {
  Histogram histogram;
  CHECK(histogram.percentile(0.5) == 0);
  CHECK(histogram.mean() == 0);
  for (int64_t value = 0; value < 64; ++value) histogram.add(value);
  CHECK(histogram.percentile(0.5) == 31);
  CHECK(histogram.mean() == doctest::Approx(31.5));
  histogram.add(-5);
  histogram.add(INT64_MAX);
  CHECK(histogram.least() == 0);
  CHECK(histogram.percentile(1) == (int64_t{1} << 45) - 1);
}

TEST_CASE("two that are merged are as one") {
  Histogram a, b, both;
  for (int64_t i = 0; i < 1000; ++i) {
    (i % 3 == 0 ? a : b).add(i * i);
    both.add(i * i);
  }
  a.merge(b);
  for (const double share : {0.1, 0.5, 0.99}) CHECK(a.percentile(share) == both.percentile(share));
  CHECK(a.mean() == both.mean());
  CHECK(a.count() == both.count());
}
