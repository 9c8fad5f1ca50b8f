#include "sim/knobs.h"

#include <algorithm>
#include <charconv>

#include "base/checksum.h"
#include "io/random.h"

namespace sp::sim {

namespace {

template <class... Values>
constexpr KnobRow make_row(bool range, std::string_view name, std::string_view what, int64_t least,
                           int64_t most, int64_t simplest, Values... values) {
  return {name, what, least, most, simplest, range, {values...}, sizeof...(values)};
}

constexpr KnobRow rows[] = {
#define SP_KNOB(name, ...) make_row(false, #name, __VA_ARGS__),
#define SP_KNOB_RANGE(name, ...) make_row(true, #name, __VA_ARGS__),
#include "sim/knobs.def"
#undef SP_KNOB
#undef SP_KNOB_RANGE
};

int64_t draw(uint64_t seed, const KnobRow& row) {
  io::SeededRandom random(mix64(seed * 0x9e3779b97f4a7c15ull + 1) ^ crc64(as_bytes(row.name)));
  if (row.range)
    return row.values[0] + static_cast<int64_t>(random.below(
                               static_cast<uint64_t>(row.values[1] - row.values[0] + 1)));
  return row.values[random.below(row.value_count)];
}

}  // namespace

std::span<const KnobRow> knob_rows() { return rows; }

Result<std::pair<Knob, int64_t>> parse_pin(std::string_view text) {
  const size_t equals = text.find('=');
  const std::string_view name = text.substr(0, equals);
  const auto row =
      std::find_if(std::begin(rows), std::end(rows), [&](const auto& r) { return r.name == name; });
  if (row == std::end(rows))
    return Error(Code::invalid, "no knob '" + std::string(name) + "'; see --list-knobs");
  int64_t value = 0;
  const std::string_view digits = equals == text.npos ? "" : text.substr(equals + 1);
  const auto [end, wrong] = std::from_chars(digits.data(), digits.data() + digits.size(), value);
  if (wrong != std::errc() || end != digits.data() + digits.size() || value < row->least ||
      value > row->most)
    return Error(Code::invalid, "'" + std::string(text) + "': " + std::string(name) +
                                    " is a number from " + std::to_string(row->least) + " to " +
                                    std::to_string(row->most));
  return std::pair(static_cast<Knob>(row - std::begin(rows)), value);
}

std::string pins_text(const Pins& pins) {
  std::string text;
  for (const auto& [knob, value] : pins)
    text +=
        " --set " + std::string(rows[static_cast<size_t>(knob)].name) + "=" + std::to_string(value);
  return text;
}

Knobs::Knobs(uint64_t seed, const Pins& pins) {
  for (size_t i = 0; i < knob_count; ++i) values_[i] = draw(seed, rows[i]);
  for (const auto& [knob, value] : pins) values_[static_cast<size_t>(knob)] = value;
}

std::string Knobs::text() const {
  std::string text;
  for (size_t i = 0; i < knob_count; ++i) {
    if (i > 0) text += ' ';
    text += std::string(rows[i].name) + "=" + std::to_string(values_[i]);
  }
  return text;
}

}  // namespace sp::sim
