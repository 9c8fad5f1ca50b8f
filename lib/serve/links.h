// Links: the connections that others opened to this server: clients with their data requests,
// primaries on other servers with their copies.
//
// A request is answered by the number of its link; an answer to a link that is gone is dropped. A
// new connection of the same service (a reconnect, or a newer start) takes the place of the old
// one, which is closed: what has not been read of the old one is never read. Thread rule: one
// reactor.
#pragma once
#include <functional>
#include <map>
#include <memory>
#include <unordered_map>

#include "base/callback.h"
#include "io/host.h"
#include "wire/connection.h"

namespace sp::serve {

class Links {
 public:
  struct Peer {
    uint64_t link = 0;
    wire::Identity identity;
  };
  using Handler = std::function<void(const Peer& from, wire::Message message)>;
  using Closed = std::function<void(uint64_t link)>;

  Links(io::Host& host, const wire::ClusterKey& key, const wire::Identity& self, Handler handler,
        Closed closed);
  ~Links();

  Status listen(const io::Address& address);
  io::Address address() const;
  void reply(uint64_t link, wire::Message message);
  void close(uint64_t link) { drop(link); }
  bool open(uint64_t link) const { return links_.count(link) != 0; }

 private:
  struct Link {
    uint64_t id = 0;
    bool ready = false;
    Peer peer;
    std::unique_ptr<wire::Connection> connection;
  };
  void accepted(std::unique_ptr<io::Socket> socket);
  void became_ready(uint64_t id, const wire::Identity& identity);
  void drop(uint64_t id);

  io::Host& host_;
  wire::ClusterKey key_;
  wire::Identity self_;
  Handler handler_;
  Closed closed_;
  std::unique_ptr<io::Listener> listener_;
  uint64_t last_id_ = 0;
  std::unordered_map<uint64_t, std::unique_ptr<Link>> links_;  // never iterated
  std::map<ServiceId, uint64_t> by_service_;
};

}  // namespace sp::serve
