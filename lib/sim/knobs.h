// Knobs: everything that a run draws about its shape, its work and its faults, by name. Each is
// drawn from a stream of its own, made of the seed and its name: pinning one, or adding one, does
// not change the others. Plain values.
#pragma once
#include <array>
#include <cstdint>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "base/result.h"

namespace sp::sim {

enum class Knob : uint8_t {
#define SP_KNOB(name, ...) name,
#define SP_KNOB_RANGE(name, ...) name,
#include "sim/knobs.def"
#undef SP_KNOB
#undef SP_KNOB_RANGE
  count
};
constexpr size_t knob_count = static_cast<size_t>(Knob::count);

struct KnobRow {
  std::string_view name, what;
  int64_t least, most, simplest;
  bool range;
  std::array<int64_t, 16> values;
  size_t value_count;
};
std::span<const KnobRow> knob_rows();

using Pins = std::map<Knob, int64_t>;
// "nodes=3" and the like; Code::invalid with what may be pinned.
Result<std::pair<Knob, int64_t>> parse_pin(std::string_view text);
std::string pins_text(const Pins& pins);  // " --set nodes=3 --set ..."

class Knobs {
 public:
  Knobs(uint64_t seed, const Pins& pins);
  int64_t operator[](Knob knob) const { return values_[static_cast<size_t>(knob)]; }
  uint32_t number(Knob knob) const { return static_cast<uint32_t>((*this)[knob]); }
  std::string text() const;  // all of them, in one line

 private:
  std::array<int64_t, knob_count> values_{};
};

}  // namespace sp::sim
