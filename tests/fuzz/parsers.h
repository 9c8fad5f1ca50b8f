// For fuzz targets of parsers: the first byte of an input picks one, the rest is what it is given.
// A parser says whether it accepted; a corpus with whose inputs some parser never did reaches
// nothing behind it, which replay.cc takes for a failure.
#pragma once
#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <optional>

#include "base/bytes.h"

namespace sp::test {

inline void require(bool condition) {
  if (!condition) std::abort();
}
// What a codec accepts has to come out as the same bytes.
inline void require_same(Bytes input, Bytes again) {
  require(std::equal(input.begin(), input.end(), again.begin(), again.end()));
}
template <class T, class Encode>
bool same_again(Bytes input, const std::optional<T>& value, Encode encode) {
  if (value) require_same(input, encode(*value));
  return value.has_value();
}

using Parser = bool (*)(Bytes);

// Bit n: parser n has accepted something.
inline uint64_t accepted = 0;

template <size_t count>
int run_one(const Parser (&parsers)[count], const uint8_t* data, size_t size) {
  static_assert(count <= 64);
  if (size == 0) return 0;
  const Bytes input(reinterpret_cast<const std::byte*>(data), size);
  const size_t number = data[0] % count;
  if (parsers[number](input.subspan(1))) accepted |= uint64_t{1} << number;
  return 0;
}

// The first parser that has accepted nothing yet, or -1.
inline int first_unreached(size_t count) {
  for (size_t number = 0; number < count; ++number)
    if ((accepted >> number & 1) == 0) return static_cast<int>(number);
  return -1;
}
template <size_t count>
int first_unreached(const Parser (&)[count]) {
  return first_unreached(count);
}

}  // namespace sp::test
