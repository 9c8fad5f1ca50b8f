#include "sim/fault_plan.h"

#include <charconv>

#include "base/checksum.h"
#include "io/random.h"

namespace sp::sim {

namespace {

constexpr size_t kind_count = static_cast<size_t>(FaultKind::count);
constexpr size_t first_weight = static_cast<size_t>(Knob::w_service);
static_assert(first_weight + kind_count - 1 == static_cast<size_t>(Knob::w_upgrade));
constexpr size_t numbers_max = 1'000'000;

FaultKind draw_kind(const Knobs& knobs, io::Random& random) {
  uint64_t total = 0;
  for (size_t i = 0; i < kind_count; ++i)
    total += knobs.number(static_cast<Knob>(first_weight + i));
  uint64_t draw = random.below(total);
  size_t kind = 0;
  for (;; ++kind) {
    const uint64_t weight = knobs.number(static_cast<Knob>(first_weight + kind));
    if (draw < weight) return static_cast<FaultKind>(kind);
    draw -= weight;
  }
}

}  // namespace

std::string_view fault_name(FaultKind kind) {
  return knob_rows()[first_weight + static_cast<size_t>(kind)].name.substr(2);
}

std::vector<Fault> plan_faults(uint64_t seed, const Knobs& knobs, io::Duration time) {
  std::vector<Fault> faults;
  uint64_t total = 0;
  for (size_t i = 0; i < kind_count; ++i)
    total += knobs.number(static_cast<Knob>(first_weight + i));
  if (total == 0) return faults;
  io::SeededRandom random(mix64(seed ^ 0xfa17u));
  const auto interval_us = static_cast<uint64_t>(knobs[Knob::interval_ms]) * 1000;
  io::Duration at{};
  for (;;) {
    at += std::chrono::microseconds(1000 + random.below(interval_us));
    if (at >= time) return faults;
    Fault fault;
    fault.index = static_cast<uint32_t>(faults.size());
    fault.at = at;
    fault.kind = draw_kind(knobs, random);
    fault.seed = random.number();
    faults.push_back(fault);
  }
}

Result<FaultNumbers> parse_fault_numbers(std::string_view text) {
  FaultNumbers numbers;
  while (!text.empty()) {
    const std::string_view part = text.substr(0, text.find(','));
    text.remove_prefix(std::min(text.size(), part.size() + 1));
    uint32_t first = 0, last = 0;
    const char* const end = part.data() + part.size();
    auto [at, wrong] = std::from_chars(part.data(), end, first);
    last = first;
    if (wrong == std::errc() && at != end && *at == '-')
      std::tie(at, wrong) = [&, from = at + 1] {
        const auto parsed = std::from_chars(from, end, last);
        return std::pair(parsed.ptr, parsed.ec);
      }();
    if (wrong != std::errc() || at != end || last < first || last - first >= numbers_max)
      return Error(Code::invalid,
                   "'" + std::string(part) + "' is no number of a fault and no range like 3-7");
    for (uint32_t number = first; number <= last; ++number) numbers.insert(number);
  }
  return numbers;
}

std::string fault_numbers_text(const FaultNumbers& numbers) {
  std::string text;
  for (auto at = numbers.begin(); at != numbers.end();) {
    const uint32_t first = *at;
    uint32_t last = first;
    for (++at; at != numbers.end() && *at == last + 1; ++at) ++last;
    if (!text.empty()) text += ',';
    text += std::to_string(first);
    if (last != first) text += "-" + std::to_string(last);
  }
  return text;
}

}  // namespace sp::sim
