#include "client/servers.h"

#include <algorithm>

#include "base/limits.h"
#include "base/probe.h"
#include "client/volume.h"

namespace sp::client {

std::shared_ptr<Servers> make_servers(io::Host& host, const wire::ClusterKey& key,
                                      const wire::Identity& self, const Tuning& tuning) {
  return std::make_shared<Servers>(host, key, self, tuning);
}

Servers::Servers(io::Host& host, const wire::ClusterKey& key, const wire::Identity& self,
                 const Tuning& tuning)
    : host_(host), key_(key), self_(self), tuning_(tuning), tick_timer_(host.reactor) {}
Servers::~Servers() = default;

void Servers::request(const map::Service& server, wire::Message message, Reply reply) {
  auto& place = links_[server.id];
  if (!place) {
    place = std::make_unique<Link>(host_.reactor);
    place->service = server.id;
  }
  Link& link = *place;
  if (link.address != server.address || link.start_id != server.start_id) {
    link.address = server.address;
    link.start_id = server.start_id;
    link.backoff = {};
    if (link.connection || link.attempt)
      lost(link, Error(Code::closed, "the server was started anew"));
    link.redial.cancel();
  }
  link.waiting.push_back({std::move(message), std::move(reply)});
  if (link.ready)
    pump(link);
  else if (!link.connection && !link.attempt && !link.redial.armed())
    dial(link);
  if (!tick_timer_.armed()) tick_timer_.arm(limits::request_timeout / 8, [this] { tick(); });
}

void Servers::dial(Link& link) {
  const auto address = io::Address::parse(link.address);
  if (!address.ok()) {
    link.redial.arm(limits::reconnect_backoff_min, [this, &link] {
      lost(link, Error(Code::unreachable, "the server has no address"));
    });
    return;
  }
  link.attempt = host_.net.connect(*address, limits::connect_timeout,
                                   [this, &link](Result<std::unique_ptr<io::Socket>> socket) {
                                     connected(link, std::move(socket));
                                   });
}

void Servers::connected(Link& link, Result<std::unique_ptr<io::Socket>> socket) {
  link.attempt.reset();
  if (!socket.ok()) return lost(link, socket.error());
  wire::Connection::Events events;
  events.ready = [this, &link](const wire::Identity& peer) {
    if (peer.service != link.service)
      return lost(link, Error(Code::not_authorised, "another service answers at " + link.address));
    link.ready = true;
    link.backoff = {};
    pump(link);
  };
  events.message = [this, &link](wire::Message message) { received(link, std::move(message)); };
  events.closed = [this, &link](const Error& why) { lost(link, why); };
  link.connection = wire::Connection::start(host_, std::move(socket).value(), key_, self_, false,
                                            std::move(events));
}

void Servers::pump(Link& link) {
  const auto in_flight = [&] { return link.slots.size() - link.free_slots.size(); };
  while (link.ready && !link.waiting.empty() && in_flight() < tuning_.window) {
    if (link.free_slots.empty()) {
      link.free_slots.push_back(static_cast<uint32_t>(link.slots.size()));
      link.slots.emplace_back();
    }
    const uint32_t index = link.free_slots.back();
    link.free_slots.pop_back();
    Slot& slot = link.slots[index];
    Waiting request = std::move(link.waiting.front());
    link.waiting.pop_front();
    slot.used = true;
    slot.since = host_.clock.now();
    slot.reply = std::move(request.reply);
    request.message.request = uint64_t{++slot.round} << 32 | index;
    link.connection->send(std::move(request.message));
  }
  if (link.ready && !link.waiting.empty()) SP_PROBE(client_window_full);
}

void Servers::received(Link& link, wire::Message message) {
  const auto index = static_cast<uint32_t>(message.request);
  const auto round = static_cast<uint32_t>(message.request >> 32);
  if (index >= link.slots.size() || !link.slots[index].used || link.slots[index].round != round)
    return;
  Slot& slot = link.slots[index];
  slot.used = false;
  Reply reply = std::move(slot.reply);
  link.free_slots.push_back(index);
  pump(link);
  reply.call_once(std::move(message));
}

void Servers::lost(Link& link, const Error& why) {
  link.connection.reset();
  link.attempt.reset();
  link.ready = false;
  std::vector<Reply> ended;
  for (Slot& slot : link.slots) {
    if (slot.used) ended.push_back(std::move(slot.reply));
  }
  link.slots.clear();
  link.free_slots.clear();
  for (Waiting& request : link.waiting) ended.push_back(std::move(request.reply));
  link.waiting.clear();
  link.backoff = std::clamp<io::Duration>(link.backoff * 2, limits::reconnect_backoff_min,
                                          limits::reconnect_backoff_max);
  // Dialled again when somebody asks, but not before the pause is over.
  const io::Duration pause =
      link.backoff / 2 +
      io::Duration(host_.random.below(static_cast<uint64_t>(link.backoff.count() / 2 + 1)));
  link.redial.arm(pause, [this, &link] {
    if (!link.waiting.empty()) dial(link);
  });
  auto box = std::make_shared<std::vector<Reply>>(std::move(ended));
  auto error = std::make_shared<Error>(why);
  host_.reactor.post([box, error] {
    for (Reply& reply : *box) reply.call_once(Error(*error));
  });
}

size_t Servers::open_requests() const {
  size_t open = 0;
  for (const auto& [id, link] : links_)
    open += link->waiting.size() + link->slots.size() - link->free_slots.size();
  return open;
}

void Servers::map_changed(const map::Map& map) {
  for (auto& [id, link] : links_) {
    if (!link->connection && !link->attempt) continue;
    const auto row = map.services.find(id);
    if (row == map.services.end() || !row->second.up || row->second.start_id != link->start_id)
      lost(*link, Error(Code::closed, "the server is down"));
  }
}

void Servers::tick() {
  tick_timer_.arm(limits::request_timeout / 8, [this] { tick(); });
  const io::Instant now = host_.clock.now();
  for (auto& [id, link] : links_) {
    const bool overdue = std::any_of(link->slots.begin(), link->slots.end(), [&](const Slot& slot) {
      return slot.used && (now - slot.since >= limits::request_timeout ||
                           SP_BUGGIFY(client_gives_up_early, host_));
    });
    if (overdue) lost(*link, Error(Code::timed_out, "the server does not answer"));
  }
}

}  // namespace sp::client
