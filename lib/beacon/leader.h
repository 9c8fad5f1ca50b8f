// Leader: what the beacon does that leads: admits commands, grants leases, watches nodes, keeps the
// group's members, collects reports. Its tables live for one leadership and are rebuilt by what the
// nodes say; nothing of them is agreed.
//
// Rules that keep two servers from serving one set as its primary:
//  - A lease is granted only after a majority has answered a round that began after the request
//  came, by the established leader, to a service that the applied state
//    shows as up with this start id, and of which no ServiceDown, NodeDown or restart is on its way
//    through the log. It counts from the asker's sending.
//  - ServiceDown of a process that may still live, ServiceUp of its successor and NodeDown wait
//  until every lease granted to it has ended.
//  - A live server that ceases to be primary without staying a copy of the set (it was evicted, or
//  placement moved on; at once, or before the copies of the new epoch have promised) gets no lease
//    until it says that this change is in force there (fenced_index), and the set is activated
//    under its next primary only when it has said so, or its lease has ended.
//  - A server gets a lease only when what was confirmed to others is in force there; a new leader
//  takes all that it found committed for confirmed.
// Instants are of this beacon's clock; ends of leases are counted from the arrival of requests with
// twice the drift bound on top. Thread rule: one reactor.
#pragma once
#include <deque>
#include <map>
#include <set>
#include <tuple>

#include "beacon/consensus.h"
#include "beacon/peers.h"
#include "wire/beacon_messages.h"

namespace sp::beacon {

class Leader {
 public:
  struct Options {
    NodeId self = 0;
    ClusterId cluster = 0;
    std::string cluster_name;
    std::vector<map::Node> nodes;  // from sp.toml
    uint32_t feature_level_newest = Versions().feature_level_newest;
  };
  struct Events {
    Callback<void(NodeId, wire::Message)> send;   // to the beacon of a node, this one too
    Callback<void(const map::Command&)> propose;  // by this beacon's Proposals
  };
  Leader(io::Host& host, Consensus& consensus, Peers& peers, Options options, Events events);

  // What the other beacons (and this one) say.
  void heard(NodeId node);
  void forward(NodeId from, wire::ForwardCommand command);
  void lease_request(NodeId from, wire::NodeLeaseRequest request);
  void reports_query(NodeId from, uint64_t request);
  // What Consensus says.
  void answered(const raft::Answer& answer);
  void applied(const raft::LogEntry& entry, const Envelope* envelope,
               const state::Applied* applied);
  void stranger(const raft::Member& member);
  void settled();
  void tick();  // every 50 ms or so

  bool in_charge() const;  // established, and no lease of an earlier leader is alive

 private:
  using CommandKey = std::tuple<NodeId, uint64_t, uint64_t>;  // origin, its start, number
  struct Service {
    uint64_t start_id = 0;
    wire::Report report;
    io::Instant reported;
  };
  struct NodeWatch {
    io::Instant heard;
    std::map<ServiceId, Service> services;
    io::Instant proposed{INT64_MIN / 2};  // NodeUp or NodeDown, last
    uint32_t feature_level = 0;           // that it says it supports, 0: has not said
  };
  struct LeaseAsk {
    NodeId node = 0;
    uint64_t sent_ns = 0;
    io::Instant received;
    std::vector<std::pair<ServiceId, uint64_t>> services;
  };
  struct Held {
    NodeId from = 0;
    wire::ForwardCommand forward;
    map::Command command;
  };
  struct Departing {  // on its way through the log: no leases for it
    NodeId node = 0;  // a whole node, or
    std::optional<ServiceId> service;
    uint64_t tag = 0;
  };
  enum class Verdict { proposed, refused, wait };
  struct Holder {  // a primary, and where its disk is
    DiskId disk = 0;
    ServiceId server;
    auto operator<=>(const Holder&) const = default;
  };
  struct CutWatch {
    io::Instant seen;      // by this leader, first
    io::Instant proposed;  // CloseCut, last
  };
  struct Dropped {  // a live server that is no primary of the set any more
    ServiceId server;
    uint64_t index = 0;
  };

  bool leading() const { return term_ != 0; }
  void begin();
  void end();
  void learn_primaries();
  // leader_commands.cc
  void take(const CommandKey& key);
  Verdict admit(Held& held);
  bool must_wait(const Held& held);
  void apply_connectivity_rule(map::SetEvict& evict) const;
  size_t unreachable_count(ServiceId service) const;
  bool lease_over(ServiceId service) const;
  bool node_leases_over(NodeId node) const;
  void retry_held();
  void refuse(NodeId from, const wire::ForwardCommand& forward, Code code, std::string text);
  void note_primaries(uint64_t index, const std::vector<map::Change>& changes);
  void drop(SetId set, ServiceId server, uint64_t index);
  // leader_leases.cc
  void start_round();
  void finish_round();
  bool may_serve(ServiceId service, uint64_t start_id) const;
  const Service* watched(ServiceId service) const;
  uint64_t fenced_index(ServiceId service) const;
  void raise_confirmed();
  // leader_cuts.cc
  void note_cut_floor(uint64_t index, const std::vector<map::Change>& changes);
  void close_cuts();
  bool is_settled(const map::Cut& cut) const;
  // leader_members.cc
  void watch_nodes();
  void keep_nodes();
  void keep_members();
  std::optional<raft::MemberChange> wanted_change() const;
  bool hand_over();
  // leader_nodes.cc
  std::optional<Verdict> admit_node_command(const Held& held, std::string& why);
  std::optional<Verdict> admit_leaving(const Held& held, NodeId node, std::string& why);
  std::string unsupported_by(uint32_t level) const;

  io::Host& host_;
  Consensus& consensus_;
  Peers& peers_;
  Options options_;
  Events events_;
  io::Timer round_timer_;
  uint64_t last_tag_ = 0;

  NodeId leader_before_ = 0;  // whom this node followed last, and when it was heard
  io::Instant leader_before_heard_;
  uint64_t term_ = 0;     // of the leadership that the tables belong to, 0: not leading
  bool charged_ = false;  // in_charge() was seen in this term
  std::map<NodeId, NodeWatch> nodes_;
  std::map<ServiceId, io::Instant> lease_end_;
  std::map<ServiceId, uint64_t> fence_floor_;
  uint64_t confirmed_ = 0;
  std::map<VolumeId, CutWatch> cuts_;
  uint64_t cut_floor_ = 0;  // reports made under an older map say nothing about cuts

  std::deque<LeaseAsk> asking_;
  std::vector<LeaseAsk> in_round_;
  uint64_t round_tag_ = 0;
  raft::Index round_index_ = 0;  // not 0: the round is confirmed, the state has to reach this
  io::Instant round_started_{INT64_MIN};

  std::set<CommandKey> taken_;
  std::map<uint64_t, std::pair<NodeId, wire::ForwardCommand>>
      proposed_;  // by tag, until Raft has answered; without the command
  std::map<CommandKey, Departing> departing_;
  std::deque<Held> held_;
  std::optional<CommandKey> leaving_;  // a voter's leave that is on its way through the log
  std::map<SetId, Holder> primaries_;
  std::map<SetId, std::set<Holder>>
      untold_;  // earlier ones that are copies of an epoch that is not activated
  std::map<SetId, std::vector<Dropped>> dropped_;
  io::Instant members_changed_{INT64_MIN};
  io::Instant handed_over_{INT64_MIN};
  io::Instant put_nodes_at_{INT64_MIN};
};

// The longest that a lease can last on our clock, counted from the arrival of the request for it.
io::Duration lease_bound();

}  // namespace sp::beacon
