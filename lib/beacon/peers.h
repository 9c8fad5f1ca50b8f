// Peers: the connections to the other beacons, one each. The node with the lower id dials, and
// after a while the other one too: one that has just started may know others by the agreed map
// alone, so not yet. A new connection replaces the old one, and whoever knows the cluster's key is
// a peer. Peers are those of sp.toml and those of the agreed map; a node that has left the cluster
// is still talked to, so that it hears of it. Pings tell a dead connection from a quiet one. What
// is sent to a peer that is not connected is dropped: Raft and leases repeat themselves. Thread
// rule: one reactor.
#pragma once
#include <functional>
#include <map>
#include <optional>

#include "beacon/links.h"
#include "map/map.h"

namespace sp::beacon {

class Peers {
 public:
  struct Options {
    NodeId self = 0;
    uint64_t log_id = 0;                             // told to every peer
    std::map<NodeId, io::Address> addresses;         // without our own
    Callback<void(NodeId, uint64_t index)> removed;  // a peer says that in the state of this index
                                                     // our node has left the cluster
  };
  Peers(io::Host& host, Links& links, Options options);
  // The agreed map, when it has changed, and who is still a member of the agreement group.
  void follow(const map::Map& map, const std::function<bool(NodeId)>& is_member);

  // From Links. ready: false when this peer is not ours to talk to (the caller closes the link):
  // calls itself by our number.
  // message: the ones that were not for this part.
  bool ready(LinkId id, const wire::Identity& peer);
  std::optional<NodeId> node_of(LinkId id) const;
  // True when the message was one of this part's own (hello, ping, pong).
  bool take(NodeId node, const wire::Message& message);
  void closed(LinkId id);

  void send(NodeId node, wire::Message message);
  bool connected(NodeId node) const;
  uint64_t log_id(NodeId node) const;   // 0: not known
  uint8_t protocol(NodeId node) const;  // 0: not connected
  void tick();                          // every 100 ms or so: dials, pings

 private:
  struct Peer {
    std::optional<io::Address> address;
    LinkId link = 0;  // connecting or connected
    bool ready = false;
    bool greeted = false;  // its hello came on this connection
    uint64_t log_id = 0;
    io::Instant heard;
    io::Instant pinged;
    io::Instant dial_at;
    io::Instant away_since;  // not connected
    io::Duration backoff = limits::reconnect_backoff_min;
    bool told = false;           // logged once per loss
    uint64_t removed_index = 0;  // see BeaconHello
  };
  void greet(const Peer& peer);

  io::Host& host_;
  Links& links_;
  Options options_;
  std::map<NodeId, Peer> peers_;
  std::map<LinkId, NodeId> by_link_;
};

}  // namespace sp::beacon
