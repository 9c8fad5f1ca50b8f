#include "beacon/beacon.h"

#include <vector>

#include "base/probe.h"
#include "beacon/leader.h"
#include "beacon/proposals.h"
#include "beacon/sessions.h"

namespace sp::beacon {

namespace {

using wire::Message;
using wire::MessageType;

constexpr auto tick_interval = std::chrono::milliseconds(50);
constexpr size_t queries_kept = 1024;

struct Addresses {
  std::map<NodeId, io::Address> all;
};

Result<Addresses> addresses_of(const Options& options) {
  Addresses addresses;
  for (const map::Node& node : options.nodes) {
    if (node.id == 0 || node.id > limits::nodes_max)
      return Error(Code::invalid, "node ids are 1 to " + std::to_string(limits::nodes_max));
    auto address = io::Address::parse(node.address);
    if (!address.ok())
      return std::move(address).error().with("address of the beacon of node " +
                                             std::to_string(node.id));
    if (!addresses.all.emplace(node.id, std::move(address).value()).second) {
      return Error(Code::invalid, "node " + std::to_string(node.id) + " is there twice");
    }
  }
  const auto& self = options.self.service;
  if (self.kind != ServiceKind::beacon || addresses.all.count(self.node) == 0) {
    return Error(Code::invalid,
                 "node " + std::to_string(self.node) + " is not among the nodes of sp.toml");
  }
  return addresses;
}

Status check_sizes(const Options& options) {
  const auto pages = [](uint64_t bytes) { return bytes != 0 && bytes % raft_page_bytes == 0; };
  constexpr uint64_t frames_min = 2 * uint64_t{raft_frame_bytes_max};
  if (options.log_frames_bytes < frames_min || !pages(options.log_frames_bytes))
    return Error(Code::invalid, "the agreement log needs at least " + std::to_string(frames_min) +
                                    " bytes for entries, in pages of 4096, and is given " +
                                    std::to_string(options.log_frames_bytes));
  if (!pages(options.snapshot_bytes))
    return Error(Code::invalid,
                 "snapshots of the state need room in pages of 4096 bytes, and are "
                 "given " +
                     std::to_string(options.snapshot_bytes));
  if (options.log_entries_kept == 0)
    return Error(Code::invalid, "the agreement log has to keep at least one applied entry");
  return {};
}

class BeaconImpl final : public Beacon {
 public:
  BeaconImpl(io::Host& host, Options options, Addresses addresses,
             Callback<void(const Error&)> failed)
      : host_(host),
        options_(std::move(options)),
        node_(options_.self.service.node),
        addresses_(std::move(addresses)),
        failed_(std::move(failed)),
        timer_(host.reactor),
        links_(host, options_.key, options_.self,
               {[this](LinkId id, const wire::Identity& peer) { link_ready(id, peer); },
                [this](LinkId id, Message message) { link_message(id, message); },
                [this](LinkId id, const Error& why) { link_closed(id, why); }}),
        sessions_(host, links_, node_,
                  {[this](std::vector<std::byte> command, bool gone, Sessions::Done done) {
                     propose(std::move(command), gone, std::move(done));
                   },
                   [this](wire::NodeLeaseRequest request) { ask_leases(std::move(request)); },
                   [this](LinkId id, uint64_t request) { query_reports(id, request); }}),
        proposals_(host, node_, options_.self.start_id,
                   [this](const wire::ForwardCommand& forward) {
                     send(leader_, {MessageType::forward_command, 0, encode(forward), {}});
                   }) {}
  ~BeaconImpl() override { *alive_ = false; }

  void begin() {
    Consensus::Options options;
    options.self = node_;
    options.cluster = options_.self.cluster;
    options.log_path = options_.log_path;
    options.snapshot_path = options_.snapshot_path;
    options.state_path = options_.state_path;
    options.bootstrap = options_.bootstrap;
    options.log_frames_bytes = options_.log_frames_bytes;
    options.snapshot_bytes = options_.snapshot_bytes;
    options.log_entries_kept = options_.log_entries_kept;
    options.raft = options_.raft;
    options.feature_level_newest = options_.self.versions.feature_level_newest;
    Consensus::Events events;
    events.started = [this] { started(); };
    events.failed = [this](const Error& why) { fail(why); };
    events.send = [this](NodeId to, Message message) { peers_->send(to, std::move(message)); };
    events.applied = [this](const raft::LogEntry& entry, const Envelope* envelope,
                            const state::Applied* applied) { take(entry, envelope, applied); };
    events.restored = [this] { restored(); };
    events.answered = [this](const raft::Answer& answer) { leader_part_->answered(answer); };
    events.stranger = [this](const raft::Member& member) { leader_part_->stranger(member); };
    events.settled = [this] { settled(); };
    consensus_ = std::make_unique<Consensus>(host_, std::move(options), std::move(events));
    timer_.arm(tick_interval, [this] { tick(); });
  }

