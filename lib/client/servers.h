// Servers: the connections of one client process to the servers, shared by its volumes.
//
// A request ends exactly once, in a later turn: with the reply, or with an Error when the
// connection could not be made or was lost, also because the server left some request unanswered
// for limits::request_timeout; the outcome is then unknown and the owner asks again wherever the
// map says. At most limits::client_window_per_server requests are in flight to one server, the rest
// waits in order. Requests are never repeated here. Thread rule: one reactor.
#pragma once
#include <deque>
#include <map>
#include <memory>
#include <vector>

#include "base/callback.h"
#include "client/volume.h"
#include "io/host.h"
#include "map/map.h"
#include "wire/connection.h"

namespace sp::client {

class Servers {
 public:
  using Reply = Callback<void(Result<wire::Message>)>;

  Servers(io::Host& host, const wire::ClusterKey& key, const wire::Identity& self,
          const Tuning& tuning);
  ~Servers();

  const wire::Identity& self() const { return self_; }
  const Tuning& tuning() const { return tuning_; }
  // message.request is filled in here.
  void request(const map::Service& server, wire::Message message, Reply reply);
  size_t open_requests() const;  // sent or waiting
  // Gives up connections to servers that the map knows to be down or started anew.
  void map_changed(const map::Map& map);

 private:
  struct Slot {
    Reply reply;
    uint32_t round = 0;
    bool used = false;
    io::Instant since;
  };
  struct Waiting {
    wire::Message message;
    Reply reply;
  };
  struct Link {
    explicit Link(io::Reactor& reactor) : redial(reactor) {}
    ServiceId service;
    std::string address;
    uint64_t start_id = 0;
    std::unique_ptr<io::Net::Attempt> attempt;
    std::unique_ptr<wire::Connection> connection;
    bool ready = false;
    io::Duration backoff{};
    io::Timer redial;
    std::vector<Slot> slots;
    std::vector<uint32_t> free_slots;
    std::deque<Waiting> waiting;
  };
  void dial(Link& link);
  void connected(Link& link, Result<std::unique_ptr<io::Socket>> socket);
  void lost(Link& link, const Error& why);
  void received(Link& link, wire::Message message);
  void pump(Link& link);
  void tick();

  io::Host& host_;
  wire::ClusterKey key_;
  wire::Identity self_;
  Tuning tuning_;
  std::map<ServiceId, std::unique_ptr<Link>> links_;
  io::Timer tick_timer_;
};

}  // namespace sp::client
