#include "beacon/links.h"

namespace sp::beacon {

Links::Links(io::Host& host, const wire::ClusterKey& key, const wire::Identity& self, Events events)
    : host_(host), key_(key), self_(self), events_(std::move(events)) {}

Status Links::listen(const io::Address& address) {
  auto listener = host_.net.listen(address, [this](std::unique_ptr<io::Socket> socket) {
    if (links_.size() >= limits::connections_per_service_max) {
      host_.log.warning("connection refused",
                        {{"peer", socket->peer().text()}, {"why", "this beacon has too many"}});
      return;
    }
    const LinkId id = ++last_;
    links_[id] = {};
    start(id, std::move(socket), true);
  });
  if (!listener.ok()) return std::move(listener).error();
  listener_ = std::move(listener).value();
  return {};
}

LinkId Links::dial(const io::Address& address) {
  const LinkId id = ++last_;
  links_[id].attempt = host_.net.connect(address, limits::connect_timeout,
                                         [this, id](Result<std::unique_ptr<io::Socket>> socket) {
                                           if (socket.ok())
                                             start(id, std::move(socket).value(), false);
                                           else
                                             closed(id, socket.error());
                                         });
  return id;
}

void Links::start(LinkId id, std::unique_ptr<io::Socket> socket, bool accepting) {
  links_.at(id).connection = wire::Connection::start(
      host_, std::move(socket), key_, self_, accepting,
      {[this, id](const wire::Identity& peer) { events_.ready(id, peer); },
       [this, id](wire::Message message) { events_.message(id, std::move(message)); },
       [this, id](const Error& why) { closed(id, why); }});
}

void Links::closed(LinkId id, const Error& why) {
  links_.erase(id);
  events_.closed(id, why);
}

void Links::send(LinkId id, wire::Message message) {
  const auto it = links_.find(id);
  if (it != links_.end() && it->second.connection) it->second.connection->send(std::move(message));
}

void Links::close(LinkId id) { links_.erase(id); }

uint8_t Links::protocol(LinkId id) const { return links_.at(id).connection->protocol(); }

}  // namespace sp::beacon
