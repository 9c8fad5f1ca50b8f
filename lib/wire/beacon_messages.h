// Messages of beacons among themselves: commands on their way to the leader, leases of whole nodes,
// reports. (Messages of Raft have their own encoding, raft/message.h.) Fields, bytes and meaning:
// sp-protocol(7).
#pragma once
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "base/result.h"
#include "wire/member_messages.h"

namespace sp::wire {

struct BeaconHello {  // first on every connection between beacons
  uint64_t log_id = 0;
  uint64_t removed_index = 0;  // not 0: in the agreed state of this index the receiver's node has
                               // left the cluster; from protocol version 2 on
};

// A proposal on its way to the leader. {origin, origin_start, number} travels with the command
// through the log, so the origin sees by itself whether it was applied. The leader proposes it in
// no other term than `term`: once an entry of a later term is applied at the origin, the proposal
// is known to be lost and may be made again.
struct ForwardCommand {
  NodeId origin = 0;
  uint64_t origin_start = 0;
  uint64_t number = 0;
  uint64_t term = 0;
  bool gone =
      false;  // ServiceDown: the process is known to have ended, no lease has to be waited for
  std::vector<std::byte> command;
};
struct ForwardReply {  // only when it was not proposed
  uint64_t number = 0;
  uint64_t term = 0;  // of the request
  Code code = Code::failed;
  std::string text;
};

struct NodeService {
  ServiceId service;
  uint64_t start_id = 0;
  bool wants_lease = false;  // it has asked since the last request
  Report report;
};
struct NodeLeaseRequest {  // also the sign of life of a node
  uint64_t sent_ns = 0;    // the asking beacon's clock; echoed
  uint64_t start_id = 0;   // of the beacon
  uint64_t applied_index = 0;
  std::vector<NodeService> services;
  uint32_t feature_level = 1;  // newest that the beacon and all services of the node support; from
                               // protocol version 2 on
};
struct NodeLeaseGrant {
  uint64_t sent_ns = 0;
  uint64_t length_ns = 0;
  uint64_t confirmed_index = 0;
  std::vector<ServiceId> granted;
};
struct NodeConfirmed {
  uint64_t index = 0;
};

struct NodeReportsReply {  // the query has no body
  bool ok = false;
  Code code = Code::failed;
  std::string text;
  bool last = true;
  std::vector<ServiceReport> reports;
};

#define SP_BEACON_MESSAGES(X) \
  X(BeaconHello)              \
  X(ForwardCommand)           \
  X(ForwardReply) X(NodeLeaseRequest) X(NodeLeaseGrant) X(NodeConfirmed) X(NodeReportsReply)
#define X(Name) \
  std::vector<std::byte> encode(const Name& message, uint8_t protocol = protocol_newest);
SP_BEACON_MESSAGES(X)
#undef X

}  // namespace sp::wire
