#include "io/sim_buggify.h"

#include <algorithm>

#include "base/checksum.h"

namespace sp::io {

SimBuggify::SimBuggify(uint64_t seed, std::string host, const bool& on)
    : seed_(mix64(seed ^ 0xb466u)), host_(std::move(host)), on_(on), states_(buggify_points()) {}

SimBuggify::State SimBuggify::make_state(size_t point) const {
  const BuggifyPoint& row = buggify_point(point);
  SeededRandom of_run(seed_);
  constexpr uint64_t shares[] = {10, 25, 60};
  const uint64_t share = shares[of_run.below(std::size(shares))];
  const uint64_t name = crc64(as_bytes(row.name));
  SeededRandom of_point(seed_ ^ name);
  constexpr uint32_t rates[] = {5, 50, 250, 1000};
  const bool active = of_point.below(100) < share;
  const uint32_t rate = std::min(rates[of_point.below(std::size(rates))], 10 * row.percent_max);
  return {active ? rate : 0, SeededRandom(mix64(seed_ ^ name) ^ crc64(as_bytes(host_)))};
}

uint32_t SimBuggify::draw(size_t point) {
  if (!on_) return 0;
  auto& state = states_[point];
  if (!state) state = make_state(point);
  if (state->per_thousand == 0 || state->random.below(1000) >= state->per_thousand) return 0;
  buggify_hits[point].fetch_add(1, std::memory_order_relaxed);
  return 1 + static_cast<uint32_t>(state->random.below(UINT32_MAX));
}

}  // namespace sp::io
