// Member against a beacon that the test plays, message by message.
#include <doctest/doctest.h>

#include <optional>

#include "io/sim_world.h"
#include "member/member.h"

using namespace sp;
using namespace std::chrono_literals;
using wire::Message;
using wire::MessageType;

namespace {

struct Play {
  Play() {
    key.bytes.fill(std::byte{3});
    listen();
    member::Options options;
    options.key = key;
    options.self = {7, 1, {ServiceKind::server, 1, 1}, 99};
    options.beacons = {{"10.0.0.1", 4100}, {"10.0.0.2", 4100}};
    member = member::Member::start(host.host(), std::move(options),
                                   {[this](const std::vector<map::Change>& changes) {
                                      ++map_changes;
                                      last_changes = changes.size();
                                      if (destroy_on_map) member.reset();
                                    },
                                    [this] { return report; }});
  }
  void listen(NodeId node = 1) {
    auto& on = node == 1 ? beacon : other;
    auto made = on.host().net.listen(
        {"10.0.0." + std::to_string(node), 4100},
        [this, &on, node](std::unique_ptr<io::Socket> socket) {
          connection = wire::Connection::start(
              on.host(), std::move(socket), key, {7, 1, {ServiceKind::beacon, node, 1}, 5}, true,
              {[this, node](const wire::Identity&) { connected_to = node; },
               [this](Message m) { heard.push_back(std::move(m)); },
               [this](const Error&) { ++lost; }});
        });
    REQUIRE(made.ok());
    (node == 1 ? listener : other_listener) = std::move(made).value();
  }
  // The next message of this type; those before it are dropped.
  Message next(MessageType type, io::Duration limit = 2s) {
    std::optional<Message> found;
    const bool came = world.run_until(
        [&] {
          while (!heard.empty() && !found) {
            if (heard.front().type == type) found = std::move(heard.front());
            heard.erase(heard.begin());
          }
          return found.has_value();
        },
        limit);
    REQUIRE(came);
    return std::move(*found);
  }
  template <class Body>
  void say(MessageType type, const Body& body, uint64_t request = 0) {
    connection->send({type, request, encode(body), {}});
    world.run_for(5ms);
  }
  map::Map a_map(uint64_t index, uint32_t nodes) {
    map::Map m;
    m.index = index;
    m.cluster.id = 7;
    for (uint32_t i = 1; i <= nodes; ++i)
      m.nodes[static_cast<NodeId>(i)] = {static_cast<NodeId>(i), "n", "", true, true, ""};
    return m;
  }
  void say_map(uint64_t index, uint32_t nodes, size_t piece = SIZE_MAX) {
    const auto bytes = map::encode(a_map(index, nodes), false);
    for (size_t at = 0; at < bytes.size(); at += piece) {
      const size_t end = piece == SIZE_MAX ? bytes.size() : std::min(bytes.size(), at + piece);
      say(MessageType::map_full, wire::MapPiece{0,
                                                index,
                                                at,
                                                bytes.size(),
                                                {bytes.begin() + static_cast<ptrdiff_t>(at),
                                                 bytes.begin() + static_cast<ptrdiff_t>(end)}});
      if (piece == SIZE_MAX) return;
    }
  }
  void say_delta(uint64_t from, uint64_t to, uint32_t nodes) {
    Writer out;
    for (const map::Change& change : map::rows(a_map(to, nodes))) map::encode(out, change);
    say(MessageType::map_delta,
        wire::MapPiece{from, to, 0, out.size(), {out.view().begin(), out.view().end()}});
  }

  io::SimWorld world{11};
  io::SimHost& host = world.add_host("service", "10.0.0.1");
  io::SimHost& beacon = world.add_host("beacon", "10.0.0.1");
  io::SimHost& other = world.add_host("other", "10.0.0.2");
  wire::ClusterKey key;
  std::unique_ptr<io::Listener> listener, other_listener;
  std::unique_ptr<wire::Connection> connection;
  NodeId connected_to = 0;
  int lost = 0;
  std::vector<Message> heard;
  member::Report report;
  int map_changes = 0;
  size_t last_changes = 0;
  bool destroy_on_map = false;
  std::unique_ptr<member::Member> member;
};

}  // namespace

