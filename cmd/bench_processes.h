// Processes of this host that serve the cluster, found by the addresses that they listen on, and
// what they cost. Reads /proc.
#pragma once
#include <cstdint>
#include <string>
#include <vector>

namespace sp::bench {

struct Process {
  std::string name;  // "server 1.1", "beacon 1", "client"
  int pid = 0;
};

struct Usage {
  double cpu_us = 0;          // user and system, of all threads
  uint64_t sleeps = 0;        // times that it gave up the CPU by itself: waits for work
  uint64_t memory_bytes = 0;  // resident
};

struct Listener {
  std::string name;
  std::string host;
  uint16_t port = 0;
};

// Those of `listeners` whose process is on this host and can be seen (root sees all), in the order
// given.
std::vector<Process> find_processes(const std::vector<Listener>& listeners);

// Zeros when it is gone.
Usage usage_of(int pid);

}  // namespace sp::bench
