// Fuzz target of one end of a connection between services: the other end is the input. It does the
// handshake right or sends what the input says instead; then it sends frames, right ones unless the
// input damages them, in portions. The end that is tested has to take each frame that is right, in
// order, and to close at the first that is not.
//
// Input: one byte (bit 0: raw, everything after it is sent as it is; bits 1 to 3: the kind of the
// peer; bits 4 to 7: log2 of the portions), then frames: type, size of the body, size of the data
// in units of 16 (one byte each), and how it is damaged: 0 not, else a byte at place how % its size
// is changed.
#include <cstdlib>

#include "io/sim_world.h"
#include "wire/connection.h"
#include "wire/frame.h"
#include "wire/handshake.h"

namespace {

using namespace sp;
using namespace sp::wire;
using namespace std::chrono_literals;

void require(bool condition) {
  if (!condition) std::abort();
}

constexpr ServiceKind kinds[] = {ServiceKind::beacon, ServiceKind::server, ServiceKind::client,
                                 ServiceKind::mgmt};

struct Script {
  std::vector<std::byte> bytes;
  size_t whole = 0;     // frames before the first damaged or forbidden one
  bool spoilt = false;  // there is such a one
};

Script frames(Bytes input, ServiceKind peer) {
  Script script;
  for (uint64_t sequence = 0; input.size() >= 4 && sequence < 64; ++sequence) {
    const auto number = [&](size_t at) { return std::to_integer<uint8_t>(input[at]); };
    Message message;
    message.type = static_cast<MessageType>(number(0));
    message.request = sequence;
    message.body.assign(number(1), std::byte{3});
    if (number(2) != 0) message.data = Buffer::zeroed(number(2) * size_t{16});
    const FrameHeader header = frame_header(message, sequence, protocol_newest);
    std::vector<std::byte> frame(struct_bytes(header).begin(), struct_bytes(header).end());
    frame.insert(frame.end(), message.body.begin(), message.body.end());
    const size_t checked = frame.size();
    if (message.data) {
      const Bytes data = message.data.bytes();
      frame.insert(frame.end(), data.begin(), data.end());
    }
    if (number(3) != 0) frame[number(3) % checked] ^= std::byte{0x10};
    script.bytes.insert(script.bytes.end(), frame.begin(), frame.end());
    script.spoilt =
        script.spoilt || number(3) != 0 || !may_say(peer, ServiceKind::server, number(0));
    if (!script.spoilt) ++script.whole;
    input = input.subspan(4);
  }
  return script;
}

// The peer's side of the wire, by hand.
struct Peer {
  std::unique_ptr<io::Socket> socket;
  std::vector<std::byte> out, in, part = std::vector<std::byte>(64 << 10);
  size_t sent = 0, portion = 1;
  bool sending = false, closed = false;

  void send() {
    if (sending || closed || sent == out.size()) return;
    sending = true;
    const Bytes next = Bytes(out).subspan(sent, std::min(portion, out.size() - sent));
    sent += next.size();
    socket->send(std::span(&next, 1), [this](const Status& status) {
      sending = false;
      closed = closed || !status.ok();
      send();
    });
  }
  void receive() {
    socket->receive(part, [this](const Result<size_t>& count) {
      closed = closed || !count.ok() || *count == 0;
      if (closed) return;
      in.insert(in.end(), part.begin(), part.begin() + static_cast<ptrdiff_t>(*count));
      receive();
    });
  }
};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size < 2 || size > 4096) return 0;
  const Bytes input(reinterpret_cast<const std::byte*>(data + 1), size - 1);
  const bool raw = (data[0] & 1) != 0;
  const ServiceKind kind = kinds[data[0] >> 1 & 3];
  io::SimWorld world(1);
  io::SimHost& host = world.add_host("server", "10.0.0.1");
  io::SimHost& peer_host = world.add_host("peer", "10.0.0.2");
  const ClusterKey key{};
  const Identity self{1, 1, {ServiceKind::server, 1, 1}, 5};
  std::unique_ptr<Connection> connection;
  size_t messages = 0;
  bool ready = false, closed = false;
  auto listener =
      host.host().net.listen({"10.0.0.1", 4700}, [&](std::unique_ptr<io::Socket> socket) {
        connection = Connection::start(host.host(), std::move(socket), key, self, true,
                                       {[&](const Identity&) { ready = true; },
                                        [&](const Message& message) {
                                          require(ready && message.request == messages);
                                          ++messages;
                                        },
                                        [&](const Error& why) {
                                          require(!closed && !why.message().empty());
                                          closed = true;
                                        }});
      });
  require(listener.ok());
  Peer peer;
  peer.portion = size_t{1} << (data[0] >> 4);
  auto attempt = peer_host.host().net.connect({"10.0.0.1", 4700}, 1s,
                                              [&](Result<std::unique_ptr<io::Socket>> socket) {
                                                require(socket.ok());
                                                peer.socket = std::move(socket).value();
                                              });
  world.run_until([&] { return peer.socket != nullptr && connection != nullptr; }, 2s);
  require(peer.socket != nullptr && connection != nullptr);
  peer.receive();

  Script script;
  if (raw) {
    script.bytes.assign(input.begin(), input.end());
  } else {
    Handshake handshake(key, {1, 1, {kind, 2, 1}, 6}, false, peer_host.host().random);
    peer.out.assign(handshake.hello().begin(), handshake.hello().end());
    peer.send();
    world.run_until([&] { return peer.in.size() >= sizeof(Hello); }, 1s);
    require(peer.in.size() >= sizeof(Hello));
    require(handshake.take_hello(Bytes(peer.in).first(sizeof(Hello))).ok());
    peer.out.insert(peer.out.end(), handshake.proof().begin(), handshake.proof().end());
    script = frames(input, kind);
  }
  peer.out.insert(peer.out.end(), script.bytes.begin(), script.bytes.end());
  peer.send();
  world.run_until([&] { return closed || peer.closed || peer.sent == peer.out.size(); }, 5s);
  world.run_for(3s);
  require(!raw || messages == 0);
  if (!raw) require(messages == script.whole && closed == script.spoilt);
  peer.socket.reset();
  require(world.run_until([&] { return closed; }, 10s));
  connection.reset();
  return 0;
}
