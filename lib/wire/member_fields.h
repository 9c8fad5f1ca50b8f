// The field lists that messages of services and messages of beacons share. For the .cc files of
// this module.
#pragma once
#include "wire/codec.h"
#include "wire/member_messages.h"

namespace sp::wire {

constexpr uint32_t reply_text_max = 2048;

SP_FIELDS(DiskReport) {
  c(m.disk), c(m.blocks_total), c(m.blocks_used), c(m.objects_total), c(m.objects_used),
      c(m.memory_bytes);
}

SP_FIELDS(TaskReport) {
  c(m.disk), c(m.objects_all), c(m.objects_completed), c(m.objects_in_flight), c(m.bytes_moved);
}

SP_FIELDS(SetReport) { c(m.set), c(m.writes_waiting), c.text(m.waits_for, report_text_max); }

using WaitingRequest = std::pair<VolumeId, uint64_t>;
SP_FIELDS(WaitingRequest) { c(m.first), c(m.second); }

SP_FIELDS(Report) {
  c(m.fenced_index);
  c.list(m.unreachable, report_unreachable_max), c.list(m.disks, report_disks_max),
      c.list(m.tasks, report_tasks_max);
  c.list(m.sets, report_sets_max), c.list(m.requests_waiting, report_waiting_max);
}

SP_FIELDS(ServiceReport) { c(m.service), c(m.report), c(m.age_ms); }

}  // namespace sp::wire