  View view() const override;
  const map::Map* map() const override { return peers_ ? &consensus_->state().map() : nullptr; }
  uint64_t term_at(uint64_t index) const override {
    return peers_ ? consensus_->raft().log().term_at(index) : 0;
  }
  std::vector<GroupMember> group() const override;

 private:
  // An applied entry whose proposer is told after the map has gone out.
  struct Taken {
    raft::LogEntry entry;  // without data
    std::optional<Envelope> envelope;
    state::Applied applied;
  };

  void started();
  void fail(const Error& why);
  void tick();
  void link_ready(LinkId id, const wire::Identity& peer);
  void link_message(LinkId id, Message& message);
  void link_closed(LinkId id, const Error& why);
  void peer_message(NodeId from, Message message);
  void send(NodeId to, Message message);
  void take(const raft::LogEntry& entry, const Envelope* envelope, const state::Applied* applied);
  void restored();
  void settled();
  void propose(std::vector<std::byte> command, bool gone, Sessions::Done done);
  void ask_leases(wire::NodeLeaseRequest request);
  void query_reports(LinkId id, uint64_t request);
  void told_of_removal(NodeId from, uint64_t index);
  void follow_group();
  uint8_t protocol(NodeId peer) const {
    return peer == node_ ? options_.self.versions.protocol_newest : peers_->protocol(peer);
  }

