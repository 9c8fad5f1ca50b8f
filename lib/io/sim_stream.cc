#include "io/sim_stream.h"

#include <algorithm>
#include <cstring>

#include "base/limits.h"

namespace sp::io {

using Ending = SimFlow::Ending;

int64_t SimNet::State::draw_delay(uint32_t from, uint32_t to) {
  const bool inside = from == to;
  double mean = static_cast<double>(options.delay_mean.count());
  if (inside) mean /= 4;
  if (sim_draw(core.net_random, options.tail_probability)) mean *= options.tail_factor;
  int64_t base = inside ? options.loopback_base.count() : options.delay_base.count();
  const Link& on = link(from, to);
  if (on.slowness != 1) {
    base = static_cast<int64_t>(static_cast<double>(base) * on.slowness);
    mean *= on.slowness;
  }
  if (on.extra_base_ns + on.extra_mean_ns > 0)
    base +=
        on.extra_base_ns + sim_exponential(core.net_random, static_cast<double>(on.extra_mean_ns));
  return base + sim_exponential(core.net_random, mean);
}

double SimNet::State::draw_slowness() {
  const double share = static_cast<double>(core.net_random.below(1000)) * 1e-3;
  const double slowness = 1 + share * (options.link_spread - 1);
  return core.net_random.below(2) == 0 ? slowness : 1 / slowness;
}

void SimNet::State::receive(SimConnection& connection, int side, MutableBytes into,
                            Callback<void(Result<size_t>)> done) {
  SimEndpoint& end = connection.end[side];
  SP_ASSERT(!end.receive_done);
  end.receive_into = into;
  end.receive_done = std::move(done);
  if (end.inbox_bytes == 0 && !end.ended && !end.broken) return;
  end.receive_event =
      schedule(end.host, SimEvent::receive, core.now_ns(), [this, &connection, side] {
        connection.end[side].receive_event = 0;
        complete_receive(connection, side);
      });
}

// Hands what has arrived to the waiting receive. The callback may free the connection: nothing may
// follow a call of this.
void SimNet::State::complete_receive(SimConnection& connection, int side) {
  SimEndpoint& end = connection.end[side];
  if (!end.receive_done) return;
  if (end.inbox_bytes == 0) {
    if (end.broken)
      return end.receive_done.call_once(Error(Code::closed, end.peer.text() + ": " + end.why));
    if (end.ended) end.receive_done.call_once(size_t{0});
    return;
  }
  size_t size = std::min(end.receive_into.size(), end.inbox_bytes);
  if (sim_draw(core.net_random, options.short_receive)) size = 1 + core.net_random.below(size);
  for (size_t filled = 0; filled < size;) {
    SimSegment& segment = end.inbox.front();
    const size_t step = std::min(size - filled, segment.data.size() - segment.taken);
    std::memcpy(end.receive_into.data() + filled, segment.data.data() + segment.taken, step);
    segment.taken += step;
    filled += step;
    if (segment.taken == segment.data.size()) end.inbox.pop_front();
  }
  end.inbox_bytes -= size;
  open_window(connection, 1 - side);
  end.receive_done.call_once(size);
}

size_t SimNet::State::outstanding(const SimConnection& connection, int sender) const {
  return connection.flow[sender].bytes + connection.end[1 - sender].inbox_bytes;
}

void SimNet::State::open_window(SimConnection& connection, int sender) {
  SimEndpoint& end = connection.end[sender];
  if (!end.send_done || end.send_event != 0 ||
      outstanding(connection, sender) > options.window_bytes)
    return;
  end.send_event = schedule(end.host, SimEvent::send, core.now_ns(),
                            [this, &connection, sender] { complete_send(connection, sender); });
}

void SimNet::State::complete_send(SimConnection& connection, int side) {
  SimEndpoint& end = connection.end[side];
  end.send_event = 0;
  if (end.broken)
    return end.send_done.call_once(Error(Code::closed, end.peer.text() + ": " + end.why));
  end.send_done.call_once(Status());
}

void SimNet::State::send(SimConnection& connection, int side, std::span<const Bytes> parts,
                         Callback<void(Status)> done) {
  SimEndpoint& end = connection.end[side];
  SP_ASSERT(!end.send_done);
  end.send_done = std::move(done);
  if (end.broken) {
    end.send_event = schedule(end.host, SimEvent::send, core.now_ns(),
                              [this, &connection, side] { complete_send(connection, side); });
    return;
  }
  size_t total = 0;
  for (const Bytes part : parts) total += part.size();
  size_t part_index = 0;
  size_t part_taken = 0;
  while (total > 0) {
    SimSegment segment{Buffer::allocate(std::min<size_t>(total, limits::io_bytes_max))};
    for (size_t filled = 0; filled < segment.data.size();) {
      const Bytes rest = parts[part_index].subspan(part_taken);
      const size_t step = std::min(rest.size(), segment.data.size() - filled);
      if (step > 0) std::memcpy(segment.data.data() + filled, rest.data(), step);
      filled += step;
      part_taken += step;
      if (part_taken == parts[part_index].size()) {
        ++part_index;
        part_taken = 0;
      }
    }
    total -= segment.data.size();
    enqueue(connection, side, std::move(segment));
  }
  open_window(connection, side);
}

void SimNet::State::enqueue(SimConnection& connection, int side, SimSegment segment) {
  SimFlow& flow = connection.flow[side];
  Random& random = core.net_random;
  const uint32_t from = connection.node[side];
  const uint32_t to = connection.node[1 - side];
  const int64_t now = core.now_ns();
  int64_t arrival = now + draw_delay(from, to);
  if (from != to) {
    const double transfer_ns =
        static_cast<double>(segment.data.size()) * 1e9 / options.bytes_per_second;
    flow.transfer_free_ns =
        std::max(flow.transfer_free_ns, now) + static_cast<int64_t>(transfer_ns);
    arrival += flow.transfer_free_ns - now;
    if (sim_draw(random, options.loss))
      arrival += options.retransmission.count() * (1 + static_cast<int64_t>(random.below(3)));
    if (sim_draw(random, options.clog)) {
      const auto length =
          static_cast<int64_t>(random.below(static_cast<uint64_t>(options.clog_max.count()) + 1));
      link(from, to).clogged_until_ns = std::max(link(from, to).clogged_until_ns, now + length);
    }
    arrival = std::max({arrival, link(from, to).clogged_until_ns, flow.held_until_ns});
    if (sim_draw(random, options.reset)) {
      end_flow(connection, side, Ending::reset);
      end_flow(connection, 1 - side, Ending::reset);
      return;
    }
  }
  if (flow.ending != Ending::none) return;
  arrival = std::max(arrival, flow.last_arrival_ns);
  flow.last_arrival_ns = arrival;
  segment.arrival_ns = arrival;
  flow.bytes += segment.data.size();
  flow.segments.push_back(std::move(segment));
  schedule_delivery(connection, side);
}

void SimNet::State::schedule_delivery(SimConnection& connection, int side) {
  SimFlow& flow = connection.flow[side];
  if (flow.event != 0 || flow.stuck) return;
  const bool has_data = !flow.segments.empty();
  if (!has_data && flow.ending == Ending::none) return;
  const int64_t time = has_data ? flow.segments.front().arrival_ns : flow.ending_ns;
  const SimEndpoint& to = connection.end[1 - side];
  // Nobody is left at the other end to be held up by a pause: the node answers.
  const uint32_t host = to.gone ? sim_no_host : to.host;
  flow.event = schedule(host, SimEvent::delivery, time,
                        [this, &connection, side] { deliver(connection, side); });
}

void SimNet::State::deliver(SimConnection& connection, int side) {
  SimFlow& flow = connection.flow[side];
  SimEndpoint& to = connection.end[1 - side];
  flow.event = 0;
  const bool unanswered = to.silent && nodes[connection.node[1 - side]].live_hosts == 0;
  if (unanswered || !link_up(connection.node[side], connection.node[1 - side]))
    return get_stuck(connection, side);
  const int64_t now = core.now_ns();
  const bool had_data = !flow.segments.empty();
  while (!flow.segments.empty() && flow.segments.front().arrival_ns <= now) {
    SimSegment& segment = flow.segments.front();
    flow.bytes -= segment.data.size();
    if (!to.gone && !to.broken) {
      to.inbox_bytes += segment.data.size();
      to.inbox.push_back(std::move(segment));
    }
    flow.segments.pop_front();
  }
  if (to.gone) {  // nobody listens any more: the node answers data with a reset
    if (had_data) end_flow(connection, 1 - side, Ending::reset);
    if (!flow.segments.empty()) schedule_delivery(connection, side);
    return;
  }
  if (flow.segments.empty() && flow.ending != Ending::none && flow.ending_ns <= now) {
    if (flow.ending == Ending::reset)
      return break_endpoint(connection, 1 - side, "connection reset by peer");
    to.ended = true;
  } else {
    schedule_delivery(connection, side);
  }
  if (to.receive_event == 0) complete_receive(connection, 1 - side);
}

void SimNet::State::get_stuck(SimConnection& connection, int side) {
  SimFlow& flow = connection.flow[side];
  flow.stuck = true;
  const SimEndpoint& from = connection.end[side];
  if (from.gone || from.broken) return;
  flow.event = schedule(from.host, SimEvent::delivery, core.now_ns() + options.give_up.count(),
                        [this, &connection, side] { give_up(connection, side); });
}

void SimNet::State::give_up(SimConnection& connection, int side) {
  connection.flow[side].event = 0;
  end_flow(connection, side, Ending::reset);
  break_endpoint(connection, side, "timed out");
}

void SimNet::State::retry_stuck() {
  for (auto& [id, connection] : connections) {
    for (int side = 0; side < 2; ++side) {
      SimFlow& flow = connection->flow[side];
      const uint32_t from = connection->node[side];
      const uint32_t to = connection->node[1 - side];
      if (!flow.stuck || !link_up(from, to)) continue;
      flow.stuck = false;
      cancel(flow.event);
      const auto wait = static_cast<int64_t>(
          core.net_random.below(static_cast<uint64_t>(options.retransmission.count()) + 1));
      const int64_t time = core.now_ns() + wait + draw_delay(from, to);
      for (SimSegment& segment : flow.segments)
        segment.arrival_ns = std::max(segment.arrival_ns, time);
      flow.last_arrival_ns = std::max(flow.last_arrival_ns, time);
      flow.ending_ns = std::max(flow.ending_ns, time);
      schedule_delivery(*connection, side);
    }
  }
}

void SimNet::State::hold_flow(SimConnection& connection, int side, int64_t until_ns) {
  SimFlow& flow = connection.flow[side];
  if (flow.ending == Ending::reset) return;
  flow.held_until_ns = std::max(flow.held_until_ns, until_ns);
  if (!flow.segments.empty()) flow.last_arrival_ns = std::max(flow.last_arrival_ns, until_ns);
  for (SimSegment& segment : flow.segments)
    segment.arrival_ns = std::max(segment.arrival_ns, until_ns);
  flow.ending_ns = std::max(flow.ending_ns, until_ns);
  if (flow.stuck) return;
  cancel(flow.event);
  schedule_delivery(connection, side);
}

void SimNet::State::hold_flows(int64_t until_ns,
                               const std::function<bool(const SimConnection&, int side)>& those) {
  for (auto& [id, connection] : connections) {
    for (int side = 0; side < 2; ++side) {
      if (!those(*connection, side)) continue;
      auto& held = link(connection->node[side], connection->node[1 - side]).held_until_ns;
      held = std::max(held, until_ns);
      hold_flow(*connection, side, until_ns);
    }
  }
}

// In order: after everything sent. A reset overtakes: what is on its way is lost.
void SimNet::State::end_flow(SimConnection& connection, int side, Ending ending) {
  SimFlow& flow = connection.flow[side];
  if (flow.ending == Ending::reset || flow.ending == ending) return;
  flow.ending = ending;
  const uint32_t from = connection.node[side];
  const uint32_t to = connection.node[1 - side];
  flow.ending_ns = core.now_ns() + draw_delay(from, to);
  if (from != to) flow.ending_ns = std::max(flow.ending_ns, link(from, to).clogged_until_ns);
  if (ending == Ending::reset) {
    flow.segments.clear();
    flow.bytes = 0;
    if (!flow.stuck) cancel(flow.event);
  } else {
    flow.ending_ns = std::max({flow.ending_ns, flow.last_arrival_ns, flow.held_until_ns});
  }
  schedule_delivery(connection, side);
}

void SimNet::State::break_endpoint(SimConnection& connection, int side, std::string why,
                                   bool sent_arrives) {
  SimEndpoint& end = connection.end[side];
  if (end.gone || end.broken) return;
  end.broken = true;
  end.why = std::move(why);
  if (core.net_random.below(2) == 0) {  // bytes that arrived and were not read may be lost, too
    end.inbox.clear();
    end.inbox_bytes = 0;
  }
  SimFlow& out = connection.flow[side];
  if (!sent_arrives) {
    out.segments.clear();
    out.bytes = 0;
    if (!out.stuck) cancel(out.event);
    if (out.ending == Ending::in_order) out.ending = Ending::none;
    schedule_delivery(connection, side);
  }
  if (end.receive_done && end.receive_event == 0) {
    end.receive_event =
        schedule(end.host, SimEvent::receive, core.now_ns(), [this, &connection, side] {
          connection.end[side].receive_event = 0;
          complete_receive(connection, side);
        });
  }
  if (end.send_done && end.send_event == 0) {
    end.send_event = schedule(end.host, SimEvent::send, core.now_ns(),
                              [this, &connection, side] { complete_send(connection, side); });
  }
}

// The endpoint is held by nobody any more.
void SimNet::State::leave(SimConnection& connection, int side) {
  SimEndpoint& end = connection.end[side];
  end.gone = true;
  cancel(end.receive_event);
  cancel(end.send_event);
  cancel(end.accept_event);
  if (end.socket != nullptr) std::exchange(end.socket, nullptr)->detach();
  end.inbox.clear();
  end.inbox_bytes = 0;
  // A delivery that was waiting for the host goes on without it.
  SimFlow& incoming = connection.flow[1 - side];
  if (incoming.event != 0 && !incoming.stuck) {
    cancel(incoming.event);
    schedule_delivery(connection, 1 - side);
  }
  if (connection.flow[side].stuck) cancel(connection.flow[side].event);
}

void SimNet::State::close(SimConnection& connection, int side, bool in_order) {
  SimEndpoint& end = connection.end[side];
  const bool unfinished =
      static_cast<bool>(end.send_done) && outstanding(connection, side) > options.window_bytes;
  const bool orderly = in_order && !end.broken && !unfinished && end.inbox_bytes == 0;
  const auto dropped_receive = std::move(end.receive_done);
  const auto dropped_send = std::move(end.send_done);
  leave(connection, side);
  if (!end.broken) end_flow(connection, side, orderly ? Ending::in_order : Ending::reset);
  free_if_left(connection);
}

void SimNet::State::free_if_left(SimConnection& connection) {
  if (!connection.end[0].gone || !connection.end[1].gone) return;
  for (SimFlow& flow : connection.flow) cancel(flow.event);
  connections.erase(connection.id);
}

}  // namespace sp::io
