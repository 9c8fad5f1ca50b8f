// Handshake: the proof, by both ends of a new connection, that they know the cluster key. Pure:
// bytes in, bytes out.
//
// Each side sends a Hello with a fresh nonce. On the peer's Hello each side sends its proof,
// HMAC-SHA256(key, side tag, hello of the connecting side, hello of the accepting side). Both
// nonces are in both proofs, so nothing recorded earlier helps; the side is in Hello and tag, so
// nothing sent back to its sender helps; cluster, incarnation, role, service and start id are in
// the transcript, so none of them can be changed on the way. What a Hello says is only believed
// after its sender's proof was right.
#pragma once
#include <array>
#include <cstddef>
#include <optional>

#include "base/result.h"
#include "wire/connection.h"
#include "wire/hmac.h"

namespace sp::wire {

constexpr uint32_t hello_magic = 0x4c485053;  // "SPHL"

struct Hello {
  uint32_t magic = hello_magic;
  uint8_t protocol_newest = 0;
  uint8_t protocol_least = 0;  // 0: speaks the newest only
  uint8_t side = 0;            // 1: connected, 2: accepted
  uint8_t role = 0;
  uint64_t cluster = 0;
  uint32_t incarnation = 0;
  uint32_t service = 0;  // ServiceId::packed
  uint64_t start_id = 0;
  std::array<std::byte, 32> nonce{};
};
static_assert(sizeof(Hello) == 64);
static_assert(offsetof(Hello, protocol_newest) == 4 && offsetof(Hello, protocol_least) == 5);
static_assert(offsetof(Hello, side) == 6 && offsetof(Hello, role) == 7 &&
              offsetof(Hello, cluster) == 8);
static_assert(offsetof(Hello, incarnation) == 16 && offsetof(Hello, service) == 20 &&
              offsetof(Hello, start_id) == 24);
static_assert(offsetof(Hello, nonce) == 32);
static_assert(std::is_trivially_copyable_v<Hello>);

std::string_view role_name(ServiceKind kind);
std::string service_text(ServiceId id);  // "server 2 on node 3"

class Handshake {
 public:
  Handshake(const ClusterKey& key, const Identity& self, bool accepting, io::Random& random);

  Bytes hello() const { return struct_bytes(own_); }
  // Checks the peer's Hello; afterwards proof() is what to send.
  Status take_hello(Bytes bytes);
  Bytes proof() const { return proof_; }
  // Code::not_authorised when the peer does not know the key.
  Status take_proof(Bytes bytes) const;
  Identity peer() const;
  // After take_hello: the newest version that both speak.
  uint8_t protocol() const { return protocol_; }

 private:
  enum Side : uint8_t { connected = 1, accepted = 2 };
  Digest256 proof_of(Side side) const;

  ClusterKey key_;
  Hello own_;
  Hello peer_;
  uint8_t protocol_ = 0;
  Digest256 proof_{};
};

}  // namespace sp::wire
