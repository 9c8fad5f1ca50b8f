// Connections between beacons whose addresses are not what they were.
#include "beacon/peers.h"

#include <doctest/doctest.h>

#include "io/sim_world.h"

using namespace sp;
using namespace std::chrono_literals;

namespace {

// A beacon's connections without anything above them.
struct Talker {
  Talker(io::SimWorld& world, NodeId node, const std::string& ip, beacon::Peers::Options options)
      : host(world.add_host("beacon" + std::to_string(node), ip)),
        links(host.host(), wire::ClusterKey{}, {1, 1, {ServiceKind::beacon, node, 1}, node},
              events()),
        peers(host.host(), links, std::move(options)),
        timer(host.host().reactor) {
    tick();
  }
  beacon::Links::Events events() {
    beacon::Links::Events events;
    events.ready = [this](beacon::LinkId id, const wire::Identity& peer) {
      if (!peers.ready(id, peer)) links.close(id);
    };
    events.message = [this](beacon::LinkId id, const wire::Message& message) {
      if (const auto node = peers.node_of(id)) peers.take(*node, message);
    };
    events.closed = [this](beacon::LinkId id, const Error&) { peers.closed(id); };
    return events;
  }
  void tick() {
    peers.tick();
    timer.arm(100ms, [this] { tick(); });
  }
  io::SimHost& host;
  beacon::Links links;
  beacon::Peers peers;
  io::Timer timer;
};

beacon::Peers::Options options_of(NodeId self, std::map<NodeId, io::Address> addresses = {}) {
  beacon::Peers::Options options;
  options.self = self;
  options.addresses = std::move(addresses);
  return options;
}

}  // namespace

// The link stayed with the one that was dialled, which so was never dialled again.
TEST_CASE("a node at whose address another one answered is dialled again") {
  io::SimWorld world(1, {});
  const io::Address address{"10.0.0.9", 4100};
  Talker first(world, 1, "10.0.0.1", options_of(1, {{3, address}}));
  {
    Talker second(world, 2, "10.0.0.9", options_of(2));
    REQUIRE(second.links.listen(address).ok());
    REQUIRE(world.run_until([&] { return first.peers.connected(2); }, 5s));
    CHECK_FALSE(first.peers.connected(3));
    world.run_for(3s);
    second.host.kill(io::SimHost::Death::process);
  }
  Talker third(world, 3, "10.0.0.9", options_of(3));
  REQUIRE(third.links.listen(address).ok());
  CHECK(world.run_until([&] { return first.peers.connected(3); }, 30s));
  CHECK_FALSE(first.peers.connected(2));
}
