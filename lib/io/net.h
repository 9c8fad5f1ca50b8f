// Net: connected byte streams (TCP, or unix sockets for an address that starts with '/').
//
// A Socket may lose its peer at any time: every operation then ends with Code::closed or Code::io.
// Nothing is promised about what was sent before a close. One receive and one send at a time;
// memory given to them must stay valid until they complete, or the Socket is destroyed. Completions
// run on the reactor, never inside the call; destroying a Socket closes it and drops its
// completions.
#pragma once
#include <memory>
#include <span>
#include <string>

#include "base/bytes.h"
#include "base/callback.h"
#include "base/result.h"
#include "io/clock.h"

namespace sp::io {

struct Address {
  std::string host;   // an IPv4 or IPv6 literal, or the path of a unix socket
  uint16_t port = 0;  // 0 for unix sockets; 0 in listen(): any free port
  bool operator==(const Address&) const = default;
  std::string text() const;  // "10.0.0.1:4100", "[::1]:4100", "/run/sp/x"
  static Result<Address> parse(std::string_view text);
};

class Socket {
 public:
  virtual ~Socket() = default;
  // Receives at least one byte into `into`; the number received, 0 when the peer has ended its
  // stream in order.
  virtual void receive(MutableBytes into, Callback<void(Result<size_t>)> done) = 0;
  // Sends all of `parts` in order, as one unit of work; completes when the stream has taken them.
  // The array of parts itself may be reused at once, the memory they point to not before
  // completion.
  virtual void send(std::span<const Bytes> parts, Callback<void(Status)> done) = 0;
  virtual Address peer() const = 0;
};

class Listener {
 public:
  virtual ~Listener() = default;  // stops listening
  virtual Address address() const = 0;
};

class Net {
 public:
  virtual ~Net() = default;
  // Code::exists when the address is in use.
  virtual Result<std::unique_ptr<Listener>> listen(
      const Address& address, Callback<void(std::unique_ptr<Socket>)> accepted) = 0;
  // Code::unreachable when refused or without route, Code::timed_out after `timeout`.
  // The returned handle cancels the attempt when destroyed; keep it until `done` ran.
  class Attempt {
   public:
    virtual ~Attempt() = default;
  };
  [[nodiscard]] virtual std::unique_ptr<Attempt> connect(
      const Address& address, Duration timeout,
      Callback<void(Result<std::unique_ptr<Socket>>)> done) = 0;
};

}  // namespace sp::io
