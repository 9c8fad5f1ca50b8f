// Workload: random reads, writes, discards, writes of zeros and flushes on one volume, each write
// with its own stamp, all reported to a Linearizability.
//
// Runs on the client's host. Start it, let the world run, stop it, wait for idle(). When the host
// dies, destroy it: what was in flight stays open in the history for ever. Offsets crowd on few
// blocks, so that operations meet. Thread rule: the host's.
#pragma once
#include <functional>
#include <memory>
#include <string>

#include "client/block_device.h"
#include "io/host.h"
#include "sim/linearizability.h"
#include "sim/work.h"

namespace sp::sim {

struct WorkloadOptions {
  VolumeId volume = 0;
  uint64_t session = 0;                                          // see Linearizability
  uint32_t depth = 4;                                            // operations at a time
  uint32_t blocks = 64;                                          // distinct places in use,
  uint64_t stride = 1;                                           // so many blocks apart
  uint32_t length_max = 6;                                       // blocks of one operation
  double reads = 0.5, discards = 0.05, zeroes = 0, flushes = 0;  // shares; the rest are writes
  double hot = 0;               // share of operations on the first two places
  bool may_be_refused = false;  // disks may be full: writes that find no room are no failure
  io::Duration think_mean =
      std::chrono::milliseconds(20);  // between the end of an operation and the next
};

class Workload final : public Work {
 public:
  Workload(io::Host& host, client::BlockDevice& device, Linearizability& history,
           uint64_t& last_stamp, const WorkloadOptions& options);
  ~Workload() override;
  void start() override;
  void stop() override;
  bool idle() const override;
  uint64_t completed() const override;
  std::string_view checker() const override { return "content"; }
  // Content that nobody wrote so, or an error that should not have been.
  const std::string& failure() const override;

 private:
  struct State;
  std::shared_ptr<State> state_;
};

}  // namespace sp::sim
