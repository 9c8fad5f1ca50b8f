#include "wire/beacon_messages.h"

#include "wire/member_fields.h"

namespace sp::wire {

namespace {

constexpr uint32_t services_per_node_max = 64;
constexpr uint32_t reports_per_piece_max = 4096;

}  // namespace

SP_FIELDS(BeaconHello) { c(m.log_id), c.since(2, m.removed_index); }

SP_FIELDS(ForwardCommand) {
  c(m.origin), c(m.origin_start), c(m.number), c(m.term), c(m.gone);
  c.list(m.command, limits::raft_command_bytes_max);
}

SP_FIELDS(ForwardReply) {
  c(m.number), c(m.term), c.ranged(m.code, 0, static_cast<uint64_t>(Code::interrupted));
  c.text(m.text, reply_text_max);
}

SP_FIELDS(NodeService) {
  c(m.service), c(m.start_id), c(m.wants_lease), c(m.report), c.since(3, m.report.settled_index);
}

SP_FIELDS(NodeLeaseRequest) {
  c(m.sent_ns), c(m.start_id), c(m.applied_index), c.list(m.services, services_per_node_max);
  c.since(2, m.feature_level);
}

SP_FIELDS(NodeLeaseGrant) {
  c(m.sent_ns), c(m.length_ns), c(m.confirmed_index), c.list(m.granted, services_per_node_max);
}

SP_FIELDS(NodeConfirmed) { c(m.index); }

SP_FIELDS(NodeReportsReply) {
  c(m.ok), c.ranged(m.code, 0, static_cast<uint64_t>(Code::interrupted));
  c.text(m.text, reply_text_max), c(m.last), c.list(m.reports, reports_per_piece_max);
}

SP_BEACON_MESSAGES(SP_ENCODE_DECODE)

}  // namespace sp::wire
