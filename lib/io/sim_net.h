// SimNet: the network of a simulated world. Nodes are IP addresses; several hosts (processes) may
// live on one node. Streams keep order and lose nothing while they live, as TCP does: a lost
// segment only comes late, a broken link holds everything back until it heals or the sender gives
// up, and a reset loses what was on its way. Unix sockets are seen within their node only.
// connect() to a node without a live host times out; to a live one where nobody listens it is
// refused.
#pragma once
#include <memory>
#include <string>
#include <vector>

#include "io/net.h"
#include "io/sim_core.h"
#include "io/sim_options.h"

namespace sp::io {

class SimNet {
 public:
  SimNet(SimCore& core, const SimNetOptions& options);
  ~SimNet();

  // Faults. Nodes are named by their first IP; links within a node never break.
  void set_link(const std::string& from, const std::string& to, bool up);  // one direction
  void partition(const std::vector<std::string>&
                     group);  // cuts the group off from everybody else, both directions
  void heal();                // all links up and as fast as ever
  void clog(const std::string& from, const std::string& to,
            Duration duration);  // holds what is sent, then lets it go
  // Holds what the connections that are there now have under way, and send, in this direction; one
  // that is made meanwhile is free, so its messages overtake.
  void hold_connections(const std::string& from, const std::string& to, Duration duration);
  // The same of all that one host sends to other nodes.
  void hold_sends(uint32_t host, Duration duration);
  void give_connections_up(uint32_t host);  // see SimHost
  // This direction takes longer by so much, and by an exponential draw of this mean.
  void set_extra_delay(const std::string& from, const std::string& to, Duration base,
                       Duration mean);
  void reset_connections(const std::string& a, const std::string& b);  // all between the two nodes
  void set_options(const SimNetOptions& options);
  // Further addresses of a node, such as one that floats: it is taken from the node that had it.
  // Existing connections through it are reset.
  void assign_address(const std::string& node_ip, const std::string& address);
  size_t connection_count() const;
  bool hampered() const;  // loses, resets or clogs more than the world's options say
  // No fault holds back what is sent from one node to the other.
  bool flows(const std::string& from, const std::string& to) const;
  bool is_up(const std::string& from, const std::string& to) const;  // whatever holds it back
  bool all_flows() const;  // from any to any

  // For SimWorld.
  void add_host(uint32_t host, const std::string& ip);
  void host_started(uint32_t host);
  // `silent`: as when a machine loses power: nobody is told, peers find out by timeout or when the
  // restarted node answers them.
  void host_killed(uint32_t host, bool silent);
  std::unique_ptr<Net> net_for(uint32_t host);

  struct State;

 private:
  std::unique_ptr<State> state_;
};

}  // namespace sp::io
