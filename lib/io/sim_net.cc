#include "io/sim_net.h"

#include <fmt/format.h>

#include <algorithm>

#include "io/sim_stream.h"

namespace sp::io {

namespace {

using State = SimNet::State;
using Ending = SimFlow::Ending;

bool is_unix(const Address& address) { return address.host.starts_with('/'); }
bool is_loopback(const std::string& ip) { return ip.starts_with("127.") || ip == "::1"; }
bool is_wildcard(const std::string& ip) { return ip == "0.0.0.0" || ip == "::"; }

class SimListener final : public Listener {
 public:
  SimListener(State& state, State::ListenKey key, std::shared_ptr<SimListening> listening)
      : state_(state), key_(std::move(key)), listening_(std::move(listening)) {}
  ~SimListener() override {
    listening_->open = false;
    const auto found = state_.listeners.find(key_);
    if (found != state_.listeners.end() && found->second == listening_)
      state_.listeners.erase(found);
  }
  Address address() const override { return listening_->address; }

 private:
  State& state_;
  State::ListenKey key_;
  std::shared_ptr<SimListening> listening_;
};

class SimAttempt final : public Net::Attempt {
 public:
  SimAttempt(State& state, uint64_t id) : state_(state), id_(id) {}
  ~SimAttempt() override { state_.drop_attempt(id_); }

 private:
  State& state_;
  uint64_t id_;
};

class SimHostNet final : public Net {
 public:
  SimHostNet(State& state, uint32_t host) : state_(state), host_(host) {}

  Result<std::unique_ptr<Listener>> listen(
      const Address& address, Callback<void(std::unique_ptr<Socket>)> accepted) override {
    const auto& host = state_.hosts.at(host_);
    if (!host.alive) return Error(Code::closed, "this host is not running");
    SP_TRY(Address bound, state_.check_listen(host.node, address));
    auto listening = std::make_shared<SimListening>();
    listening->host = host_;
    listening->address = bound;
    listening->accepted = std::move(accepted);
    const State::ListenKey key{host.node, bound.host, bound.port};
    state_.listeners.emplace(key, listening);
    return std::unique_ptr<Listener>(
        std::make_unique<SimListener>(state_, key, std::move(listening)));
  }

  std::unique_ptr<Attempt> connect(const Address& address, Duration timeout,
                                   Callback<void(Result<std::unique_ptr<Socket>>)> done) override {
    return std::make_unique<SimAttempt>(
        state_, state_.start_connect(host_, address, timeout, std::move(done)));
  }