  io::Host& host_;
  Options options_;
  NodeId node_;
  Addresses addresses_;
  Callback<void(const Error&)> failed_;
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
  io::Timer timer_;
  Links links_;
  Sessions sessions_;
  Proposals proposals_;
  std::unique_ptr<Consensus> consensus_;
  std::unique_ptr<Peers> peers_;  // these two from started() on
  std::unique_ptr<Leader> leader_part_;
  NodeId leader_ = 0;
  std::pair<uint64_t, uint64_t> followed_;  // indices of map and group that the peers are of
  uint64_t distributed_ = 0;                // the map's index that the sessions have
  std::vector<map::Change> changes_;        // since then
  std::vector<Taken> taken_;
  bool settling_ = false;
  bool stopped_ = false;
  uint64_t last_query_ = 0;
  std::map<uint64_t, std::pair<LinkId, uint64_t>> queries_;  // reports asked of the leader
};

// Before the log is open there is nothing to say to anybody, so nobody can connect before.
void BeaconImpl::started() {
  Peers::Options peers{node_, consensus_->log_id(), addresses_.all,
                       [this](NodeId from, uint64_t index) { told_of_removal(from, index); }};
  peers_ = std::make_unique<Peers>(host_, links_, std::move(peers));
  Leader::Options leader{node_, options_.self.cluster, options_.cluster_name, options_.nodes,
                         options_.self.versions.feature_level_newest};
  leader_part_ = std::make_unique<Leader>(
      host_, *consensus_, *peers_, std::move(leader),
      Leader::Events{[this](NodeId to, Message message) { send(to, std::move(message)); },
                     [this](const map::Command& command) {
                       propose(map::encode(command), false,
                               [this, name = map::name(command)](const Result<uint64_t>& result) {
                                 if (result.ok()) return;
                                 host_.log.warning(
                                     "not agreed",
                                     {{"command", name}, {"why", result.error().message()}});
                               });
                     }});
  distributed_ = consensus_->state().map().index;
  sessions_.replaced(consensus_->state().map());
  if (Status listening = links_.listen(addresses_.all.at(node_)); !listening.ok()) {
    return fail(std::move(listening).error().with("listening for beacons and services"));
  }
  peers_->tick();
}

void BeaconImpl::fail(const Error& why) {
  if (stopped_) return;
  stopped_ = true;
  timer_.cancel();
  host_.log.error("the beacon stops", {{"why", why.message()}});
  failed_(why);
}

void BeaconImpl::tick() {
  if (stopped_) return;
  timer_.arm(tick_interval, [this] { tick(); });
  if (!peers_) return;
  peers_->tick();
  consensus_->tick();
  if (!consensus_->running()) return;
  leader_part_->tick();
  proposals_.tick();
  sessions_.tick();
}

// connections

void BeaconImpl::link_ready(LinkId id, const wire::Identity& peer) {
  const bool accepted =
      !stopped_ && (peer.service.kind == ServiceKind::beacon ? peers_->ready(id, peer)
                                                             : sessions_.ready(id, peer));
  if (!accepted) links_.close(id);
}

void BeaconImpl::link_message(LinkId id, Message& message) {
  if (stopped_) return;
  if (const auto node = peers_->node_of(id)) return peer_message(*node, std::move(message));
  sessions_.message(id, message);
}

void BeaconImpl::link_closed(LinkId id, const Error& why) {
  if (stopped_) return;
  if (sessions_.has(id))
    sessions_.closed(id, why);
  else
    peers_->closed(id);
}

void BeaconImpl::send(NodeId to, Message message) {
  if (to != node_) return peers_->send(to, std::move(message));
  auto held = std::make_shared<Message>(std::move(message));
  host_.reactor.post([this, alive = alive_, held] {
    if (*alive && !stopped_) peer_message(node_, std::move(*held));
  });
}

void BeaconImpl::peer_message(NodeId from, Message message) {
  if (!consensus_->running()) return;
  if (from != node_ && peers_->take(from, message)) return;
  leader_part_->heard(from);
  const auto malformed = [&] {
    host_.log.warning("malformed message",
                      {{"node", from}, {"type", static_cast<int>(message.type)}});
  };
  switch (message.type) {
    case MessageType::raft: {
      auto body = raft::Message::decode(message.body);
      if (!body.ok() || body->from != from) return malformed();
      return consensus_->submit(raft::Receive{std::move(body).value()});
    }
    case MessageType::forward_command: {
      auto body = wire::decode<wire::ForwardCommand>(message.body);
      if (!body || body->origin != from) return malformed();
      return leader_part_->forward(from, std::move(*body));
    }
    case MessageType::forward_reply: {
      const auto body = wire::decode<wire::ForwardReply>(message.body);
      return body ? proposals_.refused(*body) : malformed();
    }
    case MessageType::node_lease_request: {
      auto body = wire::decode<wire::NodeLeaseRequest>(message.body, protocol(from));
      if (!body) return malformed();
      for (const wire::NodeService& service : body->services) {
        if (service.service.node != from) return malformed();
      }
      return leader_part_->lease_request(from, std::move(*body));
    }
    case MessageType::node_lease_grant: {
      const auto body = wire::decode<wire::NodeLeaseGrant>(message.body);
      return body ? sessions_.granted(*body) : malformed();
    }
    case MessageType::node_confirmed: {
      const auto body = wire::decode<wire::NodeConfirmed>(message.body);
      return body ? sessions_.confirmed(body->index) : malformed();
    }
    case MessageType::node_reports_query: return leader_part_->reports_query(from, message.request);
    case MessageType::node_reports_reply: {
      const auto body = wire::decode<wire::NodeReportsReply>(message.body);
      if (!body) return malformed();
      const auto query = queries_.find(message.request);
      if (query == queries_.end()) return;
      const auto [link, request] = query->second;
      if (body->last || !body->ok) queries_.erase(query);
      return sessions_.reports(link, request, *body);
    }
    default: return;  // newer beacons may say more
  }
}

// the agreed state

void BeaconImpl::take(const raft::LogEntry& entry, const Envelope* envelope,
                      const state::Applied* applied) {
  leader_part_->applied(entry, envelope, applied);
  Taken& taken =
      taken_.emplace_back(Taken{{entry.index, entry.term, entry.kind, {}}, std::nullopt, {}});
  if (envelope == nullptr) return;
  changes_.insert(changes_.end(), applied->changes.begin(), applied->changes.end());
  taken.envelope = Envelope{envelope->origin, envelope->origin_start, envelope->number, {}};
  taken.applied.status = applied->status;
}

void BeaconImpl::restored() {
  changes_.clear();
  taken_.clear();
  distributed_ = consensus_->state().map().index;
  sessions_.replaced(consensus_->state().map());
  proposals_.restored();
}

// Raft has nothing more to do for now: the map goes out first, then the answers to those who
// proposed. A beacon that stops is told of no link any more, and sends nothing.
void BeaconImpl::settled() {
  if (settling_ || stopped_) return;
  settling_ = true;
  do {
    const map::Map& map = consensus_->state().map();
    const std::vector<map::Change> changes = std::exchange(changes_, {});
    const std::vector<Taken> taken = std::exchange(taken_, {});
    if (map.index != distributed_) {
      sessions_.changed(map, distributed_, changes);
      distributed_ = map.index;
    }
    for (const Taken& one : taken)
      proposals_.applied(one.entry, one.envelope ? &*one.envelope : nullptr, &one.applied);
    if (!taken.empty()) sessions_.reconcile();
    follow_group();
    leader_ = consensus_->raft().leader();
    leader_part_->settled();
    proposals_.leader(leader_, consensus_->raft().term());
  } while (!taken_.empty());
  settling_ = false;
}

void BeaconImpl::follow_group() {
  const uint64_t group = consensus_->raft().log().config_index();
  const map::Map& map = consensus_->state().map();
  if (std::exchange(followed_, std::pair(map.index, group)) == std::pair(map.index, group)) return;
  const auto& config = consensus_->raft().config();
  peers_->follow(map, [&](NodeId node) { return config.find(node) != nullptr; });
}

// Not when this node knows better: it was added again since.
void BeaconImpl::told_of_removal(NodeId from, uint64_t index) {
  const map::Map& map = consensus_->state().map();
  if (map.index >= index && map.nodes.count(node_) != 0) return;
  SP_PROBE(beacon_told_of_its_removal);
  fail(Error(Code::refused, "node " + std::to_string(node_) +
                                " was removed from the cluster, says the beacon of node " +
                                std::to_string(from) +
                                "; stop and disable its services, or bring it back with 'sp-node "
                                "add'"));
}

void BeaconImpl::propose(std::vector<std::byte> command, bool gone, Sessions::Done done) {
  if (proposals_.count() >= options_.commands_max) {
    return done(Error(Code::transient, "too many commands wait at this beacon; ask again later"));
  }
  proposals_.propose(std::move(command), gone, std::move(done));
}

void BeaconImpl::ask_leases(wire::NodeLeaseRequest request) {
  if (leader_ == 0 || !consensus_->running()) return;
  request.start_id = options_.self.start_id;
  request.applied_index = consensus_->processed();
  request.feature_level = sessions_.feature_level(options_.self.versions.feature_level_newest);
  send(leader_, {MessageType::node_lease_request, 0, encode(request, protocol(leader_)), {}});
}

void BeaconImpl::query_reports(LinkId id, uint64_t request) {
  if (leader_ == 0) {
    wire::NodeReportsReply reply;
    reply.code = Code::unreachable;
    reply.text = "no beacon leads: too few of the voting nodes reach each other";
    return sessions_.reports(id, request, reply);
  }
  if (queries_.size() >= queries_kept) queries_.erase(queries_.begin());
  queries_[++last_query_] = {id, request};
  send(leader_, {MessageType::node_reports_query, last_query_, {}, {}});
}

std::vector<GroupMember> BeaconImpl::group() const {
  std::vector<GroupMember> group;
  if (!peers_) return group;
  for (const raft::Member& member : consensus_->raft().config().members)
    group.push_back({member.node, member.log_id, member.voter});
  return group;
}

View BeaconImpl::view() const {
  View view;
  if (!peers_) return view;
  const raft::Raft& raft = consensus_->raft();
  view.started = true;
  view.leads = leader_part_->in_charge();
  view.leader = raft.leader();
  view.term = raft.term();
  view.commit_index = raft.commit_index();
  view.commit_term = raft.log().term_at(raft.commit_index());
  view.last_index = raft.last_index();
  if (const auto confirmed = raft.round_confirmed_ns(); confirmed && view.leads)
    view.lease_left_ns =
        *confirmed + io::Duration(limits::lease_length).count() - host_.clock.now().ns;
  view.applied_index = consensus_->state().map().index;
  view.content_hash = consensus_->state().content_hash();
  view.log_id = consensus_->log_id();
  view.voter = raft.is_voter();
  view.abstains = raft.abstaining();
  view.voters = raft.config().voter_count();
  view.members = static_cast<uint32_t>(raft.config().members.size());
  view.commands_open = static_cast<uint32_t>(proposals_.count());
  return view;
}

}  // namespace

Result<std::unique_ptr<Beacon>> Beacon::start(io::Host& host, Options options,
                                              Callback<void(const Error&)> failed) {
  SP_TRY(auto addresses, addresses_of(options));
  SP_CHECK(check_sizes(options));
  auto beacon = std::make_unique<BeaconImpl>(host, std::move(options), std::move(addresses),
                                             std::move(failed));
  beacon->begin();
  return std::unique_ptr<Beacon>(std::move(beacon));
}

}  // namespace sp::beacon