TEST_CASE("a member registers, takes the map in pieces, and changes of it") {
  Play play;
  const auto registration = wire::decode<wire::Register>(play.next(MessageType::register_).body);
  REQUIRE(registration.has_value());
  CHECK(registration->service.id == ServiceId{ServiceKind::server, 1, 1});
  CHECK(registration->service.start_id == 99);
  play.say_map(10, 2, 16);
  CHECK(play.map_changes == 1);
  CHECK(play.last_changes == 0);
  CHECK(play.member->map().nodes.size() == 2);
  play.say_delta(10, 12, 3);
  CHECK(play.map_changes == 2);
  CHECK(play.member->map().index == 12);
  CHECK(play.member->map().nodes.size() == 3);
  play.say(MessageType::map_delta, wire::MapPiece{12, 13, 0, 0, {}});
  CHECK(play.map_changes == 2);  // only the index rose
  CHECK(play.member->map().index == 13);
  play.say_delta(13, 11, 4);  // old news
  CHECK(play.member->map().nodes.size() == 3);
}

TEST_CASE(
    "a gap, pieces out of order or damage in the map make a member ask for the whole map again") {
  for (int what = 0; what < 3; ++what) {
    CAPTURE(what);
    Play play;
    play.next(MessageType::register_);
    play.say_map(10, 2);
    if (what == 0) play.say_delta(11, 12, 3);
    if (what == 1) play.say(MessageType::map_full, wire::MapPiece{0, 20, 5, 50, {std::byte{1}}});
    if (what == 2)
      play.say(MessageType::map_full,
               wire::MapPiece{0, 20, 0, 3, {std::byte{1}, std::byte{2}, std::byte{3}}});
    REQUIRE(play.world.run_until([&] { return play.lost == 1; }, 1s));
    play.next(MessageType::register_);
  }
}

TEST_CASE("a lease counts from the sending of our own request and never longer than leases are") {
  Play play;
  play.next(MessageType::register_);
  const auto ask = wire::decode<wire::LeaseRequest>(play.next(MessageType::lease_request).body);
  REQUIRE(ask.has_value());
  const io::Instant sent{static_cast<int64_t>(ask->sent_ns)};
  CHECK(play.member->lease_until() < sent);
  const auto length = static_cast<uint64_t>(io::Duration(limits::lease_length).count());
  play.say(MessageType::lease_grant,
           wire::LeaseGrant{ask->sent_ns + 1, length, 0});  // nobody asked for that
  CHECK(play.member->lease_until() < sent);
  play.say(MessageType::lease_grant, wire::LeaseGrant{ask->sent_ns, 100 * length, 0});
  CHECK(play.member->lease_until() == sent + io::Duration(limits::lease_length));
}

TEST_CASE(
    "a member that ends the connection itself stops serving first; one that is left keeps its "
    "lease") {
  for (const bool left : {true, false}) {
    Play play;
    const auto ask = wire::decode<wire::LeaseRequest>(play.next(MessageType::lease_request).body);
    play.say(MessageType::lease_grant, wire::LeaseGrant{ask->sent_ns, 600'000'000, 0});
    REQUIRE(play.host.host().clock.now() < play.member->lease_until());
    if (left)
      play.connection.reset();
    else
      play.say(MessageType::lease_grant, wire::Confirmed{1});  // malformed
    play.world.run_for(5ms);
    CHECK((play.host.host().clock.now() < play.member->lease_until()) == left);
  }
}

TEST_CASE("a command is answered when the map has reached its index") {
  Play play;
  play.next(MessageType::register_);
  play.say_map(10, 2);
  std::optional<Result<uint64_t>> done;
  play.member->command(map::NodeUp{1}, [&](Result<uint64_t> r) { done = std::move(r); });
  const Message asked = play.next(MessageType::command);
  CHECK(map::decode(wire::decode<wire::CommandRequest>(asked.body)->command).has_value());
  play.say(MessageType::command_reply, wire::CommandReply{true, Code::failed, 11, ""},
           asked.request);
  CHECK_FALSE(done.has_value());
  play.say_delta(10, 11, 3);
  REQUIRE(done.has_value());
  CHECK(**done == 11);
}

