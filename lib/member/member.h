// Member: a service's tie to its cluster, through a beacon: registration, the map, the lease, commands, reports.
//
// - The map is a replica of the agreed state; it is replaced and changed only between reactor turns, followed by one call of `map_changed`. It may be behind, never
//   ahead or wrong; whoever acts on it names epochs and generations, and is told when they are stale.
// - The lease says until when this service may serve. It is counted from the sending of our own request, and is a promise that no other service is
//   put in our place before it ends. A server checks it *after* choosing the version that a read returns, and before it answers a write.
// - The connection may come and go; the Member reconnects by itself (own node's beacon first, then others where allowed) and registers again with the same start id.
//   While it is away, map and lease simply grow old. Commands in flight across a loss end with Code::transient when their outcome is unknown.
// Thread rule: one reactor; callbacks never inside a call.
#pragma once
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "base/callback.h"
#include "io/host.h"
#include "map/command.h"
#include "map/map.h"
#include "wire/connection.h"

namespace sp::member {

// What a service says of itself now and then (with each lease request); kept in memory by the leading beacon only, for status, metrics and tasks.
struct DiskReport {
  DiskId disk = 0;
  uint64_t blocks_total = 0, blocks_used = 0, objects_total = 0, objects_used = 0, memory_bytes = 0;
};
struct TaskReport {                       // recovery of one disk in one allocation group, or of all its sets
  DiskId disk = 0;
  uint64_t objects_all = 0, objects_completed = 0, objects_in_flight = 0, bytes_moved = 0;
};
struct SetReport {                        // by the primary, only where something waits
  SetId set;
  uint64_t writes_waiting = 0;
  std::string waits_for;                  // "min_copies: disks 3, 5 are missing", "activation: server 2 on node 4 does not answer"
};
struct Report {
  uint64_t fenced_index = 0;              // changes of the map up to here are in force: requests under older attachments are finished or dropped
  std::vector<ServiceId> unreachable;     // services that we need and cannot reach
  std::vector<DiskReport> disks;
  std::vector<TaskReport> tasks;
  std::vector<SetReport> sets;
  std::vector<std::pair<VolumeId, uint64_t>> requests_waiting;   // clients: per volume, oldest request's age in ms
};

struct Options {
  wire::ClusterKey key;
  wire::Identity self;
  std::vector<io::Address> beacons;       // in order of preference
  map::Service registration;              // address, version, started_ms
  std::vector<map::Disk> disks;           // servers: the disks held now
  bool with_buckets = false;              // mgmt only
};

struct ServiceReport {
  ServiceId service;
  Report report;
  uint64_t age_ms = 0;
};

class Member {
 public:
  struct Events {
    Callback<void(const std::vector<map::Change>&)> map_changed;   // empty vector: the whole map is new
    Callback<Report()> make_report;                                // asked before each lease request
  };
  virtual ~Member() = default;

  static std::unique_ptr<Member> start(io::Host& host, Options options, Events events);

  virtual const map::Map& map() const = 0;          // index 0: none yet
  virtual bool connected() const = 0;
  virtual io::Instant lease_until() const = 0;      // in the past when there is none
  // Agreed, applied, and this Member's map has reached it when ok (the value is its index). Refusals carry the Code that map/command.h names; Code::unreachable: no
  // leader; Code::transient: outcome unknown, ask the map.
  virtual void command(const map::Command& command, Callback<void(Result<uint64_t>)> done) = 0;
  // Completes when every live server has put the map up to `index` in force (fenced_index), or lost its lease. Code::timed_out after `timeout`.
  virtual void confirm(uint64_t index, io::Duration timeout, Callback<void(Status)> done) = 0;
  // All reports that the leading beacon has.
  virtual void reports(Callback<void(Result<std::vector<ServiceReport>>)> done) = 0;
  // Registers again, e.g. with another list of disks (a disk was returned or given away).
  virtual void update_disks(std::vector<map::Disk> disks) = 0;
};

}  // namespace sp::member
