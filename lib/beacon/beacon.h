// Beacon: the service that keeps a cluster together: one per node. It votes, holds the agreed
// state, watches the services of its node and the other beacons, and hands out map and leases.
// Protocol: sp-protocol(7).
//
// Parts: Links (connections), Peers (other beacons), Sessions (services of this node), Consensus
// (Raft, log, State), Proposals (commands until their outcome is known), Leader (what the leading
// beacon does). This class only passes things between them. Start returns at once; `failed` is
// called when the beacon cannot go on (its log, state or snapshot file, or its address is in use),
// after which it only waits to be destroyed; that its node has left the cluster, or that the
// cluster has a newer feature level than it knows, is among the reasons. Thread rule: one reactor;
// may be destroyed at any time but inside `failed`.
#pragma once
#include <memory>

#include "base/callback.h"
#include "base/limits.h"
#include "io/host.h"
#include "map/map.h"
#include "raft/bounds.h"
#include "wire/connection.h"

namespace sp::beacon {

struct Options {
  wire::ClusterKey key;
  wire::Identity self;  // service {beacon, node, 1}; cluster id and incarnation as in sp.toml; a
                        // start id of this process; what versions it is to speak
  std::string cluster_name;
  std::vector<map::Node> nodes;  // all of sp.toml: id, name, fault set, voting, address
                                 // ("10.0.0.1:4100"); this one too
  std::string log_path;          // the agreement log
  std::string snapshot_path;     // snapshots of the state
  std::string state_path;        // SQLite database for people to read, empty for none
  bool bootstrap = false;        // make a new cluster, of which this node is the first voter
  uint64_t log_frames_bytes = 128u << 20;  // at least 8 MiB
  uint64_t snapshot_bytes = 256u << 20;    // of one snapshot; four are kept at most
  uint32_t log_entries_kept = limits::beacon_log_entries_kept;
  raft::Bounds raft;
  uint32_t commands_max = limits::beacon_commands_max;  // of its services, under way
};

struct View {
  bool started = false;
  bool leads = false;  // and is in charge: established, no older lease alive
  NodeId leader = 0;   // 0: none known
  uint64_t term = 0;
  uint64_t commit_index = 0;
  uint64_t commit_term = 0;  // of the entry there
  uint64_t last_index = 0;
  int64_t lease_left_ns = 0;   // of those that it may have handed out as leader, by its own clock
  uint64_t applied_index = 0;  // of the state: the last command
  uint64_t content_hash = 0;
  uint64_t log_id = 0;
  bool voter = false;
  bool abstains = false;  // has lost entries and has not caught up
  uint32_t voters = 0;
  uint32_t members = 0;
  uint32_t commands_open = 0;  // that this beacon has passed on and not answered
};

// One of the agreement group, as this beacon's log has it, committed or not.
struct GroupMember {
  NodeId node = 0;
  uint64_t log_id = 0;
  bool voter = false;
};

class Beacon {
 public:
  virtual ~Beacon() = default;
  // Code::invalid: the options contradict each other. All else is found out later and told by
  // `failed`.
  static Result<std::unique_ptr<Beacon>> start(io::Host& host, Options options,
                                               Callback<void(const Error&)> failed);

  virtual View view() const = 0;
  virtual const map::Map* map() const = 0;  // nullptr before it has started
  // Of the entry at that index of the agreement log; 0 when it is not in the log (any more, yet).
  virtual uint64_t term_at(uint64_t index) const = 0;
  virtual std::vector<GroupMember> group() const = 0;
};

}  // namespace sp::beacon
