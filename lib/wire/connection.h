// Connection: whole messages over a Socket, after both ends have proved that they know the cluster
// key. Frame layout, handshake and messages: sp-protocol(7).
//
// Handshake (before any other byte is believed): each side sends {magic, versions, cluster, role,
// service, nonce}; the newest protocol version that both speak is used from then on. Each answers
// with HMAC-SHA256(key, role-tagged transcript of both hellos). Neither the key nor anything that
// helps to find it crosses the wire; a client cannot pass as a server because its role is in the
// transcript and the acceptor checks which roles may say what
// (`Message::type` ranges, see message.h). A frame is refused, and the connection closed, when its
// magic, version, lengths (limits.h) or CRC are wrong; nothing is allocated before the lengths are
// checked. Order of messages is kept. After a close nothing is known of what the peer has received.
// Sending never blocks: frames queue up to limits::send_queue_messages_max, beyond it the
// connection is closed. All frames queued within one turn go out together. Thread rule: one
// reactor. Callbacks never run inside a call, except none. Destroying a Connection closes it; its
// callbacks do not run any more, also when destroyed inside one of them.
#pragma once
#include <array>
#include <memory>

#include "base/buffer.h"
#include "base/callback.h"
#include "base/ids.h"
#include "base/result.h"
#include "base/versions.h"
#include "io/host.h"
#include "wire/message.h"

namespace sp::wire {

struct ClusterKey {
  std::array<std::byte, 32> bytes{};
};

enum class Role : uint8_t { beacon = 1, server = 2, client = 3, mgmt = 4 };

struct Identity {
  ClusterId cluster = 0;
  uint32_t incarnation = 1;  // of the cluster: another one is refused
  ServiceId service;
  uint64_t start_id = 0;  // of the process
  Versions versions;      // of a peer only its protocol versions are known
};

class Connection {
 public:
  struct Events {
    Callback<void(const Identity& peer)> ready;  // handshake done
    Callback<void(Message)> message;
    Callback<void(const Error& why)> closed;  // once; the last event
  };
  virtual ~Connection() = default;

  // Takes over a connected socket; `accepting`: the side that listened. The handshake has
  // limits::connect_timeout.
  static std::unique_ptr<Connection> start(io::Host& host, std::unique_ptr<io::Socket> socket,
                                           const ClusterKey& key, const Identity& self,
                                           bool accepting, Events events);

  virtual void send(Message message) = 0;  // dropped when closed; allowed before ready (queued)
  virtual bool ready() const = 0;
  virtual const Identity& peer() const = 0;  // after ready
  virtual uint8_t protocol() const = 0;      // after ready: the version that both ends speak
  virtual size_t queued_bytes() const = 0;   // for backpressure
};

}  // namespace sp::wire
