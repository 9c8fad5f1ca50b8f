// Randomness as a service sees it: nonces, ids, jitter. The real one is the kernel's; the simulated
// one is drawn from the run's seed.
#pragma once
#include <cstdint>

#include "base/bytes.h"

namespace sp::io {

class Random {
 public:
  virtual ~Random() = default;
  virtual void fill(MutableBytes out) = 0;

  uint64_t number() {
    uint64_t value = 0;
    fill(std::as_writable_bytes(std::span(&value, 1)));
    return value;
  }
  // Uniform in [0, bound); bound > 0.
  uint64_t below(uint64_t bound) {
    return static_cast<uint64_t>((static_cast<unsigned __int128>(number()) * bound) >> 64);
  }
};

// A seeded generator (xoshiro256**, Blackman & Vigna 2018) for simulation and tests.
class SeededRandom final : public Random {
 public:
  explicit SeededRandom(uint64_t seed);
  void fill(MutableBytes out) override;

 private:
  uint64_t next();
  uint64_t state_[4];
};

}  // namespace sp::io
