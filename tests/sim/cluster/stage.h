// What scenarios of whole clusters begin with, and how they let time pass.
#pragma once
#include <doctest/doctest.h>

#include "sim/cluster.h"

namespace sp::sim {

inline ClusterSetup one_volume() {
  ClusterSetup setup;
  setup.volumes = 1;
  setup.work.think_mean = std::chrono::milliseconds(20);
  return setup;
}

// With a look at what must hold at every moment, each millisecond.
inline void run(Cluster& cluster, io::Duration time) {
  for (const auto until = cluster.world.now() + time; cluster.world.now() < until;) {
    cluster.world.run_for(std::chrono::milliseconds(1));
    REQUIRE_EQ(cluster.check_now(), "");
  }
}

}  // namespace sp::sim