TEST_CASE(
    "refusals keep their code; a lost connection leaves the outcome unknown; nobody there is "
    "unreachable") {
  Play play;
  play.next(MessageType::register_);
  std::optional<Result<uint64_t>> done;
  auto ask = [&] {
    done.reset();
    play.member->command(map::NodeUp{1}, [&](Result<uint64_t> r) { done = std::move(r); });
  };
  ask();
  play.say(MessageType::command_reply, wire::CommandReply{false, Code::stale, 0, "moved"},
           play.next(MessageType::command).request);
  REQUIRE(done.has_value());
  CHECK(done->error().code() == Code::stale);
  ask();
  play.next(MessageType::command);
  play.listener.reset();
  play.connection.reset();
  REQUIRE(play.world.run_until([&] { return done.has_value(); }, 1s));
  CHECK(done->error().code() == Code::transient);
  ask();
  REQUIRE(play.world.run_until([&] { return done.has_value(); }, 10s));
  CHECK(done->error().code() == Code::unreachable);
}

TEST_CASE("a member goes to the next beacon, and to one that came back") {
  Play play;
  play.next(MessageType::register_);
  play.listener.reset();
  play.connection.reset();
  play.listen(2);
  REQUIRE(play.world.run_until([&] { return play.connected_to == 2; }, 5s));
  play.next(MessageType::register_);
  play.listen(1);
  play.connection.reset();
  REQUIRE(play.world.run_until([&] { return play.connected_to == 1; }, 5s));
}

TEST_CASE("a beacon that says nothing is left") {
  Play play;
  play.next(MessageType::register_);
  REQUIRE(play.world.run_until([&] { return play.lost == 1; }, limits::beacon_silent_after + 1s));
}

TEST_CASE("a change is confirmed by the beacon's word or not in time") {
  Play play;
  play.next(MessageType::register_);
  std::vector<Code> codes;
  int confirmed = 0;
  auto confirm = [&](uint64_t index) {
    play.member->confirm(index, 1s, [&](Status s) {
      if (s.ok())
        ++confirmed;
      else
        codes.push_back(s.error().code());
    });
  };
  confirm(5);
  confirm(6);
  CHECK(confirmed == 0);
  play.say(MessageType::confirmed, wire::Confirmed{5});
  CHECK(confirmed == 1);
  REQUIRE(play.world.run_until([&] { return codes.size() == 1; }, 2s));
  CHECK(codes[0] == Code::timed_out);
  confirm(4);
  CHECK(confirmed == 1);  // never inside the call
  play.world.run_for(1ms);
  CHECK(confirmed == 2);
}

TEST_CASE(
    "fenced_index reaches the beacon soon after it rose, and passes over what does not concern the "
    "service") {
  Play play;
  play.next(MessageType::register_);
  play.say_map(10, 2);
  play.report.fenced_index = 10;
  const auto start = play.world.now();
  uint64_t fenced = 0;
  while (fenced < 10)
    fenced = wire::decode<wire::LeaseRequest>(play.next(MessageType::lease_request).body)
                 ->report.fenced_index;
  CHECK(play.world.now() - start < 100ms);
  play.say(MessageType::map_delta, wire::MapPiece{10, 14, 0, 0, {}});
  while (fenced < 14)
    fenced = wire::decode<wire::LeaseRequest>(play.next(MessageType::lease_request).body)
                 ->report.fenced_index;
  play.say_delta(14, 15, 3);
  for (int i = 0; i < 5; ++i)
    CHECK(wire::decode<wire::LeaseRequest>(play.next(MessageType::lease_request).body)
              ->report.fenced_index == 14);
}

TEST_CASE("a member may be destroyed inside its events") {
  Play play;
  play.next(MessageType::register_);
  play.member->command(map::NodeUp{1}, [](Result<uint64_t>) { FAIL("not after the end"); });
  play.destroy_on_map = true;
  play.say_map(10, 2);
  CHECK(play.member == nullptr);
  play.world.run_for(1s);
  CHECK(play.map_changes == 1);
}