 private:
  State& state_;
  uint32_t host_;
};

}  // namespace

uint32_t State::node_named(const std::string& ip) const {
  const auto found = addresses.find(ip);
  SP_ASSERT_OP((found == addresses.end() ? "no simulated node" : ip), ==, ip);
  return found->second;
}

Result<Address> State::check_listen(uint32_t node, Address address) {
  if (is_unix(address)) {
    if (listeners.contains({node, address.host, 0})) {
      return Error(Code::exists, fmt::format("{} is in use", address.text()));
    }
    return address;
  }
  const auto owner = addresses.find(address.host);
  const bool ours = is_wildcard(address.host) || is_loopback(address.host) ||
                    (owner != addresses.end() && owner->second == node);
  if (!ours)
    return Error(Code::invalid, fmt::format("{} is no address of this node", address.host));
  if (address.port == 0) {
    Node& record = nodes[node];
    const auto used = [&](uint16_t port) {
      return std::any_of(listeners.begin(), listeners.end(), [&](const auto& entry) {
        return std::get<0>(entry.first) == node && std::get<2>(entry.first) == port;
      });
    };
    do {
      address.port = record.next_port =
          record.next_port == UINT16_MAX ? 32768 : record.next_port + 1;
    } while (used(address.port));
  }
  for (const auto& [key, listening] : listeners) {
    const auto& [other_node, host, port] = key;
    if (other_node != node || port != address.port || host.starts_with('/')) continue;
    if (host == address.host || is_wildcard(host) || is_wildcard(address.host)) {
      return Error(Code::exists, fmt::format("{} is in use", address.text()));
    }
  }
  return address;
}

std::shared_ptr<SimListening> State::find_listener(uint32_t node, const Address& address) const {
  for (const std::string& host : {address.host, std::string("0.0.0.0"), std::string("::")}) {
    const auto found = listeners.find({node, host, address.port});
    if (found != listeners.end()) return found->second;
    if (is_unix(address)) break;
  }
  return nullptr;
}

uint64_t State::start_connect(uint32_t host, const Address& address, Duration timeout,
                              Callback<void(Result<std::unique_ptr<Socket>>)> done) {
  if (!hosts.at(host).alive) return 0;
  const uint64_t id = next_id++;
  ConnectAttempt& attempt = attempts[id];
  attempt.host = host;
  attempt.address = address;
  attempt.done = std::move(done);
  const uint32_t node = hosts.at(host).node;
  const auto target = addresses.find(address.host);
  const uint32_t other = target == addresses.end() ? node : target->second;
  attempt.timeout_event =
      schedule(host, SimEvent::connect, core.now_ns() + timeout.count(), [this, id] {
        finish_connect(
            id, Error(Code::timed_out, attempts.at(id).address.text() + ": connecting timed out"));
      });
  attempt.event = schedule(sim_no_host, SimEvent::connect, core.now_ns() + draw_delay(node, other),
                           [this, id] { try_connect(id); });
  return id;
}

// The request has come to the other node.
void State::try_connect(uint64_t id) {
  ConnectAttempt& attempt = attempts.at(id);
  attempt.event = 0;
  const Address& address = attempt.address;
  const uint32_t node = hosts.at(attempt.host).node;
  const bool local = is_unix(address) || is_loopback(address.host);
  const auto target = addresses.find(address.host);
  const bool known = local || target != addresses.end();
  const uint32_t other = local || !known ? node : target->second;
  const bool reachable =
      known && nodes[other].live_hosts > 0 && link_up(node, other) && link_up(other, node);
  if (!reachable) {
    constexpr int64_t retry_ns = 1'000'000'000;
    attempt.event = schedule(sim_no_host, SimEvent::connect, core.now_ns() + retry_ns,
                             [this, id] { try_connect(id); });
    return;
  }
  const int64_t answered = core.now_ns() + draw_delay(other, node);
  const auto listener = find_listener(other, address);
  if (listener == nullptr) {
    attempt.event = schedule(attempt.host, SimEvent::connect, answered, [this, id] {
      finish_connect(
          id, Error(Code::unreachable, attempts.at(id).address.text() + ": connection refused"));
    });
    return;
  }
  auto connection = std::make_unique<SimConnection>();
  SimConnection& made = *connection;
  made.id = next_id++;
  made.via = address.host;
  made.node[0] = node;
  made.node[1] = other;
  made.end[0].host = attempt.host;
  made.end[0].peer = address;
  made.end[1].host = listener->host;
  Node& from = nodes[node];
  from.next_port = from.next_port == UINT16_MAX ? 32768 : from.next_port + 1;
  made.end[1].peer = is_unix(address) ? address : Address{from.ip, from.next_port};
  connections.emplace(made.id, std::move(connection));
  attempt.connection = &made;
  made.end[1].accept_event = schedule(listener->host, SimEvent::connect, core.now_ns(),
                                      [this, listener, &made] { accept(listener, made); });
  attempt.event = schedule(attempt.host, SimEvent::connect, answered, [this, id] {
    SimConnection& ready = *std::exchange(attempts.at(id).connection, nullptr);
    finish_connect(id, std::unique_ptr<Socket>(std::make_unique<SimSocket>(*this, ready, 0)));
  });
}

void State::accept(const std::shared_ptr<SimListening>& listener, SimConnection& connection) {
  connection.end[1].accept_event = 0;
  if (!listener->open) return close(connection, 1, false);
  listener->accepted(std::make_unique<SimSocket>(*this, connection, 1));
}

void State::finish_connect(uint64_t id, Result<std::unique_ptr<Socket>> result) {
  const auto found = attempts.find(id);
  auto done = std::move(found->second.done);
  drop_attempt(id);
  done(std::move(result));
}

void State::drop_attempt(uint64_t id) {
  const auto found = attempts.find(id);
  if (found == attempts.end()) return;
  ConnectAttempt attempt = std::move(found->second);
  attempts.erase(found);
  cancel(attempt.timeout_event);
  cancel(attempt.event);
  if (attempt.connection != nullptr) close(*attempt.connection, 0, false);
}

SimNet::SimNet(SimCore& core, const SimNetOptions& options)
    : state_(std::make_unique<State>(core, options)) {}
SimNet::~SimNet() = default;

void SimNet::set_link(const std::string& from, const std::string& to, bool up) {
  state_->link(state_->node_named(from), state_->node_named(to)).up = up;
  if (up) state_->retry_stuck();
}

void SimNet::partition(const std::vector<std::string>& group) {
  std::vector<bool> inside(state_->nodes.size());
  for (const std::string& ip : group) inside[state_->node_named(ip)] = true;
  for (uint32_t a = 0; a < inside.size(); ++a) {
    for (uint32_t b = 0; b < inside.size(); ++b) {
      if (inside[a] != inside[b]) state_->link(a, b).up = false;
    }
  }
}

void SimNet::heal() {
  for (auto& link : state_->links) {
    link.up = true;
    link.extra_base_ns = link.extra_mean_ns = 0;
  }
  state_->retry_stuck();
}

void SimNet::clog(const std::string& from, const std::string& to, Duration duration) {
  auto& link = state_->link(state_->node_named(from), state_->node_named(to));
  link.clogged_until_ns = std::max(link.clogged_until_ns, state_->core.now_ns() + duration.count());
}

void SimNet::hold_connections(const std::string& from, const std::string& to, Duration duration) {
  const uint32_t sender = state_->node_named(from), receiver = state_->node_named(to);
  const int64_t until = state_->core.now_ns() + duration.count();
  state_->hold_flows(until, [&](const SimConnection& connection, int side) {
    return connection.node[side] == sender && connection.node[1 - side] == receiver;
  });
}

void SimNet::hold_sends(uint32_t host, Duration duration) {
  const int64_t until = state_->core.now_ns() + duration.count();
  state_->hold_flows(until, [&](const SimConnection& connection, int side) {
    return connection.end[side].host == host && connection.node[0] != connection.node[1];
  });
}

void SimNet::give_connections_up(uint32_t host) {
  for (auto& [id, connection] : state_->connections) {
    for (int side = 0; side < 2; ++side) {
      if (connection->end[side].host == host && connection->node[0] != connection->node[1])
        state_->break_endpoint(*connection, side, "timed out", true);
    }
  }
}

void SimNet::set_extra_delay(const std::string& from, const std::string& to, Duration base,
                             Duration mean) {
  auto& link = state_->link(state_->node_named(from), state_->node_named(to));
  link.extra_base_ns = base.count();
  link.extra_mean_ns = mean.count();
}

void SimNet::reset_connections(const std::string& a, const std::string& b) {
  const uint32_t first = state_->node_named(a);
  const uint32_t second = state_->node_named(b);
  for (auto& [id, connection] : state_->connections) {
    const auto& node = connection->node;
    if (std::minmax(node[0], node[1]) != std::minmax(first, second)) continue;
    state_->end_flow(*connection, 0, Ending::reset);
    state_->end_flow(*connection, 1, Ending::reset);
  }
}

void SimNet::set_options(const SimNetOptions& options) { state_->options = options; }

void SimNet::assign_address(const std::string& node_ip, const std::string& address) {
  const uint32_t node = state_->node_named(node_ip);
  const auto [place, fresh] = state_->addresses.emplace(address, node);
  if (fresh || place->second == node) return;
  place->second = node;
  for (auto& [id, connection] : state_->connections) {
    if (connection->via != address) continue;
    state_->end_flow(*connection, 0, Ending::reset);
    state_->end_flow(*connection, 1, Ending::reset);
  }
}

bool SimNet::hampered() const {
  const SimNetOptions& is = state_->options;
  const SimNetOptions& should = state_->defaults;
  return is.loss > should.loss || is.reset > should.reset || is.clog > should.clog ||
         is.delay_base > should.delay_base || is.delay_mean > should.delay_mean;
}

bool SimNet::flows(const std::string& from, const std::string& to) const {
  const uint32_t a = state_->node_named(from), b = state_->node_named(to);
  return a == b || state_->link(a, b).flows(state_->core.now_ns());
}

bool SimNet::is_up(const std::string& from, const std::string& to) const {
  return state_->link_up(state_->node_named(from), state_->node_named(to));
}

bool SimNet::all_flows() const {
  const int64_t now = state_->core.now_ns();
  return std::all_of(state_->links.begin(), state_->links.end(),
                     [now](const State::Link& link) { return link.flows(now); });
}

size_t SimNet::connection_count() const { return state_->connections.size(); }

void SimNet::add_host(uint32_t host, const std::string& ip) {
  const auto known = state_->addresses.find(ip);
  uint32_t node = 0;
  if (known != state_->addresses.end()) {
    node = known->second;
  } else {
    node = static_cast<uint32_t>(state_->nodes.size());
    state_->nodes.emplace_back().ip = ip;
    state_->addresses.emplace(ip, node);
    const size_t count = state_->nodes.size();
    std::vector<State::Link> links(count * count);
    for (size_t from = 0; from + 1 < count; ++from) {
      for (size_t to = 0; to + 1 < count; ++to)
        links[from * count + to] = state_->links[from * (count - 1) + to];
    }
    state_->links = std::move(links);
    for (uint32_t other = 0; other < node && state_->options.link_spread > 1; ++other) {
      state_->link(node, other).slowness = state_->draw_slowness();
      state_->link(other, node).slowness = state_->draw_slowness();
    }
  }
  state_->hosts[host].node = node;
  host_started(host);
}

void SimNet::host_started(uint32_t host) {
  auto& record = state_->hosts.at(host);
  SP_ASSERT(!record.alive);
  record.alive = true;
  if (++state_->nodes[record.node].live_hosts == 1) state_->retry_stuck();
}

void SimNet::host_killed(uint32_t host, bool silent) {
  auto& record = state_->hosts.at(host);
  SP_ASSERT(record.alive);
  record.alive = false;
  --state_->nodes[record.node].live_hosts;
  std::erase_if(state_->listeners, [&](const auto& entry) {
    if (entry.second->host != host) return false;
    entry.second->open = false;
    return true;
  });
  std::vector<uint64_t> attempts;
  for (auto& [id, attempt] : state_->attempts) {
    if (attempt.host == host) attempts.push_back(id);
  }
  for (const uint64_t id : attempts) state_->drop_attempt(id);
  std::vector<uint64_t> ids;
  for (auto& [id, connection] : state_->connections) ids.push_back(id);
  for (const uint64_t id : ids) {
    for (int side = 0; side < 2; ++side) {
      const auto found = state_->connections.find(id);
      if (found == state_->connections.end()) break;
      SimConnection& connection = *found->second;
      SimEndpoint& end = connection.end[side];
      if (end.host != host || end.gone) continue;
      end.silent = silent;
      if (!silent) {
        // The kernel still sends what the process had given it, unless that left something unread.
        state_->close(connection, side, state_->core.net_random.below(2) == 0);
        continue;
      }
      const auto dropped_receive = std::move(end.receive_done);
      const auto dropped_send = std::move(end.send_done);
      state_->leave(connection, side);
      state_->free_if_left(connection);
    }
  }
}

std::unique_ptr<Net> SimNet::net_for(uint32_t host) {
  return std::make_unique<SimHostNet>(*state_, host);
}

}  // namespace sp::io
