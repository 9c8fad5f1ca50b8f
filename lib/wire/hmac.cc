#include "wire/hmac.h"

#include <openssl/core_names.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/params.h>

#include <memory>

#include "base/assert.h"

namespace sp::wire {

namespace {

// Looked up by name once for each thread: that takes longer than the digest of a handshake.
EVP_MAC_CTX* mac_context() {
  struct Free {
    void operator()(EVP_MAC_CTX* context) const { EVP_MAC_CTX_free(context); }
  };
  thread_local const std::unique_ptr<EVP_MAC_CTX, Free> context([] {
    EVP_MAC* const mac = EVP_MAC_fetch(nullptr, "HMAC", nullptr);
    SP_ASSERT(mac != nullptr);
    EVP_MAC_CTX* const made = EVP_MAC_CTX_new(mac);
    EVP_MAC_free(mac);
    SP_ASSERT(made != nullptr);
    char digest[] = "SHA256";
    const OSSL_PARAM parameters[] = {
        OSSL_PARAM_construct_utf8_string(OSSL_MAC_PARAM_DIGEST, digest, 0),
        OSSL_PARAM_construct_end()};
    SP_ASSERT(EVP_MAC_CTX_set_params(made, parameters) == 1);
    return made;
  }());
  return context.get();
}

}  // namespace

Digest256 hmac_sha256(Bytes key, Bytes message) {
  Digest256 out{};
  size_t size = 0;
  EVP_MAC_CTX* const context = mac_context();
  const auto* const text = reinterpret_cast<const unsigned char*>(message.data());
  const bool made =
      EVP_MAC_init(context, reinterpret_cast<const unsigned char*>(key.data()), key.size(),
                   nullptr) == 1 &&
      EVP_MAC_update(context, text, message.size()) == 1 &&
      EVP_MAC_final(context, reinterpret_cast<unsigned char*>(out.data()), &size, out.size()) == 1;
  // A zero digest that both ends take for a proof would be worse than stopping: this fails only
  // when the library is broken.
  SP_ASSERT(made);
  SP_ASSERT_OP(size, ==, out.size());
  return out;
}

bool equal_in_constant_time(Bytes left, Bytes right) {
  return left.size() == right.size() && CRYPTO_memcmp(left.data(), right.data(), left.size()) == 0;
}

}  // namespace sp::wire
