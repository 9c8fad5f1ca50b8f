// A cluster of beacons and services in a simulated world, for tests.
#pragma once
#include <doctest/doctest.h>

#include <cstdio>
#include <cstdlib>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "beacon/beacon.h"
#include "io/sim_world.h"
#include "member/member.h"

namespace sp::test {

using namespace std::chrono_literals;

inline std::string ip_of(NodeId node) { return "10.0.0." + std::to_string(node); }

class Cluster {
 public:
  struct Node {
    NodeId id = 0;
    io::SimHost* host = nullptr;
    std::unique_ptr<beacon::Beacon> beacon;
    std::string failure;
  };
  struct Service {
    ServiceId id;
    io::SimHost* host = nullptr;
    std::unique_ptr<member::Member> member;
    uint64_t start_id = 0;
    std::vector<map::Disk> disks;
    member::Report report;
    bool fences = true;  // puts each map in force at once
    uint64_t map_changes = 0;

    bool leased() const {
      return host->alive() && member && host->host().clock.now() < member->lease_until();
    }
  };

  static io::SimOptions with_log(io::SimOptions options) {
    if (std::getenv("SP_TEST_LOG") != nullptr)
      options.log_sink = [](LogLevel, std::string_view line) {
        std::fprintf(stderr, "%.*s\n", static_cast<int>(line.size()), line.data());
      };
    return options;
  }
  explicit Cluster(uint32_t nodes, uint64_t seed = 1, io::SimOptions options = {})
      : world(seed, with_log(std::move(options))) {
    key.bytes.fill(std::byte{42});
    for (uint32_t i = 1; i <= nodes; ++i) {
      const auto id = static_cast<NodeId>(i);
      rows.push_back({id, "node" + std::to_string(i), "", true, false, ip_of(id) + ":4100"});
    }
    for (uint32_t i = 1; i <= nodes; ++i) add_node(static_cast<NodeId>(i));
  }

  Node& add_node(NodeId id) {
    auto node = std::make_unique<Node>();
    node->id = id;
    node->host = &world.add_host("beacon" + std::to_string(id), ip_of(id));
    Node& added = *node;
    nodes[id] = std::move(node);
    return added;
  }

  beacon::Options options_of(NodeId id, bool bootstrap) {
    beacon::Options options;
    options.key = key;
    options.self = {
        cluster_id, 1, {ServiceKind::beacon, id, 1}, world.random().number(), versions[id]};
    options.cluster_name = "test";
    options.nodes = rows;
    options.log_path = "log" + std::to_string(id);
    options.snapshot_path = "snapshot" + std::to_string(id);
    const auto database = databases.find(id);
    options.state_path = database != databases.end() ? database->second : ":memory:";
    options.bootstrap = bootstrap;
    options.log_frames_bytes = 8u << 20;
    options.snapshot_bytes = 1u << 20;
    options.log_entries_kept = entries_kept;
    options.commands_max = commands_max;
    return options;
  }

  void start(NodeId id, bool bootstrap = false) {
    Node& node = *nodes.at(id);
    auto made = beacon::Beacon::start(node.host->host(), options_of(id, bootstrap),
                                      [&node](const Error& why) { node.failure = why.message(); });
    REQUIRE(made.ok());
    node.beacon = std::move(made).value();
  }
  void start_all(NodeId first = 1) {
    for (auto& [id, node] : nodes) start(id, id == first);
  }
  // All of them, with a leader.
  void form() {
    start_all();
    REQUIRE(run_until([&] { return formed() && leader() != 0; }, std::chrono::seconds(30)));
  }
  void kill(NodeId id, io::SimHost::Death death = io::SimHost::Death::process) {
    Node& node = *nodes.at(id);
    node.host->kill(death);
    node.beacon.reset();
  }
  void restart(NodeId id) {
    nodes.at(id)->host->restart();
    start(id);
  }

