// A small world in all its interleavings: three members, at most two proposals, two crashes and
// three elections, every order of deliveries (or none), of durable writes, crashes and campaigns,
// down to a depth. States seen before with as much depth left are not entered again. Left out,
// because random runs cover them: heartbeats, time-outs of voters (their waits are over whenever
// they are asked), doubled messages.
#include <doctest/doctest.h>

#include <cstdlib>
#include <unordered_map>

#include "model/raft/group.h"

using namespace raft_test;

namespace {

constexpr NodeId world_nodes = 3;

struct World {
  Group group;
  std::map<NodeId, int64_t> clock;
  std::vector<Message> network;
  int crashes_left = 2, proposals_left = 2, elections_left = 3;

  World() {
    Config config;
    for (NodeId id = 1; id <= world_nodes; ++id) config.members.push_back({id, id, true});
    for (NodeId id = 1; id <= world_nodes; ++id) {
      Options options;
      options.self = id;
      options.log_id = id;
      options.election_timeout_min_ns = options.election_timeout_max_ns = 2;
      options.heartbeat_interval_ns = 1;
      Restored restored;
      restored.base.config = config;
      group.start(id, options, restored, 0);
    }
  }

  void step(NodeId id, Event event) {
    group.step(id, clock[id], std::move(event));
    collect();
  }
  void persist(NodeId id) {
    group.persist(id, clock[id]);
    collect();
  }
  void collect() {
    for (Message& m : group.outbox)
      if (m.type != MessageType::heartbeat && m.type != MessageType::heartbeat_answer)
        network.push_back(std::move(m));
    group.outbox.clear();
  }
  // Pre-votes only decide whether an election begins: they are exchanged at once.
  void campaign(NodeId id) {
    clock[id] += 3;
    step(id, Tick{});
    for (bool again = true; again;) {
      again = false;
      for (size_t i = 0; i < network.size(); ++i) {
        if (network[i].type != MessageType::pre_vote &&
            network[i].type != MessageType::pre_vote_answer)
          continue;
        deliver(i);
        again = true;
        break;
      }
    }
  }
  void deliver(size_t index) {
    Message m = std::move(network[index]);
    network.erase(network.begin() + static_cast<ptrdiff_t>(index));
    if (m.type == MessageType::vote || m.type == MessageType::pre_vote) clock[m.to] += 3;
    const NodeId to = m.to;
    step(to, Receive{std::move(m)});
    if (Node& node = group.nodes.at(to); node.app.applied > node.raft->applied_index())
      step(to, Applied{node.app.applied});
  }
  void crash(NodeId id) {
    group.crash(id);
    group.boot(id, clock[id]);
  }

  uint64_t fingerprint() const {
    uint64_t sum = static_cast<uint64_t>(crashes_left * 16 + proposals_left * 4 + elections_left);
    for (const Message& m : network) sum += mix64(crc64(m.encode()));  // any order
    for (const auto& [id, node] : group.nodes) {
      uint64_t own = crc64(as_bytes(node.raft->describe()), id);
      own = mix64(own + node.writes.size() * 64 + node.stored.entries.size());
      own = mix64(own + node.stored.hard_state.term * 64 + node.stored.hard_state.vote);
      for (const LogEntry& entry : node.stored.entries) own = mix64(own + hash_of(entry));
      sum = mix64(sum + own);
    }
    for (const auto& [index, hash] : group.committed) sum = mix64(sum + hash);
    for (const auto& [term, node] : group.leaders) sum = mix64(sum + term * 64 + node);
    return sum;
  }
};

class Search {
 public:
  void enter(const World& world, int depth) {
    if (depth == 0) return;
    int& seen = seen_[world.fingerprint()];
    if (seen >= depth) return;
    seen = depth;
    ++states_;
    for (size_t i = 0; i < world.network.size(); ++i)
      branch(world, depth, [i](World& w) { w.deliver(i); });
    for (NodeId id = 1; id <= world_nodes; ++id) {
      const Node& node = world.group.nodes.at(id);
      if (!node.writes.empty()) branch(world, depth, [id](World& w) { w.persist(id); });
      if (world.elections_left > 0 && node.raft->role() != Role::leader)
        branch(world, depth, [id](World& w) {
          --w.elections_left;
          w.campaign(id);
        });
      if (world.crashes_left > 0)
        branch(world, depth, [id](World& w) {
          --w.crashes_left;
          w.crash(id);
        });
      if (world.proposals_left > 0 && node.raft->role() == Role::leader)
        branch(world, depth, [id](World& w) {
          const auto value = static_cast<std::byte>(w.proposals_left--);
          w.step(id, Propose{1, {value}});
        });
    }
  }
  uint64_t states() const { return states_; }
  bool committed_two = false;

 private:
  template <class Action>
  void branch(const World& from, int depth, Action action) {
    World next = from;
    action(next);
    committed_two = committed_two || next.group.committed.size() >= 2;
    enter(next, depth - 1);
  }
  std::unordered_map<uint64_t, int> seen_;
  uint64_t states_ = 0;
};

}  // namespace

TEST_CASE("three members keep every invariant in all interleavings of a small world") {
  const char* chosen = std::getenv("RAFT_DEPTH");
  const int depth = chosen != nullptr ? std::atoi(chosen) : 9;
  Search fresh;
  try {
    fresh.enter(World(), depth);
  } catch (const Violation& violation) {
    FAIL(std::string(violation.what()));
  }
  // And from a leader with a proposal of its own on its way, where the interesting orders are
  // deeper.
  World led;
  --led.elections_left;
  led.campaign(1);
  led.persist(1);
  for (size_t i = 0; i < led.network.size(); ++i)
    if (led.network[i].to == 2) {
      led.deliver(i);
      break;
    }
  led.persist(2);
  while (led.group.nodes.at(1).raft->role() != Role::leader) led.deliver(led.network.size() - 1);
  --led.proposals_left;
  led.step(1, Propose{1, {std::byte{9}}});
  Search deep;
  try {
    deep.enter(led, depth - 1);
  } catch (const Violation& violation) {
    FAIL(std::string(violation.what()));
  }
  MESSAGE("states " << fresh.states() << " and " << deep.states());
  if (chosen != nullptr) return;
  CHECK(fresh.states() > 10000);
  CHECK(deep.committed_two);
}
