// The number of a client, and the service that it stands for. Every host has one lasting client
// (instance 1, sp-block), whose number is the node's. A process that attaches a volume for itself
// (sp-attach --socket, benchmarks) is a further instance on its node, so that it has attachments of
// its own.
#pragma once
#include "base/ids.h"

namespace sp {

constexpr uint8_t client_instance_max = 63;  // so that client numbers stay below 4096

// No client: writes that a primary orders of its own accord. Each is an operation of its own, so
// that a copy can be asked whether it holds the newest one.
constexpr ClientId servers_client = 4095;

constexpr ClientId client_of(NodeId node, uint8_t instance) {
  return static_cast<ClientId>(node + 64 * (instance - 1));
}
constexpr ServiceId service_of_client(ClientId client) {
  return {ServiceKind::client, static_cast<NodeId>(client % 64),
          static_cast<uint8_t>(client / 64 + 1)};
}

}  // namespace sp
