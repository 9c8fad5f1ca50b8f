#include "beacon/peers.h"

#include "base/probe.h"
#include "wire/beacon_messages.h"

namespace sp::beacon {

using wire::MessageType;

namespace {
constexpr auto dial_back_after = std::chrono::seconds(1);
constexpr auto removed_backoff_max = std::chrono::seconds(10);
}  // namespace

Peers::Peers(io::Host& host, Links& links, Options options)
    : host_(host), links_(links), options_(std::move(options)) {
  for (const auto& [node, address] : options_.addresses) {
    if (node == options_.self) continue;
    peers_[node].address = address;
    peers_[node].away_since = host.clock.now();
  }
}

void Peers::follow(const map::Map& map, const std::function<bool(NodeId)>& is_member) {
  const auto know = [this](NodeId node, const std::string& text) {
    const auto address = io::Address::parse(text);
    if (node == options_.self || !address.ok()) return;
    const auto [at, added] = peers_.try_emplace(node);
    if (options_.addresses.count(node) == 0) at->second.address = *address;
    if (added) at->second.away_since = host_.clock.now();
    if (added) SP_PROBE(beacon_peer_known_from_map);
  };
  for (const auto& [id, node] : map.nodes) know(id, node.address);
  for (const auto& [id, node] : map.removed_nodes) know(id, node.address);
  for (auto& [node, peer] : peers_) {
    const bool removed = map.removed_nodes.count(node) != 0 && !is_member(node);
    const bool news = removed && peer.removed_index == 0;
    peer.removed_index = removed ? map.index : 0;
    if (news && peer.ready) greet(peer);
  }
}

void Peers::greet(const Peer& peer) {
  const wire::BeaconHello hello{options_.log_id, peer.removed_index};
  links_.send(peer.link,
              {MessageType::beacon_hello, 0, encode(hello, links_.protocol(peer.link)), {}});
}

bool Peers::ready(LinkId id, const wire::Identity& identity) {
  const NodeId node = identity.service.node;
  if (node == options_.self) {
    host_.log.warning("another beacon has the number of this node", {{"node", node}});
    closed(id);  // whom it was dialled as is dialled again
    return false;
  }
  const auto [it, unknown] = peers_.try_emplace(node);
  if (unknown) host_.log.info("a beacon that is not in sp.toml", {{"node", node}});
  Peer& peer = it->second;
  if (peer.link != 0 && peer.link != id) {
    by_link_.erase(peer.link);
    links_.close(peer.link);
  }
  // Dialled as another one, whose address this is no more.
  if (const auto dialled = by_link_.find(id);
      dialled != by_link_.end() && dialled->second != node) {
    Peer& other = peers_.at(dialled->second);
    if (other.link == id) closed(id);
  }
  peer.link = id;
  peer.ready = true;
  peer.greeted = false;
  peer.heard = peer.pinged = host_.clock.now();
  by_link_[id] = node;
  greet(peer);
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
      if (const auto hello =
              wire::decode<wire::BeaconHello>(message.body, links_.protocol(peer.link))) {
        if (hello->removed_index != 0) options_.removed(node, hello->removed_index);
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
    host_.log.warning("beacon not connected",
                      {{"node", node}, {"address", peer.address ? peer.address->text() : "none"}});
  peer.told = true;
  peer.link = 0;
  if (peer.ready) peer.away_since = host_.clock.now();
  peer.ready = false;
  peer.dial_at = host_.clock.now() + peer.backoff;
  const io::Duration longest = peer.removed_index != 0
                                   ? io::Duration(removed_backoff_max)
                                   : io::Duration(limits::reconnect_backoff_max);
  peer.backoff = std::min<io::Duration>(peer.backoff * 2, longest);
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

uint8_t Peers::protocol(NodeId node) const {
  return connected(node) ? links_.protocol(peers_.at(node).link) : 0;
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
    const bool ours = node > options_.self || now - peer.away_since > dial_back_after;
    if (peer.link == 0 && peer.address && ours && now >= peer.dial_at) {
      peer.link = links_.dial(*peer.address);
      by_link_[peer.link] = node;
    }
  }
}

}  // namespace sp::beacon
