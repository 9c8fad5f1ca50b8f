// Host: everything a service may ask of the outside world. Handed to each service at its start; the
// only door to time, randomness, disks and network. The real one is made by io::RealHost
// (io/real_host.h); the simulator makes one per simulated process.
#pragma once
#include "base/log.h"
#include "io/buggify.h"
#include "io/clock.h"
#include "io/disk.h"
#include "io/net.h"
#include "io/random.h"
#include "io/reactor.h"

namespace sp::io {

struct Host {
  Clock& clock;
  Reactor& reactor;
  Random& random;
  DiskOpener& disks;
  Net& net;
  Log& log;
  Buggify* buggify = nullptr;  // the simulator's; no real host has one
};

}  // namespace sp::io
