// SimCore: what the parts of the simulated world share: virtual time, the event list, the seeded
// draws. For the sim_* files only.
#pragma once
#include <cmath>
#include <cstdint>
#include <string_view>

#include "io/clock.h"
#include "io/random.h"
#include "io/timer_queue.h"

namespace sp::io {

// Why an event is: for the trace, and for counts of what a run is made of.
enum class SimEvent : uint32_t { post = 1, timer, disk, delivery, receive, send, connect, world };
constexpr size_t sim_event_kinds = 9;
constexpr std::string_view sim_event_names[sim_event_kinds] = {
    "", "post", "timer", "disk", "delivery", "receive", "send", "connect", "world"};

constexpr uint32_t sim_no_host =
    UINT32_MAX;  // events of the world itself: they run whatever becomes of the hosts

struct SimCore {
  explicit SimCore(uint64_t seed) : disk_random(seed ^ 0xd15cull), net_random(seed ^ 0x4e7ull) {}

  TimerQueue events;
  // Streams of their own, so that a change in one part does not shift the draws of the other.
  SeededRandom disk_random;
  SeededRandom net_random;

  uint64_t schedule(uint32_t host, SimEvent kind, int64_t time_ns, Callback<void()> work) {
    return events.add(time_ns, {host, static_cast<uint32_t>(kind)}, std::move(work));
  }
  int64_t now_ns() const { return events.now_ns(); }
};

inline bool sim_draw(Random& random, double probability) {
  if (probability <= 0) return false;
  return static_cast<double>(random.number() >> 11) * 0x1.0p-53 < probability;
}

// Exponential with this mean, cut at 20 means.
inline int64_t sim_exponential(Random& random, double mean) {
  if (mean <= 0) return 0;
  const double uniform = static_cast<double>((random.number() >> 11) + 1) * 0x1.0p-53;
  return static_cast<int64_t>(std::fmin(-std::log(uniform), 20.0) * mean);
}

}  // namespace sp::io
