// For fuzz targets of parsers: the first byte of an input picks one, the rest is what it is given.
#pragma once
#include <algorithm>
#include <cstdint>
#include <cstdlib>

#include "base/bytes.h"

namespace sp::test {

inline void require(bool condition) {
  if (!condition) std::abort();
}
// What a codec accepts has to come out as the same bytes.
inline void require_same(Bytes input, Bytes again) {
  require(std::equal(input.begin(), input.end(), again.begin(), again.end()));
}

using Parser = void (*)(Bytes);

template <size_t count>
int run_one(const Parser (&parsers)[count], const uint8_t* data, size_t size) {
  if (size == 0) return 0;
  const Bytes input(reinterpret_cast<const std::byte*>(data), size);
  parsers[data[0] % count](input.subspan(1));
  return 0;
}

}  // namespace sp::test
