#include "serve/peers.h"

#include <algorithm>

#include "base/limits.h"
#include "base/planted.h"
#include "base/probe.h"

namespace sp::serve {

Peers::Peers(io::Host& host, const wire::ClusterKey& key, const wire::Identity& self)
    : host_(host), key_(key), self_(self) {}
Peers::~Peers() = default;

Peers::Peer& Peers::peer(ServiceId service) {
  auto& peer = peers_[service];
  if (!peer) {
    peer = std::make_unique<Peer>(host_.reactor);
    peer->service = service;
  }
  return *peer;
}

void Peers::set_address(ServiceId service, const std::string& address, uint64_t start_id) {
  Peer& p = peer(service);
  if (p.address == address && p.start_id == start_id) return;
  p.address = address;
  p.start_id = start_id;
  p.backoff = {};
  if (p.connection || p.attempt)
    lost(p, Error(Code::closed, "the service has been started anew"));
  else if (p.redial.armed())
    dial(p);
}

bool Peers::ready(ServiceId service) const {
  const auto found = peers_.find(service);
  return found != peers_.end() && found->second->ready;
}

void Peers::want(ServiceId service) {
  Peer& p = peer(service);
  if (!p.connection && !p.attempt && !p.redial.armed()) dial(p);
}

void Peers::dial(Peer& p) {
  p.redial.cancel();
  const auto address = io::Address::parse(p.address);
  if (!address.ok()) {
    p.redial.arm(limits::reconnect_backoff_min,
                 [this, &p] { lost(p, Error(Code::unreachable, "no address is known")); });
    return;
  }
  p.attempt = host_.net.connect(
      *address, limits::connect_timeout,
      [this, &p](Result<std::unique_ptr<io::Socket>> socket) { connected(p, std::move(socket)); });
}

void Peers::connected(Peer& p, Result<std::unique_ptr<io::Socket>> socket) {
  p.attempt.reset();
  if (!socket.ok()) return lost(p, socket.error());
  wire::Connection::Events events;
  events.ready = [this, &p](const wire::Identity& identity) { became_ready(p, identity); };
  events.message = [this, &p](wire::Message message) { received(p, std::move(message)); };
  events.closed = [this, &p](const Error& why) { lost(p, why); };
  p.connection = wire::Connection::start(host_, std::move(socket).value(), key_, self_, false,
                                         std::move(events));
}

void Peers::became_ready(Peer& p, const wire::Identity& identity) {
  if (identity.service != p.service) {
    return lost(p, Error(Code::not_authorised, "another service answers at " + p.address));
  }
  // A newer start than the map's may hold other disks under the same ids; an older one is gone from
  // the cluster. Dialled again when the map moves on.
  if (identity.start_id != p.start_id && !SP_PLANTED_BUG(serve_believes_disk_by_id)) {
    SP_PROBE(serve_peer_of_another_start);
    return lost(p, Error(Code::stale, "another start of the service answers at " + p.address));
  }
  p.ready = true;
  p.failing = false;
  p.backoff = {};
  p.heard = host_.clock.now();
  auto waiting = std::move(p.waiting);
  p.waiting.clear();
  for (auto& request : waiting) transmit(p, std::move(request));
  if (on_ready) on_ready(p.service);
}

void Peers::lost(Peer& p, const Error& why) {
  p.connection.reset();
  p.attempt.reset();
  p.ready = false;
  p.failing = true;
  std::vector<Reply> ended;
  for (auto& slot : p.slots) {
    if (slot.used) ended.push_back(std::move(slot.reply));
  }
  p.slots.clear();
  p.free_slots.clear();
  for (auto& request : p.waiting) {
    if (request.reply) ended.push_back(std::move(request.reply));
  }
  p.waiting.clear();
  p.backoff = std::clamp<io::Duration>(p.backoff * 2, limits::reconnect_backoff_min,
                                       limits::reconnect_backoff_max);
  // A share of chance, so that servers cut off together do not come back in step.
  const auto most = static_cast<uint64_t>(p.backoff.count() / 2 + 1);
  const uint64_t share = SP_PLANTED_BUG(serve_dials_by_address)
                             ? reinterpret_cast<uintptr_t>(new char) % most  // never given back
                             : host_.random.below(most);
  const io::Duration pause = p.backoff / 2 + io::Duration(share);
  p.redial.arm(pause, [this, &p] { dial(p); });
  for (auto& reply : ended) reply.call_once(Error(why.code(), why.message()));
}

void Peers::request(ServiceId to, wire::MessageType type, std::vector<std::byte> body, Buffer data,
                    Reply reply) {
  Peer& p = peer(to);
  Waiting request{type, std::move(body), std::move(data), std::move(reply)};
  if (p.ready) return transmit(p, std::move(request));
  if (p.waiting.size() >= limits::send_queue_messages_max) {
    auto box = std::make_unique<Reply>(std::move(request.reply));
    host_.reactor.post([box = std::move(box)] {
      box->call_once(Error(Code::unreachable, "too many requests wait for the connection"));
    });
    return;
  }
  p.waiting.push_back(std::move(request));
  want(to);
}

void Peers::transmit(Peer& p, Waiting request) {
  wire::Message message;
  message.type = request.type;
  message.body = std::move(request.body);
  message.data = std::move(request.data);
  if (request.reply) {
    if (p.free_slots.empty()) {
      p.free_slots.push_back(static_cast<uint32_t>(p.slots.size()));
      p.slots.emplace_back();
    }
    const uint32_t index = p.free_slots.back();
    p.free_slots.pop_back();
    Slot& slot = p.slots[index];
    slot.used = true;
    slot.reply = std::move(request.reply);
    slot.since = host_.clock.now();
    message.request = uint64_t{++slot.round} << 32 | index;
  }
  p.connection->send(std::move(message));
}

void Peers::send(ServiceId to, wire::MessageType type, std::vector<std::byte> body) {
  Peer& p = peer(to);
  if (p.ready) transmit(p, {type, std::move(body), {}, {}});
}

void Peers::received(Peer& p, wire::Message message) {
  p.heard = host_.clock.now();
  const auto index = static_cast<uint32_t>(message.request);
  const auto round = static_cast<uint32_t>(message.request >> 32);
  if (index >= p.slots.size() || !p.slots[index].used || p.slots[index].round != round) return;
  Slot& slot = p.slots[index];
  slot.used = false;
  Reply reply = std::move(slot.reply);
  p.free_slots.push_back(index);
  reply.call_once(std::move(message));
}

size_t Peers::open_requests() const {
  size_t open = 0;
  for (const auto& [service, peer] : peers_)
    open += peer->waiting.size() + peer->slots.size() - peer->free_slots.size();
  return open;
}

std::vector<ServiceId> Peers::unreachable() const {
  std::vector<ServiceId> out;
  for (const auto& [service, peer] : peers_) {
    if (peer->failing && !peer->ready) out.push_back(service);
  }
  return out;
}

void Peers::tick() {
  const io::Instant now = host_.clock.now();
  for (auto& [service, peer] : peers_) {
    if (!peer->ready || now - peer->heard < limits::copy_timeout) continue;
    const bool overdue = std::any_of(peer->slots.begin(), peer->slots.end(), [&](const Slot& slot) {
      return slot.used && now - slot.since >= limits::copy_timeout;
    });
    if (overdue) lost(*peer, Error(Code::timed_out, "no answer"));
  }
}

}  // namespace sp::serve
