#include <doctest/doctest.h>

#include <vector>

#include "base/checksum.h"
#include "base/client_id.h"
#include "io/sim_world.h"
#include "wire/connection.h"
#include "wire/frame.h"
#include "wire/handshake.h"

using namespace sp;
using namespace sp::wire;
using namespace std::chrono_literals;

namespace {

ClusterKey key_of(uint8_t seed) {
  ClusterKey key;
  key.bytes.fill(static_cast<std::byte>(seed));
  return key;
}

Identity identity(ServiceKind kind, NodeId node) {
  return {0xc1u, 1, {kind, node, 1}, 1000u + node};
}

Message message(MessageType type, uint64_t request, size_t body = 0, size_t data = 0) {
  Message m{type, request, std::vector<std::byte>(body, static_cast<std::byte>(request)), {}};
  if (data != 0) {
    m.data = Buffer::zeroed(data);
    m.data.data()[data - 1] = static_cast<std::byte>(request);
  }
  return m;
}

// One end, and all that it saw.
struct End {
  std::unique_ptr<Connection> connection;
  std::vector<Message> messages;
  std::vector<std::string> closed;
  std::vector<Code> codes;
  int ready = 0;

  Connection::Events events() {
    return {[this](const Identity&) { ++ready; },
            [this](Message m) { messages.push_back(std::move(m)); },
            [this](const Error& why) {
              closed.push_back(why.message());
              codes.push_back(why.code());
            }};
  }
};

struct Pair {
  explicit Pair(uint64_t seed = 1, io::SimOptions options = {}) : world(seed, std::move(options)) {}

  // What connects: a Connection, or a bare socket in the hands of an attacker.
  void listen() {
    auto made =
        host_b.host().net.listen({"10.0.0.2", 4100}, [this](std::unique_ptr<io::Socket> socket) {
          b.connection =
              Connection::start(host_b.host(), std::move(socket), key_b, self_b, true, b.events());
        });
    REQUIRE(made.ok());
    listener = std::move(made).value();
  }
  void connect_raw() {
    attempt = host_a.host().net.connect({"10.0.0.2", 4100}, 1s,
                                        [this](Result<std::unique_ptr<io::Socket>> socket) {
                                          REQUIRE(socket.ok());
                                          raw = std::move(socket).value();
                                          receive_raw();
                                        });
    REQUIRE(world.run_until([this] { return raw != nullptr && b.connection; }, 1s));
  }
  void receive_raw() {
    raw->receive(raw_buffer, [this](Result<size_t> size) {
      if (!size.ok() || *size == 0) {
        raw_ended = true;
        return;
      }
      raw_in.insert(raw_in.end(), raw_buffer.begin(),
                    raw_buffer.begin() + static_cast<ptrdiff_t>(*size));
      receive_raw();
    });
  }
  void send_raw(Bytes bytes) {
    raw_out.emplace_back(bytes.begin(), bytes.end());
    const Bytes part = raw_out.back();
    bool done = false;
    raw->send(std::span(&part, 1), [&done](Status) { done = true; });
    REQUIRE(world.run_until([&done] { return done; }, 1s));
  }
  void connect() {
    attempt = host_a.host().net.connect(
        {"10.0.0.2", 4100}, 1s, [this](Result<std::unique_ptr<io::Socket>> socket) {
          REQUIRE(socket.ok());
          a.connection = Connection::start(host_a.host(), std::move(socket).value(), key_a, self_a,
                                           false, a.events());
        });
  }
  void join() {
    listen();
    connect();
    REQUIRE(world.run_until([this] { return a.ready == 1 && b.ready == 1; }, 2s));
  }
  bool refused() {
    return world.run_until([this] { return !a.closed.empty() && !b.closed.empty(); }, 3s) &&
           a.ready + b.ready <= 1;
  }

