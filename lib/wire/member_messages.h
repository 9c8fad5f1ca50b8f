// Messages between a service and its beacon: registration, the map in pieces, leases with reports,
// commands. Bodies by wire/member_messages.cc; every decode checks counts and ranges before it
// allocates. Fields, bytes and meaning: sp-protocol(7).
#pragma once
#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "base/result.h"
#include "map/map.h"
#include "wire/message.h"

namespace sp::wire {

// What a service says of itself now and then (with each lease request); kept in memory by the
// leading beacon only, for status, metrics and tasks.
struct DiskReport {
  DiskId disk = 0;
  uint64_t blocks_total = 0, blocks_used = 0, objects_total = 0, objects_used = 0, memory_bytes = 0;
};
struct TaskReport {  // recovery of one disk in one allocation group, or of all its sets
  DiskId disk = 0;
  uint64_t objects_all = 0, objects_completed = 0, objects_in_flight = 0, bytes_moved = 0;
};
struct SetReport {  // by the primary, only where something waits
  SetId set;
  uint64_t writes_waiting = 0;
  std::string waits_for;  // "min_copies: disks 3, 5 are missing", "activation: server 2 on node 4
                          // does not answer"
};
struct Report {
  uint64_t fenced_index = 0;  // changes of the map up to here are in force: requests under older
                              // attachments are finished or dropped
  // Cuts opened by the map up to here are settled at every set that this service leads by that map:
  // no write of their volumes is ordered and undecided, and newer ones are held. From protocol
  // version 3 on; not handed on with ReportsReply.
  uint64_t settled_index = 0;
  std::vector<ServiceId> unreachable;  // services that we need and cannot reach
  std::vector<DiskReport> disks;
  std::vector<TaskReport> tasks;
  std::vector<SetReport> sets;
  std::vector<std::pair<VolumeId, uint64_t>>
      requests_waiting;  // clients: per volume, oldest request's age in ms
};
struct ServiceReport {
  ServiceId service;
  Report report;
  uint64_t age_ms = 0;
};

struct Register {  // first message of a service after the handshake, and again when its disks
                   // change
  map::Service service;
  std::vector<map::Disk> disks;  // servers: the disks held now
  bool with_buckets = false;
  uint32_t feature_level = 1;  // newest that the process supports; from protocol version 2 on
};

struct RegisterRefused {  // beacon to service, which is not taken as it is
  std::string text;
};

// A piece of the map: map_full (from_index 0) carries encode(Map), map_delta the changes that lead
// from from_index to index, each encoded. The pieces of one map or delta follow each other with
// rising offsets; it takes effect with the last one.
struct MapPiece {
  uint64_t from_index = 0;
  uint64_t index = 0;
  uint64_t offset = 0;
  uint64_t total = 0;
  std::vector<std::byte> bytes;
};

struct LeaseRequest {
  uint64_t sent_ns = 0;  // the asker's clock; echoed
  uint64_t map_index = 0;
  Report report;
};
struct LeaseGrant {
  uint64_t sent_ns = 0;  // of the request that is answered
  uint64_t length_ns =
      0;  // the lease ends at sent_ns + length_ns on the asker's clock; 0: none is given
  uint64_t confirmed_index =
      0;  // every server that may be serving has put the map up to here in force
};
struct Confirmed {  // beacon to service, when it has risen
  uint64_t index = 0;
};

struct CommandRequest {            // Message::request numbers it
  std::vector<std::byte> command;  // map::encode
};
struct CommandReply {
  bool ok = false;
  Code code = Code::failed;
  uint64_t index = 0;  // ok: the map that holds it, sent before on the same connection
  std::string text;
};

struct ReportsReply {  // the query has no body. Pieces follow each other, the last one says so
  bool ok = false;
  Code code = Code::failed;
  std::string text;
  bool last = true;
  std::vector<ServiceReport> reports;
};

#define SP_MEMBER_MESSAGES(X) \
  X(Report)                   \
  X(Register)                 \
  X(MapPiece)                 \
  X(LeaseRequest)             \
  X(LeaseGrant)               \
  X(Confirmed) X(CommandRequest) X(CommandReply) X(ReportsReply) X(RegisterRefused)
#define X(Name) \
  std::vector<std::byte> encode(const Name& message, uint8_t protocol = protocol_newest);
SP_MEMBER_MESSAGES(X)
#undef X

constexpr uint32_t map_piece_bytes = 256u << 10;

// Reports larger than this are cut (details first) by trim(), so that many fit in one message of a
// beacon.
constexpr uint32_t report_disks_max = 256, report_tasks_max = 256, report_sets_max = 64,
                   report_waiting_max = 512, report_unreachable_max = 512;
constexpr uint32_t report_text_max = 200;
void trim(Report& report);

}  // namespace sp::wire
