#include "serve/links.h"

#include "base/limits.h"
#include "base/planted.h"

namespace sp::serve {

Links::Links(io::Host& host, const wire::ClusterKey& key, const wire::Identity& self,
             Handler handler, Closed closed)
    : host_(host),
      key_(key),
      self_(self),
      handler_(std::move(handler)),
      closed_(std::move(closed)) {}

Links::~Links() = default;

Status Links::listen(const io::Address& address) {
  auto listener = host_.net.listen(
      address, [this](std::unique_ptr<io::Socket> socket) { accepted(std::move(socket)); });
  if (!listener.ok()) return std::move(listener).error().with("cannot listen on " + address.text());
  listener_ = std::move(listener).value();
  return {};
}

io::Address Links::address() const { return listener_ ? listener_->address() : io::Address{}; }

void Links::accepted(std::unique_ptr<io::Socket> socket) {
  if (links_.size() >= limits::connections_per_service_max) return;
  auto link = std::make_unique<Link>();
  const uint64_t id = ++last_id_;
  link->id = id;
  link->peer.link = id;
  Link* const raw = link.get();
  wire::Connection::Events events;
  events.ready = [this, id](const wire::Identity& identity) { became_ready(id, identity); };
  events.message = [this, raw](wire::Message message) { handler_(raw->peer, std::move(message)); };
  events.closed = [this, id](const Error&) { drop(id); };
  link->connection =
      wire::Connection::start(host_, std::move(socket), key_, self_, true, std::move(events));
  links_.emplace(id, std::move(link));
}

void Links::became_ready(uint64_t id, const wire::Identity& identity) {
  const auto found = links_.find(id);
  if (found == links_.end()) return;
  found->second->ready = true;
  found->second->peer.identity = identity;
  const auto before = by_service_.find(identity.service);
  if (before != by_service_.end() && !SP_PLANTED_BUG(serve_applies_retries_again))
    drop(before->second);
  by_service_[identity.service] = id;
}

void Links::drop(uint64_t id) {
  const auto found = links_.find(id);
  if (found == links_.end()) return;
  const auto link = std::move(found->second);
  links_.erase(found);
  const auto place = by_service_.find(link->peer.identity.service);
  if (place != by_service_.end() && place->second == id) by_service_.erase(place);
  if (link->ready) closed_(id);
}

void Links::reply(uint64_t link, wire::Message message) {
  const auto found = links_.find(link);
  if (found != links_.end()) found->second->connection->send(std::move(message));
}

}  // namespace sp::serve
