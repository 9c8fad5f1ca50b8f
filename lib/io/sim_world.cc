#include "io/sim_world.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/checksum.h"

namespace sp::io {

namespace {

constexpr int64_t ppb = 1'000'000'000;

// value * numerator / denominator towards zero, for numerators and denominators of about 1e9.
// Clocks are asked all the time: a division of 128 bits is too slow.
int64_t scaled(int64_t value, int64_t numerator, int64_t denominator) {
  return value / denominator * numerator + value % denominator * numerator / denominator;
}

}  // namespace

SimHost::SimHost(SimWorld& world, uint32_t index, std::string name, std::string ip)
    : world_(world),
      index_(index),
      name_(std::move(name)),
      ip_(std::move(ip)),
      random_(mix64(world.seed_ + index)),
      disks_(world.disks_.opener_for(index)),
      net_(world.net_.net_for(index)),
      log_(name_, world.options_.log_sink ? world.options_.log_least : LogLevel::error,
           [this](LogLevel level, std::string_view line) { log_line(level, line); }),
      buggify_(world.seed_, name_, world.buggify_),
      host_{*this, *this, random_, *disks_, *net_, log_, &buggify_} {
  // All processes of a node share its clock.
  SeededRandom draws(mix64(world.seed_ ^ 0xc10cu) ^ crc64(as_bytes(ip_)));
  const auto drift_max =
      static_cast<int64_t>(world.options_.clock_drift_max * static_cast<double>(ppb));
  if (drift_max > 0) {
    clock_drift_ppb_ =
        static_cast<int64_t>(draws.below(static_cast<uint64_t>(2 * drift_max + 1))) - drift_max;
    // What can go wrong does at the bound.
    if (draws.below(2) == 0) clock_drift_ppb_ = clock_drift_ppb_ < 0 ? -drift_max : drift_max;
  }
  clock_offset_ns_ = static_cast<int64_t>(draws.below(uint64_t{1} << 50)) + ppb;
}

void SimHost::log_line(LogLevel level, std::string_view line) {
  if (!world_.options_.log_sink) return;
  const int64_t us = world_.core_.now_ns() / 1000;
  world_.options_.log_sink(
      level, fmt::format("{:5}.{:06} {} {}", us / 1'000'000, us % 1'000'000, ip_, line));
}

Instant SimHost::now() const {
  const int64_t world_ns = world_.core_.now_ns();
  return {clock_offset_ns_ + world_ns + scaled(world_ns, clock_drift_ppb_, ppb)};
}

int64_t SimHost::wall_ms() const {
  return world_.options_.wall_start_ms + wall_offset_ms_ + world_.core_.now_ns() / 1'000'000;
}

// The first moment of the world at which this host's clock shows at least local_ns.
int64_t SimHost::world_time_of(int64_t local_ns) const {
  const auto local_at = [this](int64_t world_ns) {
    return clock_offset_ns_ + world_ns + scaled(world_ns, clock_drift_ppb_, ppb);
  };
  int64_t world_ns = scaled(local_ns - clock_offset_ns_, ppb, ppb + clock_drift_ppb_);
  while (local_at(world_ns) < local_ns) ++world_ns;
  return world_ns;
}

void SimHost::hold_sends(Duration duration) { world_.net_.hold_sends(index_, duration); }

void SimHost::give_connections_up() { world_.net_.give_connections_up(index_); }

void SimHost::post(Callback<void()> work) {
  if (!alive_) return;
  world_.core_.schedule(index_, SimEvent::post, world_.core_.now_ns(), std::move(work));
}

uint64_t SimHost::timer_start(Duration delay, Callback<void()> fire) {
  // A dead host's timer never fires; the id only has to be one that no live timer has.
  if (!alive_) return UINT64_MAX;
  // Later than any run of the simulator, and still far from overflow.
  constexpr int64_t delay_max_ns = int64_t{1} << 60;
  const int64_t delay_ns = std::clamp<int64_t>(delay.count(), 0, delay_max_ns);
  return world_.core_.schedule(index_, SimEvent::timer, world_time_of(now().ns + delay_ns),
                               std::move(fire));
}

void SimHost::timer_cancel(uint64_t id) { world_.core_.events.cancel(id); }

void SimHost::kill(Death death) {
  SP_ASSERT(alive_);
  alive_ = false;
  paused_ = false;
  if (resume_event_ != 0) world_.core_.events.cancel(std::exchange(resume_event_, 0));
  world_.disks_.host_killed(index_, death == Death::process);
  world_.net_.host_killed(index_, death == Death::silent);
  world_.core_.events.cancel_owner(index_);
}

void SimHost::restart() {
  SP_ASSERT(!alive_);
  alive_ = true;
  world_.net_.host_started(index_);
}

void SimHost::pause(Duration duration) {
  if (!alive_) return;
  const int64_t until = world_.core_.now_ns() + duration.count();
  if (paused_ && until <= paused_until_ns_) return;
  if (resume_event_ != 0) world_.core_.events.cancel(resume_event_);
  paused_ = true;
  paused_until_ns_ = until;
  resume_event_ = world_.core_.schedule(sim_no_host, SimEvent::world, until, [this] {
    resume_event_ = 0;
    paused_ = false;
    world_.core_.events.resume(index_);
  });
}

SimWorld::SimWorld(uint64_t seed, SimOptions options)
    : seed_(seed),
      options_(std::move(options)),
      core_(seed),
      random_(seed ^ 0x7e57u),
      disks_(core_, options_.disk),
      net_(core_, options_.net) {}

SimWorld::~SimWorld() {
  // Callbacks may own objects of the world's parts: they go while the parts are still there.
  for (auto& host : hosts_) {
    if (host->alive()) host->kill(SimHost::Death::process);
  }
  core_.events.cancel_owner(sim_no_host);
}

SimHost& SimWorld::add_host(std::string name, std::string ip) {
  const auto index = static_cast<uint32_t>(hosts_.size());
  net_.add_host(index, ip);
  hosts_.push_back(std::make_unique<SimHost>(*this, index, std::move(name), std::move(ip)));
  return *hosts_.back();
}

void SimWorld::at(Duration delay, Callback<void()> work) {
  core_.schedule(sim_no_host, SimEvent::world, core_.now_ns() + delay.count(), std::move(work));
}

bool SimWorld::run_next(int64_t until_ns) {
  for (;;) {
    const int64_t next = core_.events.next_time_ns();
    if (next > until_ns || next == INT64_MAX) return false;
    const uint32_t owner = core_.events.next_tag().owner;
    if (owner == sim_no_host || !hosts_[owner]->paused_) break;
    core_.events.hold_next();
  }
  const int64_t before = core_.now_ns();
  TimerQueue::Entry entry;
  core_.events.take(until_ns, entry);
  events_at_instant_ = core_.now_ns() == before ? events_at_instant_ + 1 : 0;
  SP_ASSERT_OP(events_at_instant_, <, events_per_instant_max);
  ++event_count_;
  if (entry.tag.owner != sim_no_host) ++hosts_[entry.tag.owner]->events_run_;
  ++events_by_kind_[entry.tag.kind];
  trace_hash_ = mix64(trace_hash_ ^ static_cast<uint64_t>(entry.time_ns)) +
                (uint64_t{entry.tag.owner} << 8 | entry.tag.kind);
  entry.work();
  return true;
}

bool SimWorld::run_until(const std::function<bool()>& predicate, Duration limit) {
  const int64_t until = core_.now_ns() + limit.count();
  while (!predicate()) {
    if (!run_next(until)) {
      core_.events.advance(until);
      return predicate();
    }
  }
  return true;
}

void SimWorld::run_for(Duration duration) {
  const int64_t until = core_.now_ns() + duration.count();
  while (run_next(until)) {
  }
  core_.events.advance(until);
}

bool SimWorld::step() { return run_next(INT64_MAX - 1); }

}  // namespace sp::io
