#include "io/random.h"

#include <algorithm>
#include <bit>
#include <cstring>

#include "base/checksum.h"

namespace sp::io {

SeededRandom::SeededRandom(uint64_t seed) {
  for (auto& word : state_) {
    word = mix64(seed);
    seed += 0x9e3779b97f4a7c15ull;
  }
}

void SeededRandom::fill(MutableBytes out) {
  while (!out.empty()) {
    const uint64_t value = next();
    const size_t size = std::min(out.size(), sizeof value);
    std::memcpy(out.data(), &value, size);
    out = out.subspan(size);
  }
}

uint64_t SeededRandom::next() {
  const uint64_t result = std::rotl(state_[1] * 5, 7) * 9;
  const uint64_t shifted = state_[1] << 17;
  state_[2] ^= state_[0];
  state_[3] ^= state_[1];
  state_[1] ^= state_[2];
  state_[0] ^= state_[3];
  state_[2] ^= shifted;
  state_[3] = std::rotl(state_[3], 45);
  return result;
}

}  // namespace sp::io
