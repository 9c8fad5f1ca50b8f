// Context: what the parts of one server service share: its disks with their replicas, its
// connections, its tie to the cluster, its counters. Owned by Server, outlives every part that
// holds a reference. Thread rule: one reactor.
#pragma once
#include <algorithm>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <unordered_map>

#include "io/counted_disk.h"
#include "member/member.h"
#include "serve/peers.h"
#include "serve/replica.h"
#include "serve/space.h"
#include "serve/stands.h"
#include "serve/tuning.h"
#include "store/bounds.h"
#include "store/store.h"

namespace sp::serve {

struct LocalDisk {
  DiskId id = 0;
  uint64_t uuid = 0;
  std::string path;
  std::unique_ptr<store::Store> store;
  std::shared_ptr<const io::DiskCounts> counts;  // null: not counted
  // That writes may still take: as counted now and then, less what has come since.
  uint64_t blocks_free = 0;
  io::Instant counted;
  void count_space(io::Instant now) {
    const auto stats = store->space();
    const uint64_t share = stats.blocks_total * store::share_for_users_percent / 100;
    const uint64_t taken = stats.blocks_used + share / limits::space_reserve_divisor;
    blocks_free = share - std::min(taken, share);
    // A write that is ordered has to find room everywhere, also for a new object.
    if (stats.objects_used + limits::space_margin_objects >= stats.objects_total) blocks_free = 0;
    counted = now;
  }
  void take_space(uint64_t blocks) { blocks_free -= std::min(blocks, blocks_free); }
  // What was written over in between is free again: counted anew when it matters.
  uint64_t space_to_tell(io::Instant now) {
    if (blocks_free < limits::space_low_blocks && now - counted >= limits::space_count_interval)
      count_space(now);
    return blocks_free;
  }
  // Blocks that were mended, or could not be, lately: until then they are left alone, so that two
  // copies which are damaged in the same block do not make each other mend it without end.
  std::map<std::pair<ObjectId, uint16_t>, io::Instant> mended_until;
  uint32_t lost_slot_next = 0;  // where mending of blocks that came as lost goes on
  bool failed = false;          // nothing is asked of it any more; it stays until the server ends
  bool failure_in_flight = false;
  std::unordered_map<SetId, std::unique_ptr<Replica>> replicas;

  Replica& replica(io::Host& host, SetId set) {
    auto& place = replicas[set];
    if (!place) place = std::make_unique<Replica>(host, *store, id, set);
    return *place;
  }
};

struct Counters {
  uint64_t reads = 0, writes = 0, duplicates = 0;
  uint64_t activations = 0, records_equalized = 0, evictions = 0;
  uint64_t objects_recovered = 0, bytes_recovered = 0, promotions = 0;
  uint64_t blocks_repaired = 0, blocks_lost = 0;
};

// Where a copy is to be spoken to.
struct Place {
  DiskId disk = 0;
  ServiceId server;
  uint64_t uuid = 0;           // of the disk that the map means by this id
  LocalDisk* local = nullptr;  // set when the disk is ours
};

struct Context {
  io::Host& host;
  member::Member& member;
  wire::Identity self;
  Tuning tuning;
  Peers peers;
  std::map<DiskId, std::unique_ptr<LocalDisk>> disks;
  std::function<void(uint64_t link, wire::Message message)> reply;
  Space space;  // of disks of other servers
  Stands stands;
  uint32_t recoveries = 0;
  Counters counters;

  Context(io::Host& host_, member::Member& member_, const wire::ClusterKey& key,
          const wire::Identity& self_, const Tuning& tuning_ = {})
      : host(host_), member(member_), self(self_), tuning(tuning_), peers(host_, key, self_) {}

  io::Instant now() const { return host.clock.now(); }
  const map::Map& map() const { return member.map(); }
  const map::DiskSet* row(SetId set) const {
    const auto found = map().sets.find(set);
    return found == map().sets.end() ? nullptr : &found->second;
  }
  LocalDisk* disk(DiskId id) {
    const auto found = disks.find(id);
    return found == disks.end() || found->second->failed ? nullptr : found->second.get();
  }
  // The cluster knows this very process, and that it holds the disk, by id and uuid: only then was
  // every epoch in the map made for us and not for a predecessor, or for another disk with the id.
  bool holds(DiskId id) const;
  bool serves(DiskId id) const { return now() < member.lease_until() && holds(id); }
  // Where the disk that the map means is. One of ours that only carries its id is not it.
  Place place(DiskId id);
  void ask_space(DiskId id);
};

}  // namespace sp::serve
