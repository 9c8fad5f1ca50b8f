// Prober: short reads and writes at many places of a device, one after the other per place, to
// measure how long any of them is kept waiting. For scenarios.
#pragma once
#include <algorithm>
#include <memory>
#include <vector>

#include "base/buffer.h"
#include "base/limits.h"
#include "client/block_device.h"
#include "io/sim_world.h"

namespace sp::sim {

class Prober {
 public:
  // `places`: one lane per object, so that all disk sets are asked.
  Prober(io::SimWorld& world, io::SimHost& host, client::BlockDevice& device, uint32_t places)
      : world_(world), device_(device), buffer_(Buffer::zeroed(limits::block_bytes)) {
    for (uint32_t i = 0; i < places; ++i) {
      lanes_.push_back(std::make_unique<Lane>(host.host().reactor));
      issue(i);
    }
  }
  // The longest that an operation took that ended after reset_gap(), or has not ended.
  io::Duration gap() const {
    io::Duration longest = longest_;
    for (const auto& lane : lanes_) longest = std::max(longest, world_.now() - lane->since);
    return longest;
  }
  void reset_gap() { longest_ = {}; }
  // Operations that have ended since reset_count(), of the lane with the fewest.
  uint64_t least_count() const {
    uint64_t least = UINT64_MAX;
    for (const auto& lane : lanes_) least = std::min(least, lane->count);
    return least;
  }
  void reset_count() {
    for (auto& lane : lanes_) lane->count = 0;
  }
  bool failed() const { return failed_; }

 private:
  struct Lane {
    explicit Lane(io::Reactor& reactor) : timer(reactor) {}
    io::Timer timer;
    io::Instant since;
    uint64_t count = 0, number = 0;
    Buffer into = Buffer::zeroed(limits::block_bytes);
  };

  void issue(uint32_t index) {
    Lane& lane = *lanes_[index];
    lane.since = world_.now();
    const uint64_t offset = uint64_t{index} * limits::object_bytes +
                            limits::object_bytes / 2;  // stamped work is done elsewhere
    auto done = [this, index](Status status) {
      Lane& ended = *lanes_[index];
      if (!status.ok()) failed_ = true;
      longest_ = std::max(longest_, world_.now() - ended.since);
      ++ended.count;
      ended.since = world_.now();
      if (!failed_) ended.timer.arm(std::chrono::milliseconds(5), [this, index] { issue(index); });
    };
    if (lane.number++ % 2 == 0)
      device_.write(offset, buffer_.bytes(), std::move(done));
    else
      device_.read(offset, lane.into.mutable_bytes(), std::move(done));
  }

  io::SimWorld& world_;
  client::BlockDevice& device_;
  Buffer buffer_;
  std::vector<std::unique_ptr<Lane>> lanes_;
  io::Duration longest_{};
  bool failed_ = false;
};

}  // namespace sp::sim
