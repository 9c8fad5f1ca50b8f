#include "base/checksum.h"

#include <isa-l/crc.h>
#include <isa-l/crc64.h>

namespace sp {

uint64_t crc64(Bytes bytes, uint64_t seed) {
  if (bytes.empty()) return seed;
  return crc64_ecma_refl(seed, reinterpret_cast<const unsigned char*>(bytes.data()), bytes.size());
}

uint32_t crc32c(Bytes bytes, uint32_t seed) {
  if (bytes.empty()) return seed;
  auto* data = reinterpret_cast<unsigned char*>(
      const_cast<std::byte*>(bytes.data()));  // ISA-L's prototype lacks const
  return ~crc32_iscsi(data, static_cast<int>(bytes.size()), ~seed);
}

}  // namespace sp
