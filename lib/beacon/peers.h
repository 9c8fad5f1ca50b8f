// Peers: the connections to the other beacons, one each. The node with the lower id dials; a new
// connection replaces the old one. Pings tell a dead connection from a quiet one. What is sent to a
// peer that is not connected is dropped: Raft and leases repeat themselves. Thread rule: one
// reactor.
#pragma once
#include <map>
#include <optional>

#include "beacon/links.h"

namespace sp::beacon {

class Peers {
 public:
  struct Options {
    NodeId self = 0;
    uint64_t log_id = 0;                      // told to every peer
    std::map<NodeId, io::Address> addresses;  // without our own
  };
  Peers(io::Host& host, Links& links, Options options);

  // From Links. ready: false when this peer is not ours to talk to (the caller closes the link).
  // message: the ones that were not for this part.
  bool ready(LinkId id, const wire::Identity& peer);
  std::optional<NodeId> node_of(LinkId id) const;
  // True when the message was one of this part's own (hello, ping, pong).
  bool take(NodeId node, const wire::Message& message);
  void closed(LinkId id);

  void send(NodeId node, wire::Message message);
  bool connected(NodeId node) const;
  uint64_t log_id(NodeId node) const;  // 0: not known
  void tick();                         // every 100 ms or so: dials, pings

 private:
  struct Peer {
    io::Address address;
    LinkId link = 0;  // connecting or connected
    bool ready = false;
    bool greeted = false;  // its hello came on this connection
    uint64_t log_id = 0;
    io::Instant heard;
    io::Instant pinged;
    io::Instant dial_at;
    io::Duration backoff = limits::reconnect_backoff_min;
    bool told = false;  // logged once per loss
  };

  io::Host& host_;
  Links& links_;
  Options options_;
  std::map<NodeId, Peer> peers_;
  std::map<LinkId, NodeId> by_link_;
};

}  // namespace sp::beacon
