// What the simulated world is like: speeds, and the probabilities of its faults. The defaults are a
// healthy, fast cluster with the reordering and chunking that any real one has; faults start at
// zero, so that a test turns on what it is about. Probabilities are per operation (0 to 1).
// Everything drawn comes from the world's seed.
#pragma once
#include <chrono>
#include <cstdint>
#include <functional>
#include <string_view>

#include "base/log.h"
#include "io/clock.h"

namespace sp::io {

struct SimDiskOptions {
  uint32_t alignment = 512;
  // Latency = base + exponential(mean), and with tail_probability that times tail_factor.
  Duration latency_base = std::chrono::microseconds(20);
  Duration latency_mean = std::chrono::microseconds(40);
  Duration flush_base = std::chrono::microseconds(50);
  double tail_probability = 0.001;
  double tail_factor = 50;
  double bytes_per_second = 2e9;

  double read_error = 0;
  double write_error = 0;
  double flush_error = 0;  // what was not durable meets the fate of a crash, and no flush mends it
  double stall = 0;  // all of the disk stands still for up to stall_max
  Duration stall_max = std::chrono::milliseconds(500);
  double bit_rot = 0;      // a written sector decays: one bit of it flips for good
  double misdirected = 0;  // a write is acknowledged and lands elsewhere
  double lost_write = 0;   // a write is acknowledged and never lands
  double lying_flush = 0;  // a flush is acknowledged and makes nothing durable

  // Sectors never written read as noise (a pure function of path and sector) instead of zeros, as
  // on a used drive.
  bool unwritten_is_noise = true;
  bool volatile_cache = true;         // false: a completed write is durable
  uint64_t cache_bytes = 16u << 20;   // beyond this much unflushed data the oldest becomes durable
  uint64_t space_bytes = UINT64_MAX;  // writes that would use more fail with Code::no_space

  // At a crash each write that is not durable is, by weight: on the medium, gone, torn (any subset
  // of its 512-byte sectors), or garbage (some of its sectors are noise).
  uint32_t crash_keep = 8;
  uint32_t crash_drop = 8;
  uint32_t crash_tear = 4;
  uint32_t crash_garbage = 1;
};

struct SimNetOptions {
  // One-way delay = base + exponential(mean), and with tail_probability that times tail_factor.
  // Within one node: loopback.
  Duration delay_base = std::chrono::microseconds(30);
  Duration delay_mean = std::chrono::microseconds(10);
  Duration loopback_base = std::chrono::microseconds(10);
  double tail_probability = 0.0005;
  double tail_factor = 100;
  double bytes_per_second = 1.2e9;
  double loss = 0;   // of a segment: it comes a retransmission later
  double reset = 0;  // of a segment: the connection breaks
  double clog = 0;   // per segment: the link holds everything for up to clog_max
  Duration clog_max = std::chrono::milliseconds(300);
  Duration retransmission = std::chrono::milliseconds(200);
  Duration give_up =
      std::chrono::seconds(20);  // a sender whose bytes are not taken for so long resets
  double short_receive = 0.1;    // a receive returns a random part of what is there
  uint32_t window_bytes =
      1u << 20;  // a send completes when no more than this is on its way or unread
};

struct SimOptions {
  SimDiskOptions disk;  // of disks without options of their own
  SimNetOptions net;
  // Clocks of nodes run faster or slower by up to this share, drawn per node, and start anywhere.
  double clock_drift_max = 0.01;
  int64_t wall_start_ms = 1'800'000'000'000;
  LogLevel log_least = LogLevel::info;
  // Lines come with virtual time and host before them. None: nothing is logged.
  std::function<void(LogLevel, std::string_view line)> log_sink;
};

}  // namespace sp::io
