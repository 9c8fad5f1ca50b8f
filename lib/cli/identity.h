// Identity: what a service of a node tells its Member, from the configuration.
#pragma once
#include "cli/config.h"
#include "member/member.h"

namespace sp::cli {

// Key, identity (with a start id drawn now), the node's own beacon, registration with
// `address` (empty: none). Disks and buckets are the caller's affair.
Result<member::Options> member_options(io::Host& host, const Config& config, const NodeConfig& node,
                                       ServiceKind kind, uint8_t instance,
                                       const io::Address& address);

// A client number (2 and above: sp-block is 1) that no other process of this host has, held until
// this process ends. Code::refused when all are taken.
Result<uint8_t> claim_client_instance(const Config& config, NodeId node);

}  // namespace sp::cli
