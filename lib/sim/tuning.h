// Tuning: the windows, queues, batches and pauses of the services, small in a share of the runs, so
// that what happens at their bounds happens often. Each is drawn from a stream of its own, made of
// the seed and its name, and is the same for all processes of a run.
#pragma once
#include <cstdint>

#include "client/volume.h"
#include "raft/bounds.h"
#include "serve/tuning.h"
#include "store/store.h"

namespace sp::sim {

struct Tuning {
  serve::Tuning serve;
  store::Options store;
  client::Tuning client;
  raft::Bounds raft;
  uint32_t beacon_commands_max = limits::beacon_commands_max;
};

Tuning small_tuning(uint64_t seed);

}  // namespace sp::sim