  io::SimWorld world;
  io::SimHost& host_a = world.add_host("a", "10.0.0.1");
  io::SimHost& host_b = world.add_host("b", "10.0.0.2");
  ClusterKey key_a = key_of(7), key_b = key_of(7);
  Identity self_a = identity(ServiceKind::server, 1), self_b = identity(ServiceKind::server, 2);
  std::unique_ptr<io::Listener> listener;
  std::unique_ptr<io::Net::Attempt> attempt;
  End a, b;
  std::unique_ptr<io::Socket> raw;
  std::vector<std::vector<std::byte>> raw_out;
  std::vector<std::byte> raw_in;
  std::vector<std::byte> raw_buffer = std::vector<std::byte>(4096);
  bool raw_ended = false;
};

// The handshake of an attacker who does know the key, over a bare socket: afterwards frames may be
// sent by hand.
void handshake_raw(Pair& pair) {
  pair.listen();
  pair.connect_raw();
  Handshake handshake(pair.key_a, pair.self_a, false, pair.host_a.host().random);
  pair.send_raw(handshake.hello());
  REQUIRE(pair.world.run_until([&] { return pair.raw_in.size() >= sizeof(Hello); }, 1s));
  REQUIRE(handshake.take_hello(Bytes(pair.raw_in).first(sizeof(Hello))).ok());
  pair.send_raw(handshake.proof());
  REQUIRE(pair.world.run_until([&] { return pair.b.ready == 1; }, 1s));
}

std::vector<std::byte> frame(const Message& m, uint64_t sequence) {
  const FrameHeader header = frame_header(m, sequence, protocol_newest);
  std::vector<std::byte> out(struct_bytes(header).begin(), struct_bytes(header).end());
  out.insert(out.end(), m.body.begin(), m.body.end());
  if (m.data) out.insert(out.end(), m.data.bytes().begin(), m.data.bytes().end());
  return out;
}

}  // namespace

