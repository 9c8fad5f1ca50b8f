#include "wire/hmac.h"

#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>

#include "base/assert.h"

namespace sp::wire {

Digest256 hmac_sha256(Bytes key, Bytes message) {
  Digest256 out{};
  unsigned size = 0;
  const auto* made = HMAC(EVP_sha256(), key.data(), static_cast<int>(key.size()),
                          reinterpret_cast<const unsigned char*>(message.data()), message.size(),
                          reinterpret_cast<unsigned char*>(out.data()), &size);
  // A zero digest that both ends take for a proof would be worse than stopping: this fails only
  // when the library is broken.
  SP_ASSERT(made != nullptr);
  SP_ASSERT_OP(size, ==, out.size());
  return out;
}

bool equal_in_constant_time(Bytes left, Bytes right) {
  return left.size() == right.size() && CRYPTO_memcmp(left.data(), right.data(), left.size()) == 0;
}

}  // namespace sp::wire
