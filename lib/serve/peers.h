// Peers: this server's own connections to other servers, over which it leads: prepares, epochs,
// recovery. Dialled when first needed, kept, and dialled again with a growing pause after a loss.
//
// A request ends exactly once, in a later turn: with the reply's message, or with an Error when the
// connection was lost (the outcome is then unknown) or could not be made. All requests on one
// connection are delivered in the order given; a request is never repeated here. A peer that leaves
// requests unanswered and says nothing else for limits::copy_timeout loses its connection. Thread
// rule: one reactor.
#pragma once
#include <map>
#include <memory>
#include <vector>

#include "base/buffer.h"
#include "base/callback.h"
#include "io/host.h"
#include "wire/connection.h"

namespace sp::serve {

class Peers {
 public:
  using Reply = Callback<void(Result<wire::Message>)>;

  Peers(io::Host& host, const wire::ClusterKey& key, const wire::Identity& self);
  ~Peers();

  // Called after each connection became ready.
  Callback<void(ServiceId)> on_ready;

  // Where the service listens now; an empty text: nowhere. A changed address or start id drops the
  // connection, and no other start is spoken to: the map says what disks that one holds.
  void set_address(ServiceId service, const std::string& address, uint64_t start_id);
  bool ready(ServiceId service) const;
  void want(ServiceId service);  // dial if there is no connection
  void request(ServiceId to, wire::MessageType type, std::vector<std::byte> body, Buffer data,
               Reply reply);
  void send(ServiceId to, wire::MessageType type,
            std::vector<std::byte> body);  // dropped when not connected
  size_t open_requests() const;
  std::vector<ServiceId> unreachable() const;
  void tick();

 private:
  struct Slot {
    Reply reply;
    uint32_t round = 0;
    bool used = false;
    io::Instant since;
  };
  struct Waiting {
    wire::MessageType type;
    std::vector<std::byte> body;
    Buffer data;
    Reply reply;
  };
  struct Peer {
    explicit Peer(io::Reactor& reactor) : redial(reactor) {}
    ServiceId service;
    std::string address;
    uint64_t start_id = 0;
    std::unique_ptr<io::Net::Attempt> attempt;
    std::unique_ptr<wire::Connection> connection;
    bool ready = false;
    bool failing = false;  // the last attempt to reach it failed
    io::Duration backoff{};
    io::Timer redial;
    std::vector<Slot> slots;
    std::vector<uint32_t> free_slots;
    std::vector<Waiting> waiting;  // until the connection is ready
    io::Instant heard;
  };
  Peer& peer(ServiceId service);
  void dial(Peer& peer);
  void connected(Peer& peer, Result<std::unique_ptr<io::Socket>> socket);
  void became_ready(Peer& peer, const wire::Identity& identity);
  void lost(Peer& peer, const Error& why);
  void received(Peer& peer, wire::Message message);
  void transmit(Peer& peer, Waiting request);

  io::Host& host_;
  wire::ClusterKey key_;
  wire::Identity self_;
  std::map<ServiceId, std::unique_ptr<Peer>> peers_;
};

}  // namespace sp::serve
