// Checksums. crc64 is ECMA-182, reflected (the polynomial of XZ), by ISA-L: about 85 ns for 4 KiB
// on the reference machine. It guards every block from the client to the platter and back, and
// every metadata page. crc64 of no bytes is 0.
#pragma once
#include <cstdint>

#include "base/bytes.h"

namespace sp {

uint64_t crc64(Bytes bytes, uint64_t seed = 0);  // seed: the crc64 of the bytes before these
uint32_t crc32c(Bytes bytes, uint32_t seed = 0);

// A fast mixing function for hash tables and placement (splitmix64 finaliser, Steele et al., OOPSLA
// 2014). Stable for ever: placement depends on it.
constexpr uint64_t mix64(uint64_t x) {
  x += 0x9e3779b97f4a7c15ull;
  x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9ull;
  x = (x ^ (x >> 27)) * 0x94d049bb133111ebull;
  return x ^ (x >> 31);
}

}  // namespace sp
