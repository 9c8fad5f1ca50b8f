#include "wire/handshake.h"

#include <algorithm>

#include "base/client_id.h"
#include "wire/frame.h"

namespace sp::wire {

namespace {

constexpr std::string_view proof_tags[] = {"sp handshake 1: connecting side",
                                           "sp handshake 1: accepting side"};

uint8_t least_of(const Hello& hello) {
  return hello.protocol_least != 0 ? hello.protocol_least : hello.protocol_newest;
}

Identity identity_of(const Hello& hello) {
  Versions versions;
  versions.protocol_least = least_of(hello);
  versions.protocol_newest = hello.protocol_newest;
  return {hello.cluster, hello.incarnation, ServiceId::from_packed(hello.service), hello.start_id,
          versions};
}

std::string range_text(const Hello& hello) {
  const std::string newest = std::to_string(hello.protocol_newest);
  const uint8_t least = least_of(hello);
  return least == hello.protocol_newest ? newest : std::to_string(least) + " to " + newest;
}

std::string hex(uint64_t value) {
  std::array<std::byte, 8> bytes;
  for (size_t i = 0; i < bytes.size(); ++i)
    bytes[i] = static_cast<std::byte>(value >> (56 - 8 * i));
  return to_hex(bytes);
}

bool sound_service(ServiceId id) {
  if (id.kind < ServiceKind::beacon || id.kind > ServiceKind::mgmt) return false;
  const uint32_t instances = id.kind == ServiceKind::server   ? limits::servers_per_node_max
                             : id.kind == ServiceKind::client ? client_instance_max
                                                              : 1;
  return id.node >= 1 && id.node <= limits::nodes_max && id.instance >= 1 &&
         id.instance <= instances;
}

}  // namespace

std::string_view role_name(ServiceKind kind) {
  switch (kind) {
    case ServiceKind::beacon: return "beacon";
    case ServiceKind::server: return "server";
    case ServiceKind::client: return "client";
    case ServiceKind::mgmt: return "mgmt";
  }
  return "service of unknown kind";
}

std::string service_text(ServiceId id) {
  std::string text(role_name(id.kind));
  if (id.kind == ServiceKind::server || (id.kind == ServiceKind::client && id.instance > 1))
    text += " " + std::to_string(id.instance);
  return text + " on node " + std::to_string(id.node);
}

Handshake::Handshake(const ClusterKey& key, const Identity& self, bool accepting,
                     io::Random& random)
    : key_(key) {
  SP_ASSERT(sound_service(self.service));
  own_.protocol_newest = self.versions.protocol_newest;
  own_.protocol_least = self.versions.protocol_least;
  own_.side = accepting ? accepted : connected;
  own_.role = static_cast<uint8_t>(self.service.kind);
  own_.cluster = self.cluster;
  own_.incarnation = self.incarnation;
  own_.service = self.service.packed();
  own_.start_id = self.start_id;
  random.fill(own_.nonce);
}

Status Handshake::take_hello(Bytes bytes) {
  SP_ASSERT_OP(bytes.size(), ==, sizeof(Hello));
  const auto hello = load<Hello>(bytes);
  if (hello.magic != hello_magic)
    return Error(Code::invalid,
                 "handshake: the peer does not speak this protocol; is the port right?");
  const uint8_t common = std::min(own_.protocol_newest, hello.protocol_newest);
  if (common < std::max(least_of(own_), least_of(hello)) || common == 0) {
    return Error(Code::invalid, "handshake: the peer speaks protocol version " + range_text(hello) +
                                    ", this service " + range_text(own_) +
                                    "; upgrade the older one");
  }
  if (hello.side == own_.side || hello.side < connected || hello.side > accepted) {
    return Error(Code::not_authorised, "handshake: the peer sends back what it was sent");
  }
  if (hello.role != hello.service >> 24 || !sound_service(ServiceId::from_packed(hello.service))) {
    return Error(Code::invalid, "handshake: the peer names no possible service");
  }
  const std::string who = service_text(ServiceId::from_packed(hello.service));
  if (hello.cluster != own_.cluster) {
    return Error(Code::not_authorised, "handshake: " + who + " belongs to cluster " +
                                           hex(hello.cluster) + ", this service to " +
                                           hex(own_.cluster) +
                                           "; check the cluster id in sp.toml of both");
  }
  if (hello.incarnation != own_.incarnation) {
    return Error(Code::not_authorised, "handshake: " + who + " belongs to incarnation " +
                                           std::to_string(hello.incarnation) +
                                           " of the cluster, this service to " +
                                           std::to_string(own_.incarnation) +
                                           "; the older one was fenced when the cluster was "
                                           "rebuilt: bring its node into the new one");
  }
  peer_ = hello;
  protocol_ = common;
  proof_ = proof_of(static_cast<Side>(own_.side));
  return {};
}

Status Handshake::take_proof(Bytes bytes) const {
  SP_ASSERT(protocol_ != 0);
  const Digest256 expected = proof_of(static_cast<Side>(peer_.side));
  if (equal_in_constant_time(bytes, expected)) return {};
  return Error(Code::not_authorised,
               "handshake: who calls itself " +
                   service_text(ServiceId::from_packed(peer_.service)) +
                   " does not know the cluster key; compare the key files of both nodes");
}

Identity Handshake::peer() const { return identity_of(peer_); }

Digest256 Handshake::proof_of(Side side) const {
  const bool own_connected = own_.side == connected;
  Writer transcript;
  transcript.text(proof_tags[side - 1]);
  transcript.raw(struct_bytes(own_connected ? own_ : peer_))
      .raw(struct_bytes(own_connected ? peer_ : own_));
  return hmac_sha256(key_.bytes, transcript.view());
}

}  // namespace sp::wire
