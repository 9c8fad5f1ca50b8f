// Member: a service's tie to its cluster, through a beacon: registration, the map, the lease,
// commands, reports.
//
// - The map is a replica of the agreed state; it is replaced and changed only between reactor
// turns, followed by one call of `map_changed`. It may be behind, never
//   ahead or wrong; whoever acts on it names epochs and generations, and is told when they are
//   stale.
// - The lease says until when this service may serve. It is counted from the sending of our own
// request, and is a promise that no other service is
//   put in our place before it ends. A server checks it *after* choosing the version that a read
//   returns, and before it answers a write.
// - The connection may come and go; the Member reconnects by itself (own node's beacon first, then
// others where allowed) and registers again with the same start id.
//   While it is away, map and lease simply grow old. Commands in flight across a loss end with
//   Code::transient when their outcome is unknown.
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
#include "wire/member_messages.h"

namespace sp::member {

using wire::DiskReport;
using wire::Report;
using wire::ServiceReport;
using wire::SetReport;
using wire::TaskReport;

struct Options {
  wire::ClusterKey key;
  wire::Identity self;
  std::vector<io::Address> beacons;  // in order of preference
  map::Service registration;         // address, version, started_ms
  std::vector<map::Disk> disks;      // servers: the disks held now
  bool with_buckets = false;         // mgmt only
};

class Member {
 public:
  struct Events {
    Callback<void(const std::vector<map::Change>&)>
        map_changed;  // empty vector: the whole map is new. Not called when only the index rises:
                      // nothing that concerns this service changed, and its fenced_index rises by
                      // itself
    Callback<Report()> make_report;  // asked before each lease request
  };
  virtual ~Member() = default;

  static std::unique_ptr<Member> start(io::Host& host, Options options, Events events);

  virtual const map::Map& map() const = 0;  // index 0: none yet
  virtual bool connected() const = 0;
  virtual io::Instant lease_until() const = 0;  // in the past when there is none
  // Agreed, applied, and this Member's map has reached it when ok (the value is its index).
  // Refusals carry the Code that map/command.h names; Code::unreachable: no leader;
  // Code::transient: outcome unknown, ask the map.
  virtual void command(const map::Command& command, Callback<void(Result<uint64_t>)> done) = 0;
  // Completes when every live server has put the map up to `index` in force (fenced_index), or lost
  // its lease. Code::timed_out after `timeout`.
  virtual void confirm(uint64_t index, io::Duration timeout, Callback<void(Status)> done) = 0;
  // What commands, confirmations and this service itself wait for, in words; empty: for nothing.
  virtual std::string waits_for() const { return {}; }
  // All reports that the leading beacon has.
  virtual void reports(Callback<void(Result<std::vector<ServiceReport>>)> done) = 0;
  // Registers again, e.g. with another list of disks (a disk was returned or given away).
  virtual void update_disks(std::vector<map::Disk> disks) = 0;
};

}  // namespace sp::member
