// Links: all connections of a beacon, made and accepted, by number. Who the peer is becomes known
// when a link is ready; whether it is another beacon or a service is the affair of the owner.
// Numbers are never reused. At most limits::connections_per_service_max links. Thread rule: one
// reactor; events never run inside a call.
#pragma once
#include <map>
#include <memory>

#include "base/limits.h"
#include "io/host.h"
#include "wire/connection.h"

namespace sp::beacon {

using LinkId = uint64_t;  // 0 is none

class Links {
 public:
  struct Events {
    Callback<void(LinkId, const wire::Identity&)> ready;
    Callback<void(LinkId, wire::Message)> message;
    Callback<void(LinkId, const Error&)> closed;  // also when a dialled link never came to be
  };
  Links(io::Host& host, const wire::ClusterKey& key, const wire::Identity& self, Events events);

  Status listen(const io::Address& address);
  LinkId dial(const io::Address& address);
  void send(LinkId id, wire::Message message);  // dropped when the link is gone
  void close(LinkId id);                        // without an event
  uint8_t protocol(LinkId id) const;            // of one that is ready
  size_t count() const { return links_.size(); }

 private:
  struct Link {
    std::unique_ptr<io::Net::Attempt> attempt;
    std::unique_ptr<wire::Connection> connection;
  };
  void start(LinkId id, std::unique_ptr<io::Socket> socket, bool accepting);
  void closed(LinkId id, const Error& why);

  io::Host& host_;
  wire::ClusterKey key_;
  wire::Identity self_;
  Events events_;
  LinkId last_ = 0;
  std::map<LinkId, Link> links_;
  std::unique_ptr<io::Listener> listener_;
};

}  // namespace sp::beacon