  Service& add_service(ServiceKind kind, NodeId node, uint8_t instance = 1) {
    auto service = std::make_unique<Service>();
    Service& added = *service;
    added.id = {kind, node, instance};
    added.host = &world.add_host("service" + std::to_string(node) + "." + std::to_string(instance),
                                 ip_of(node));
    if (kind == ServiceKind::server) {
      const auto disk = static_cast<DiskId>(node * 10 + instance);
      added.disks.push_back(
          {disk, added.id, true, "", disk * 1000ull, 1ull << 40, "/dev/x", "m", "s", "", true});
    }
    services[added.id] = std::move(service);
    start_service(added);
    return added;
  }
  void start_service(Service& s) {
    s.start_id = world.random().number();
    member::Options options;
    options.key = key;
    options.self = {cluster_id, 1, s.id, s.start_id, service_versions};
    options.beacons = {{ip_of(s.id.node), 4100}};
    options.registration.address = ip_of(s.id.node) + ":" + std::to_string(4200 + s.id.instance);
    options.registration.version = "test";
    options.disks = s.disks;
    options.with_buckets = s.id.kind == ServiceKind::mgmt;
    s.report = {};
    member::Member::Events events;
    events.map_changed = [&s](const std::vector<map::Change>&) {
      ++s.map_changes;
      if (s.fences) s.report.fenced_index = s.member->map().index;
    };
    events.make_report = [&s] { return s.report; };
    s.member = member::Member::start(s.host->host(), std::move(options), std::move(events));
  }
  void kill_service(Service& s, io::SimHost::Death death = io::SimHost::Death::process) {
    s.host->kill(death);
    s.member.reset();
  }

  bool run_until(const std::function<bool()>& what, io::Duration limit) {
    return world.run_until(what, limit);
  }

  NodeId leader() const {
    for (const auto& [id, node] : nodes) {
      if (node->beacon && node->host->alive() && node->beacon->view().leads) return id;
    }
    return 0;
  }
  beacon::View view(NodeId id) const { return nodes.at(id)->beacon->view(); }
  const map::Map& map(NodeId id) const { return *nodes.at(id)->beacon->map(); }
  bool up_at(NodeId where, ServiceId service) const {
    const auto it = map(where).services.find(service);
    return it != map(where).services.end() && it->second.up;
  }
  // All running beacons: every node is known and up, and all that shall vote do.
  bool formed() const {
    for (const auto& [id, node] : nodes) {
      if (!node->beacon || !node->beacon->map()) return false;
      const auto& at = map(id);
      if (at.nodes.size() != rows.size() || view(id).voters != rows.size() || view(id).leader == 0)
        return false;
      for (const auto& [other, row] : at.nodes) {
        if (!row.up) return false;
      }
    }
    return true;
  }
  bool level() const {
    std::map<uint64_t, uint64_t> seen;
    for (const auto& [id, node] : nodes) {
      if (node->beacon && node->host->alive()) seen[view(id).applied_index] = view(id).content_hash;
    }
    return seen.size() == 1;
  }
  // Call after events: equal index means equal content, everywhere and always.
  void check_hashes() {
    for (const auto& [id, node] : nodes) {
      if (!node->beacon || !node->host->alive() || !node->beacon->map()) continue;
      const auto v = view(id);
      const auto [at, added] = hashes.emplace(v.applied_index, v.content_hash);
      if (!added && at->second != v.content_hash)
        FAIL("content differs at index ", v.applied_index, " on node ", id);
    }
  }
  // A command through a service, waited for.
  Result<uint64_t> command(Service& s, const map::Command& command, io::Duration limit = 10s) {
    std::shared_ptr<std::optional<Result<uint64_t>>> result =
        std::make_shared<std::optional<Result<uint64_t>>>();
    s.member->command(command, [result](Result<uint64_t> r) { result->emplace(std::move(r)); });
    if (!run_until([&] { return result->has_value(); }, limit))
      return Error(Code::timed_out, "test: no answer");
    return **result;
  }

  static constexpr ClusterId cluster_id = 0xc1;
  io::SimWorld world;
  wire::ClusterKey key;
  std::vector<map::Node> rows;
  uint32_t entries_kept = 4096;
  std::map<NodeId, Versions> versions;  // of the beacons
  Versions service_versions;            // of those that start from now on
  uint32_t commands_max = limits::beacon_commands_max;
  std::map<NodeId, std::string> databases;  // files of the states; others are in memory
  std::map<uint64_t, uint64_t> hashes;
  std::map<ServiceId, std::unique_ptr<Service>> services;
  std::map<NodeId, std::unique_ptr<Node>> nodes;
};

}  // namespace sp::test
