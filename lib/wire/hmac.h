// HMAC-SHA256 (RFC 2104, FIPS 180-4), and a comparison that takes equally long wherever the
// difference is. OpenSSL is used in hmac.cc only.
#pragma once
#include <array>

#include "base/bytes.h"

namespace sp::wire {

using Digest256 = std::array<std::byte, 32>;

Digest256 hmac_sha256(Bytes key, Bytes message);
bool equal_in_constant_time(Bytes left, Bytes right);  // false when the sizes differ

}  // namespace sp::wire
