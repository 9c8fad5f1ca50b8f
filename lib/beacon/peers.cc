#include "beacon/peers.h"

#include "wire/beacon_messages.h"

namespace sp::beacon {

using wire::MessageType;

Peers::Peers(io::Host& host, Links& links, Options options)
    : host_(host), links_(links), options_(std::move(options)) {
  for (const auto& [node, address] : options_.addresses) {
    if (node != options_.self) peers_[node].address = address;
  }
}

bool Peers::ready(LinkId id, const wire::Identity& identity) {
  const NodeId node = identity.service.node;
  const auto it = peers_.find(node);
  if (it == peers_.end()) {
    host_.log.warning(
        "unknown beacon",
        {{"node", node}, {"what to do", "add the node to sp.toml here and restart sp-beacon"}});
    return false;
  }
  Peer& peer = it->second;
  if (peer.link != 0 && peer.link != id) {
    by_link_.erase(peer.link);
    links_.close(peer.link);
  }
  peer.link = id;
  peer.ready = true;
  peer.greeted = false;
  peer.heard = peer.pinged = host_.clock.now();
  by_link_[id] = node;
  links_.send(id, {MessageType::beacon_hello, 0, encode(wire::BeaconHello{options_.log_id}), {}});
  return true;
}

std::optional<NodeId> Peers::node_of(LinkId id) const {
  const auto it = by_link_.find(id);
  if (it == by_link_.end()) return std::nullopt;
  return it->second;
}

bool Peers::take(NodeId node, const wire::Message& message) {
  Peer& peer = peers_.at(node);
  peer.heard = host_.clock.now();
  switch (message.type) {
    case MessageType::ping:
      links_.send(peer.link, {MessageType::pong, message.request, {}, {}});
      return true;
    case MessageType::pong: return true;
    case MessageType::beacon_hello:
      if (const auto hello = wire::decode<wire::BeaconHello>(message.body)) {
        peer.log_id = hello->log_id;
        peer.greeted = true;
        peer.backoff = limits::reconnect_backoff_min;
        peer.told = false;
      }
      return true;
    default: return false;
  }
}

void Peers::closed(LinkId id) {
  const auto it = by_link_.find(id);
  if (it == by_link_.end()) return;
  const NodeId node = it->second;
  by_link_.erase(it);
  Peer& peer = peers_.at(node);
  if (peer.link != id) return;
  if (!peer.told)
    host_.log.warning("beacon not connected", {{"node", node}, {"address", peer.address.text()}});
  peer.told = true;
  peer.link = 0;
  peer.ready = false;
  peer.dial_at = host_.clock.now() + peer.backoff;
  peer.backoff = std::min<io::Duration>(peer.backoff * 2, limits::reconnect_backoff_max);
}

void Peers::send(NodeId node, wire::Message message) {
  const auto it = peers_.find(node);
  if (it != peers_.end() && it->second.ready) links_.send(it->second.link, std::move(message));
}

bool Peers::connected(NodeId node) const {
  const auto it = peers_.find(node);
  return it != peers_.end() && it->second.ready;
}

uint64_t Peers::log_id(NodeId node) const {
  const auto it = peers_.find(node);
  return it != peers_.end() && it->second.greeted ? it->second.log_id : 0;
}

void Peers::tick() {
  const io::Instant now = host_.clock.now();
  for (auto& [node, peer] : peers_) {
    if (peer.ready && now - peer.heard > limits::peer_silent_after) {
      const LinkId silent = peer.link;
      links_.close(silent);
      closed(silent);
    }
    if (peer.ready && now - peer.heard > limits::peer_ping_interval &&
        now - peer.pinged > limits::peer_ping_interval) {
      peer.pinged = now;
      links_.send(peer.link, {MessageType::ping, 0, {}, {}});
    }
    if (peer.link == 0 && node > options_.self && now >= peer.dial_at) {
      peer.link = links_.dial(peer.address);
      by_link_[peer.link] = node;
    }
  }
}

}  // namespace sp::beacon
