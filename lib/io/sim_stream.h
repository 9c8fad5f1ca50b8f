// The records behind SimNet: nodes, links, connections and their two flows. For sim_net*.cc only.
#pragma once
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <tuple>
#include <vector>

#include "base/buffer.h"
#include "io/sim_net.h"

namespace sp::io {

class SimSocket;

struct SimSegment {
  Buffer data;
  size_t taken = 0;
  int64_t arrival_ns = 0;
};

// One end of a connection: what the kernel of its node knows.
struct SimEndpoint {
  uint32_t host = sim_no_host;
  SimSocket* socket = nullptr;  // none before it is handed out, and after it is gone
  Address peer;
  bool gone = false;    // closed, or its host was killed
  bool silent = false;  // gone without telling: answers only once its node lives again
  bool broken = false;
  bool ended = false;  // the peer's stream ended in order
  std::string why;     // when broken
  std::deque<SimSegment> inbox;
  size_t inbox_bytes = 0;
  MutableBytes receive_into;
  Callback<void(Result<size_t>)> receive_done;
  Callback<void(Status)> send_done;
  uint64_t receive_event = 0;
  uint64_t send_event = 0;
  uint64_t accept_event = 0;
};

// From end[i] to end[1 - i].
struct SimFlow {
  enum class Ending : uint8_t { none, in_order, reset };
  std::deque<SimSegment> segments;
  size_t bytes = 0;
  Ending ending = Ending::none;
  int64_t ending_ns = 0;
  int64_t last_arrival_ns = 0;
  int64_t transfer_free_ns = 0;
  int64_t held_until_ns = 0;
  uint64_t event = 0;  // the next delivery; while stuck, the moment of giving up
  bool stuck = false;
};

struct SimConnection {
  uint64_t id = 0;
  std::string via;  // the address that was connected to
  uint32_t node[2] = {};
  SimEndpoint end[2];
  SimFlow flow[2];
};

struct SimListening {
  uint32_t host = 0;
  bool open = true;
  Address address;
  Callback<void(std::unique_ptr<Socket>)> accepted;
};

struct SimNet::State {
  State(SimCore& the_core, const SimNetOptions& given)
      : core(the_core), defaults(given), options(given) {}

  struct Node {
    std::string ip;
    uint32_t live_hosts = 0;
    uint16_t next_port = 32768;
  };
  struct HostRecord {
    uint32_t node = 0;
    bool alive = false;
  };
  struct Link {
    bool up = true;
    int64_t clogged_until_ns = 0;
    int64_t held_until_ns = 0;  // of connections that were held
    int64_t extra_base_ns = 0, extra_mean_ns = 0;
    double slowness = 1;  // for good
    bool flows(int64_t now_ns) const {
      return up && extra_base_ns + extra_mean_ns == 0 && clogged_until_ns <= now_ns &&
             held_until_ns <= now_ns;
    }
  };
  struct ConnectAttempt {
    uint32_t host = 0;
    Address address;
    uint64_t timeout_event = 0;
    uint64_t event = 0;  // the next step
    SimConnection* connection = nullptr;
    Callback<void(Result<std::unique_ptr<Socket>>)> done;
  };
  using ListenKey = std::tuple<uint32_t, std::string, uint16_t>;  // node, IP or path, port

  SimCore& core;
  const SimNetOptions defaults;
  SimNetOptions options;
  std::vector<Node> nodes;
  std::map<uint32_t, HostRecord> hosts;
  std::map<std::string, uint32_t> addresses;
  std::vector<Link> links;  // from * nodes + to
  std::map<ListenKey, std::shared_ptr<SimListening>> listeners;
  std::map<uint64_t, std::unique_ptr<SimConnection>> connections;
  std::map<uint64_t, ConnectAttempt> attempts;
  uint64_t next_id = 1;

  uint32_t node_named(const std::string& ip) const;
  Link& link(uint32_t from, uint32_t to) { return links[from * nodes.size() + to]; }
  bool link_up(uint32_t from, uint32_t to) { return from == to || link(from, to).up; }
  int64_t draw_delay(uint32_t from, uint32_t to);
  double draw_slowness();
  uint64_t schedule(uint32_t host, SimEvent kind, int64_t time_ns, Callback<void()> work) {
    return core.schedule(host, kind, time_ns, std::move(work));
  }
  void cancel(uint64_t& event) {
    if (event != 0) core.events.cancel(std::exchange(event, 0));
  }

  // sim_stream.cc: established connections.
  void receive(SimConnection& connection, int side, MutableBytes into,
               Callback<void(Result<size_t>)> done);
  void send(SimConnection& connection, int side, std::span<const Bytes> parts,
            Callback<void(Status)> done);
  void enqueue(SimConnection& connection, int side, SimSegment segment);
  void close(SimConnection& connection, int side, bool in_order);
  void end_flow(SimConnection& connection, int side, SimFlow::Ending ending);
  void schedule_delivery(SimConnection& connection, int side);
  void deliver(SimConnection& connection, int side);
  void get_stuck(SimConnection& connection, int side);
  void give_up(SimConnection& connection, int side);
  void retry_stuck();
  void hold_flow(SimConnection& connection, int side, int64_t until_ns);
  void hold_flows(int64_t until_ns,
                  const std::function<bool(const SimConnection&, int side)>& those);
  // `sent_arrives`: what it has under way is not lost with it.
  void break_endpoint(SimConnection& connection, int side, std::string why,
                      bool sent_arrives = false);
  void complete_receive(SimConnection& connection, int side);
  void complete_send(SimConnection& connection, int side);
  void open_window(SimConnection& connection, int sender);
  size_t outstanding(const SimConnection& connection, int sender) const;
  void leave(SimConnection& connection, int side);
  void free_if_left(SimConnection& connection);

  // sim_net.cc: connecting and listening.
  std::shared_ptr<SimListening> find_listener(uint32_t node, const Address& address) const;
  Result<Address> check_listen(uint32_t node, Address address);
  uint64_t start_connect(uint32_t host, const Address& address, Duration timeout,
                         Callback<void(Result<std::unique_ptr<Socket>>)> done);
  void try_connect(uint64_t id);
  void finish_connect(uint64_t id, Result<std::unique_ptr<Socket>> result);
  void drop_attempt(uint64_t id);
  void accept(const std::shared_ptr<SimListening>& listener, SimConnection& connection);
};

class SimSocket final : public Socket {
 public:
  SimSocket(SimNet::State& state, SimConnection& connection, int side)
      : state_(state), connection_(&connection), side_(side), peer_(connection.end[side].peer) {
    connection.end[side].socket = this;
  }
  ~SimSocket() override {
    if (connection_ != nullptr) state_.close(*connection_, side_, true);
  }
  void receive(MutableBytes into, Callback<void(Result<size_t>)> done) override {
    SP_ASSERT_OP(into.size(), >, 0u);
    if (connection_ != nullptr) state_.receive(*connection_, side_, into, std::move(done));
  }
  void send(std::span<const Bytes> parts, Callback<void(Status)> done) override {
    if (connection_ != nullptr) state_.send(*connection_, side_, parts, std::move(done));
  }
  Address peer() const override { return peer_; }
  void detach() { connection_ = nullptr; }  // its host was killed

 private:
  SimNet::State& state_;
  SimConnection* connection_;
  int side_;
  Address peer_;
};

}  // namespace sp::io