TEST_CASE("both ends learn who the other is, and messages arrive whole and in order") {
  for (uint64_t seed = 1; seed <= 20; ++seed) {
    Pair pair(seed);
    pair.join();
    CHECK(pair.a.connection->peer().service == pair.self_b.service);
    CHECK(pair.b.connection->peer().start_id == 1001);
    constexpr size_t sizes[] = {0, 1, 4096, 5000, 65536, limits::message_data_bytes_max};
    constexpr size_t bodies[] = {0, 60, 4096, 4097, 300'000, limits::message_body_bytes_max};
    uint64_t number = 0;
    for (const size_t data : sizes) {
      for (const size_t body : bodies)
        pair.a.connection->send(message(MessageType::prepare, ++number, body, data));
    }
    REQUIRE(pair.world.run_until([&] { return pair.b.messages.size() == number; }, 10s));
    size_t i = 0;
    for (const size_t data : sizes) {
      for (const size_t body : bodies) {
        const Message& m = pair.b.messages[i++];
        CHECK(m.request == i);
        REQUIRE(m.body.size() == body);
        if (body > 0) CHECK(m.body.back() == static_cast<std::byte>(i));
        REQUIRE((m.data ? m.data.size() : 0) == data);
        if (data > 0) CHECK(m.data.data()[data - 1] == static_cast<std::byte>(i));
      }
    }
    CHECK(pair.a.connection->queued_bytes() == 0);
  }
}

TEST_CASE(
    "a client that attaches for itself is a further instance on its node, and is known as such") {
  Pair pair;
  pair.self_a.service.instance = client_instance_max;
  pair.self_a.service.kind = ServiceKind::client;
  pair.join();
  CHECK(pair.b.connection->peer().service == pair.self_a.service);
}

TEST_CASE("what is sent before the handshake is done waits for it") {
  Pair pair;
  pair.listen();
  pair.connect();
  REQUIRE(pair.world.run_until([&] { return pair.a.connection != nullptr; }, 1s));
  pair.a.connection->send(message(MessageType::ping, 5));
  CHECK_FALSE(pair.a.connection->ready());
  REQUIRE(pair.world.run_until([&] { return pair.b.messages.size() == 1; }, 1s));
  CHECK(pair.b.ready == 1);
}

TEST_CASE("another key, cluster or incarnation is refused with a text that says so") {
  SUBCASE("key") {
    Pair pair;
    pair.key_a = key_of(8);
    pair.listen();
    pair.connect();
    REQUIRE(pair.refused());
    CHECK(pair.a.ready + pair.b.ready == 0);
    CHECK((pair.b.closed[0] + pair.a.closed[0]).find("does not know the cluster key") !=
          std::string::npos);
  }
  SUBCASE("cluster") {
    Pair pair;
    pair.self_a.cluster = 0xc2;
    pair.listen();
    pair.connect();
    REQUIRE(pair.refused());
    CHECK((pair.b.closed[0] + pair.a.closed[0]).find("belongs to cluster 00000000000000c") !=
          std::string::npos);
  }
  SUBCASE("incarnation") {
    Pair pair;
    pair.self_a.incarnation = 2;
    pair.listen();
    pair.connect();
    REQUIRE(pair.refused());
    CHECK((pair.b.closed[0] + pair.a.closed[0]).find("belongs to incarnation") !=
          std::string::npos);
  }
}

TEST_CASE("a peer that sends back what it gets is refused") {
  Pair pair;
  pair.listen();
  pair.connect_raw();
  REQUIRE(pair.world.run_until([&] { return pair.raw_in.size() >= sizeof(Hello); }, 1s));
  pair.send_raw(Bytes(pair.raw_in).first(sizeof(Hello)));
  REQUIRE(pair.world.run_until([&] { return pair.b.closed.size() == 1; }, 500ms));
  CHECK(pair.b.closed[0].find("sends back") != std::string::npos);
  CHECK(pair.b.ready == 0);
}

TEST_CASE("a peer that sends back the hello as of the other side, and the proof, is refused") {
  Pair pair;
  pair.listen();
  pair.connect_raw();
  REQUIRE(pair.world.run_until([&] { return pair.raw_in.size() >= sizeof(Hello); }, 1s));
  auto hello = load<Hello>(pair.raw_in);
  hello.side = 1;
  pair.send_raw(struct_bytes(hello));
  REQUIRE(pair.world.run_until(
      [&] { return pair.raw_in.size() >= sizeof(Hello) + sizeof(Digest256); }, 1s));
  pair.send_raw(Bytes(pair.raw_in).subspan(sizeof(Hello), sizeof(Digest256)));
  REQUIRE(pair.world.run_until([&] { return pair.b.closed.size() == 1; }, 500ms));
  CHECK(pair.b.closed[0].find("does not know the cluster key") != std::string::npos);
  CHECK(pair.b.ready == 0);
}

TEST_CASE("a recorded handshake does not work a second time") {
  Pair pair;
  pair.listen();
  pair.connect_raw();
  Handshake handshake(pair.key_a, pair.self_a, false, pair.host_a.host().random);
  pair.send_raw(handshake.hello());
  REQUIRE(pair.world.run_until([&] { return pair.raw_in.size() >= sizeof(Hello); }, 1s));
  REQUIRE(handshake.take_hello(Bytes(pair.raw_in).first(sizeof(Hello))).ok());
  pair.send_raw(handshake.proof());
  REQUIRE(pair.world.run_until([&] { return pair.b.ready == 1; }, 1s));
  pair.raw.reset();
  pair.raw_in.clear();
  pair.b = End();
  pair.connect_raw();
  pair.send_raw(handshake.hello());
  pair.send_raw(handshake.proof());
  REQUIRE(pair.world.run_until([&] { return pair.b.closed.size() == 1; }, 500ms));
  CHECK(pair.b.ready == 0);
}

TEST_CASE("what a hello claims cannot be changed on its way") {
  for (size_t byte = 0; byte < 32; ++byte) {  // everything before the nonce
    CAPTURE(byte);
    Pair pair;
    Handshake left(pair.key_a, pair.self_a, false, pair.host_a.host().random);
    Handshake right(pair.key_b, pair.self_b, true, pair.host_b.host().random);
    std::vector<std::byte> hello(left.hello().begin(), left.hello().end());
    hello[byte] ^= std::byte{1};
    REQUIRE(left.take_hello(right.hello()).ok());
    CHECK_FALSE((right.take_hello(hello).ok() && right.take_proof(left.proof()).ok()));
  }
}

TEST_CASE("two ends use the newest version of the protocol that both speak") {
  constexpr Versions only_first{1, 1, 1, 0};
  for (const bool a_older : {false, true}) {
    for (const bool b_older : {false, true}) {
      CAPTURE(a_older);
      CAPTURE(b_older);
      Pair pair;
      if (a_older) pair.self_a.versions = only_first;
      if (b_older) pair.self_b.versions = only_first;
      pair.join();
      const uint8_t expected = a_older || b_older ? 1 : 3;
      CHECK_EQ(pair.a.connection->protocol(), expected);
      CHECK_EQ(pair.b.connection->protocol(), expected);
      CHECK_EQ(pair.b.connection->peer().versions.protocol_newest, a_older ? 1 : 3);
      pair.a.connection->send(message(MessageType::prepare, 9, 24));
      REQUIRE(pair.world.run_until([&] { return pair.b.messages.size() == 1; }, 1s));
    }
  }
}

TEST_CASE("ends without a common version both say what both speak") {
  Pair pair;
  pair.self_a.versions.protocol_least = 4;
  pair.self_a.versions.protocol_newest = 5;
  pair.listen();
  pair.connect();
  REQUIRE(pair.refused());
  CHECK(pair.a.closed[0].find("the peer speaks protocol version 1 to 3, this service 4 to 5") !=
        std::string::npos);
  CHECK(pair.b.closed[0].find("the peer speaks protocol version 4 to 5, this service 1 to 3") !=
        std::string::npos);
}

TEST_CASE("a message queued before the handshake is framed for the version that it chooses") {
  Pair pair;
  pair.self_b.versions = {1, 1, 1, 0};
  pair.listen();
  pair.connect();
  REQUIRE(pair.world.run_until([&] { return pair.a.connection != nullptr; }, 1s));
  pair.a.connection->send(message(MessageType::prepare, 9, 24));
  REQUIRE(pair.world.run_until([&] { return pair.b.messages.size() == 1; }, 2s));
}

TEST_CASE("a hello of another protocol version is refused with both versions named") {
  Pair pair;
  Handshake left(pair.key_a, pair.self_a, false, pair.host_a.host().random);
  Handshake right(pair.key_b, pair.self_b, true, pair.host_b.host().random);
  auto hello = load<Hello>(left.hello());
  hello.protocol_least = 0;
  hello.protocol_newest = 9;
  const Status status = right.take_hello(struct_bytes(hello));
  REQUIRE_FALSE(status.ok());
  CHECK(status.error().message().find("protocol version 9, this service 1 to 3") !=
        std::string::npos);
}

TEST_CASE("a peer that does not finish the handshake is cut off in time") {
  Pair pair;
  pair.listen();
  pair.connect_raw();
  Handshake handshake(pair.key_a, pair.self_a, false, pair.host_a.host().random);
  const auto start = pair.world.now();
  for (size_t i = 0; i < 20 && pair.b.closed.empty(); ++i) {  // a byte now and then
    pair.send_raw(handshake.hello().subspan(i, 1));
    pair.world.run_for(100ms);
  }
  REQUIRE(pair.b.closed.size() == 1);
  CHECK(pair.b.codes[0] == Code::timed_out);
  CHECK(pair.world.now() - start < 1200ms);
}

TEST_CASE(
    "frames that are damaged in any bit of header or body end the connection and deliver nothing") {
  const Message good = message(MessageType::prepare, 9, 24);
  const auto bytes = frame(good, 0);
  for (size_t bit = 0; bit < bytes.size() * 8; ++bit) {
    CAPTURE(bit);
    Pair pair;
    handshake_raw(pair);
    auto bad = bytes;
    bad[bit / 8] ^= static_cast<std::byte>(1u << (bit % 8));
    pair.send_raw(bad);
    REQUIRE(pair.world.run_until([&] { return pair.b.closed.size() == 1; }, 100ms));
    CHECK(pair.b.messages.empty());
  }
}

TEST_CASE("lengths beyond the limits are refused although their checksums are right") {
  for (const bool in_body : {true, false}) {
    Pair pair;
    handshake_raw(pair);
    FrameHeader header = frame_header(message(MessageType::prepare, 1), 0, protocol_newest);
    (in_body ? header.body_bytes : header.data_bytes) = limits::message_body_bytes_max + 1;
    header.header_crc = crc32c(struct_bytes(header).first(offsetof(FrameHeader, header_crc)));
    pair.send_raw(struct_bytes(header));
    REQUIRE(pair.world.run_until([&] { return pair.b.closed.size() == 1; }, 100ms));
    CHECK(pair.b.closed[0].find("1048577 bytes") != std::string::npos);
  }
}

TEST_CASE("a frame that comes twice ends the connection") {
  Pair pair;
  handshake_raw(pair);
  const auto bytes = frame(message(MessageType::prepare, 1, 10), 0);
  pair.send_raw(bytes);
  pair.send_raw(bytes);
  REQUIRE(pair.world.run_until([&] { return pair.b.closed.size() == 1; }, 100ms));
  CHECK(pair.b.messages.size() == 1);
  CHECK(pair.b.closed[0].find("frame 0 came where 1 was due") != std::string::npos);
}

TEST_CASE("a role may only say what is its to say") {
  using K = ServiceKind;
  struct Row {
    K from, to;
    MessageType type;
    bool fine;
  };
  constexpr Row rows[] = {
      {K::client, K::server, MessageType::write, true},
      {K::client, K::server, MessageType::prepare, false},
      {K::server, K::server, MessageType::prepare, true},
      {K::client, K::client, MessageType::read, false},
      {K::mgmt, K::server, MessageType::read, false},
      {K::client, K::beacon, MessageType::command, true},
      {K::beacon, K::client, MessageType::map_full, true},
      {K::client, K::beacon, MessageType::raft, false},
      {K::server, K::beacon, MessageType::forward_command, false},
      {K::beacon, K::beacon, MessageType::raft, true},
      {K::beacon, K::beacon, MessageType::command, false},
      {K::server, K::server, MessageType::map_delta, false},
      {K::mgmt, K::client, MessageType::ping, true},
  };
  for (const Row& row : rows) {
    CAPTURE(static_cast<int>(row.type));
    CHECK(may_say(row.from, row.to, static_cast<uint8_t>(row.type)) == row.fine);
  }
  CHECK_FALSE(may_say(K::beacon, K::beacon, 0));
  CHECK_FALSE(may_say(K::beacon, K::beacon, 160));

  Pair pair;  // and the receiver holds the sender to it
  pair.self_a = identity(K::client, 1);
  handshake_raw(pair);
  pair.send_raw(frame(message(MessageType::prepare, 1), 0));
  REQUIRE(pair.world.run_until([&] { return pair.b.closed.size() == 1; }, 100ms));
  CHECK(pair.b.codes[0] == Code::not_authorised);
  CHECK(pair.b.messages.empty());
}

TEST_CASE("a send queue that overflows ends the connection instead of growing") {
  Pair pair;
  pair.join();
  for (uint32_t i = 0; i <= limits::send_queue_messages_max; ++i)
    pair.a.connection->send(message(MessageType::ping, i));
  CHECK(pair.a.closed.empty());  // never inside the call
  REQUIRE(pair.world.run_until(
      [&] { return pair.a.closed.size() == 1 && pair.b.closed.size() == 1; }, 1s));
  CHECK(pair.a.closed[0].find("send queue") != std::string::npos);
  CHECK(pair.a.codes[0] == Code::unreachable);             // closed would say that the peer is gone
  pair.a.connection->send(message(MessageType::ping, 1));  // dropped
  CHECK(pair.a.connection->queued_bytes() == 0);
}

TEST_CASE("a Connection may be destroyed inside each of its events, which are the last then") {
  for (int where = 0; where < 3; ++where) {
    CAPTURE(where);
    Pair pair;
    int after = 0, inside = 0;
    auto destroy = [&](int event) {
      if (pair.b.connection == nullptr) ++after;
      if (event != where) return;
      ++inside;
      pair.b.connection.reset();
    };
    auto made =
        pair.host_b.host().net.listen({"10.0.0.2", 4100}, [&](std::unique_ptr<io::Socket> socket) {
          pair.b.connection = Connection::start(
              pair.host_b.host(), std::move(socket), pair.key_b, pair.self_b, true,
              {[&](const Identity&) { destroy(0); }, [&](Message) { destroy(1); },
               [&](const Error&) { destroy(2); }});
        });
    REQUIRE(made.ok());
    pair.connect();
    REQUIRE(pair.world.run_until([&] { return pair.a.connection != nullptr; }, 1s));
    for (int i = 0; i < 10; ++i)
      pair.a.connection->send(message(MessageType::prepare, 1, 100, 8192));
    pair.world.run_for(100ms);
    pair.a.connection.reset();
    pair.world.run_for(100ms);
    CHECK(inside == 1);
    CHECK(after == 0);
  }
}

TEST_CASE("an end of the stream reaches the other end after all messages before it") {
  Pair pair(3);
  pair.join();
  for (uint64_t i = 0; i < 50; ++i)
    pair.a.connection->send(message(MessageType::prepare, i, 10, 4096));
  REQUIRE(pair.world.run_until([&] { return pair.a.connection->queued_bytes() == 0; }, 1s));
  pair.a.connection.reset();
  REQUIRE(pair.world.run_until([&] { return pair.b.closed.size() == 1; }, 1s));
  CHECK(pair.b.messages.size() == 50);
  CHECK(pair.b.codes[0] == Code::closed);
  CHECK(pair.a.closed.empty());
}

TEST_CASE("all that is sent in one turn goes out as one unit") {
  Pair pair;
  pair.join();
  const uint64_t before = pair.world.event_count();
  for (uint64_t i = 0; i < 200; ++i) pair.a.connection->send(message(MessageType::ping, i));
  REQUIRE(pair.world.run_until([&] { return pair.b.messages.size() == 200; }, 1s));
  CHECK(pair.world.event_count() - before < 60);
}
