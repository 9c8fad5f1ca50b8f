#include "sim/read_back.h"

#include <vector>

#include "base/limits.h"
#include "sim/sealed_blocks.h"

namespace sp::sim {

struct ReadBack::State : std::enable_shared_from_this<ReadBack::State> {
  struct Lane {
    VolumeId volume = 0;
    client::BlockDevice* device = nullptr;
    std::vector<uint64_t> blocks;
    size_t next = 0;
    Buffer data = Buffer::allocate(limits::block_bytes);
  };

  State(Cluster& cluster_, Options options_) : cluster(cluster_), options(std::move(options_)) {}

  Cluster& cluster;
  Options options;
  std::vector<Lane> lanes;
  size_t open = 0;
  bool ended = false;
  std::set<BlockKey> damaged;
  std::string failure;

  void begin() {
    for (const VolumeId volume : cluster.volumes) {
      Lane lane;
      lane.volume = volume;
      Cluster::ClientProcess* const holder = cluster.holder_of(volume);
      if (holder != nullptr && holder->attached) lane.device = &holder->attached->volume();
      for (const uint64_t block : cluster.history.blocks(volume)) {
        if (!options.wanted || options.wanted({volume, block})) lane.blocks.push_back(block);
      }
      if (lane.device == nullptr && !lane.blocks.empty())
        failure = "volume " + std::to_string(volume) + " block 0: nobody has it attached";
      if (lane.device != nullptr) lanes.push_back(std::move(lane));
    }
    open = lanes.size();
    for (size_t i = 0; i < lanes.size(); ++i) go_on(i);
  }

  BlockKey key(const Lane& lane) const { return {lane.volume, lane.blocks[lane.next]}; }

  void go_on(size_t index) {
    Lane& lane = lanes[index];
    if (lane.next == lane.blocks.size()) {
      --open;
      return;
    }
    const uint64_t started = cluster.history.next();
    lane.device->read(lane.blocks[lane.next] * limits::block_bytes, lane.data.mutable_bytes(),
                      [self = shared_from_this(), index, started](const Status& status) {
                        if (!self->ended) self->have_read(index, started, status);
                      });
  }

  void fail(const Lane& lane, const std::string& why) {
    if (failure.empty())
      failure = "volume " + std::to_string(lane.volume) + " block " +
                std::to_string(lane.blocks[lane.next]) + ": " + why;
  }

  void have_read(size_t index, uint64_t started, const Status& status) {
    Lane& lane = lanes[index];
    const BlockKey block = key(lane);
    const bool stamped = cluster.load_of(lane.volume) == LoadChoice::stamps;
    if (!status.ok() && status.error().code() == Code::damaged) {
      damaged.insert(block);
    } else if (!status.ok()) {
      fail(lane, "cannot be read: " + status.error().message());
    } else {
      const auto stamp =
          stamped ? decode_stamp(lane.data.bytes(), block) : seal_of(lane.data.bytes(), block);
      if (stamp)
        cluster.history.read(block, *stamp, started, cluster.history.next());
      else
        fail(lane, "reads as something that nobody wrote there");
    }
    if (options.writes && stamped) return write(index);
    ++lane.next;
    go_on(index);
  }

  void write(size_t index) {
    Lane& lane = lanes[index];
    const BlockKey block = key(lane);
    const uint64_t stamp = ++cluster.last_stamp;
    encode_stamp(lane.data.mutable_bytes(), block, stamp);
    cluster.history.write_started(block, stamp, cluster.history.next());
    lane.device->write(block.block * limits::block_bytes, lane.data.bytes(),
                       [self = shared_from_this(), index, stamp](const Status& status) {
                         if (self->ended) return;
                         Lane& lane = self->lanes[index];
                         auto& history = self->cluster.history;
                         if (status.ok())
                           history.write_ended(self->key(lane), stamp, history.next());
                         else
                           self->fail(lane, "cannot be written: " + status.error().message());
                         ++lane.next;
                         self->go_on(index);
                       });
  }
};

ReadBack::ReadBack(Cluster& cluster, Options options)
    : state_(std::make_shared<State>(cluster, std::move(options))) {
  state_->begin();
}
ReadBack::~ReadBack() { state_->ended = true; }

bool ReadBack::done() const { return state_->open == 0; }
const std::set<BlockKey>& ReadBack::damaged() const { return state_->damaged; }
const std::string& ReadBack::failure() const { return state_->failure; }

std::string ReadBack::waits_for() const {
  for (const auto& lane : state_->lanes) {
    if (lane.next < lane.blocks.size())
      return "volume " + std::to_string(lane.volume) + " block " +
             std::to_string(lane.blocks[lane.next]) + ": it cannot be read or written";
  }
  return "";
}

}  // namespace sp::sim
