#include "wire/member_messages.h"

#include "wire/member_fields.h"

namespace sp::wire {

namespace {

constexpr uint32_t address_max = 300;
constexpr uint32_t reports_per_piece_max = 4096;

template <class T>
void cut(std::vector<T>& list, size_t count_max) {
  if (list.size() > count_max) list.resize(count_max);
}

}  // namespace

SP_FIELDS(map::Service) {
  c(m.id), c(m.up), c(m.start_id), c.text(m.address, address_max),
      c.text(m.version, limits::name_bytes_max), c(m.started_ms);
}

SP_FIELDS(map::Disk) {
  c(m.id), c(m.server), c(m.up), c.text(m.failure, reply_text_max), c(m.uuid), c(m.capacity_bytes);
  c.text(m.device, reply_text_max), c.text(m.model, limits::name_bytes_max),
      c.text(m.serial, limits::name_bytes_max);
  c.text(m.description, reply_text_max), c(m.solid_state);
}

SP_FIELDS(Register) {
  c(m.service), c.list(m.disks, report_disks_max), c(m.with_buckets), c.since(2, m.feature_level);
}

SP_FIELDS(RegisterRefused) { c.text(m.text, reply_text_max); }

SP_FIELDS(MapPiece) {
  c(m.from_index), c(m.index), c(m.offset), c(m.total), c.list(m.bytes, map_piece_bytes);
}

SP_FIELDS(LeaseRequest) {
  c(m.sent_ns), c(m.map_index), c(m.report), c.since(3, m.report.settled_index);
}

SP_FIELDS(LeaseGrant) { c(m.sent_ns), c(m.length_ns), c(m.confirmed_index); }

SP_FIELDS(Confirmed) { c(m.index); }

SP_FIELDS(CommandRequest) { c.list(m.command, limits::raft_command_bytes_max); }

SP_FIELDS(CommandReply) {
  c(m.ok), c.ranged(m.code, 0, static_cast<uint64_t>(Code::interrupted));
  c(m.index), c.text(m.text, reply_text_max);
}

SP_FIELDS(ReportsReply) {
  c(m.ok), c.ranged(m.code, 0, static_cast<uint64_t>(Code::interrupted));
  c.text(m.text, reply_text_max), c(m.last), c.list(m.reports, reports_per_piece_max);
}

void trim(Report& report) {
  cut(report.unreachable, report_unreachable_max);
  cut(report.disks, report_disks_max);
  cut(report.tasks, report_tasks_max);
  cut(report.sets, report_sets_max);
  cut(report.requests_waiting, report_waiting_max);
  for (SetReport& set : report.sets) {
    if (set.waits_for.size() > report_text_max) set.waits_for.resize(report_text_max);
  }
}

SP_MEMBER_MESSAGES(SP_ENCODE_DECODE)

}  // namespace sp::wire
