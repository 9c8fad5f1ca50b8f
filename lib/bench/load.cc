#include "bench/load.h"

#include <algorithm>
#include <cstring>
#include <string>
#include <utility>
#include <vector>

#include "base/checksum.h"
#include "base/limits.h"

namespace sp::bench {

namespace {

uint64_t stamp_of(uint64_t block) { return mix64(block) | 1; }

class LoadImpl final : public Load {
 public:
  LoadImpl(io::Host& host, client::BlockDevice& device, const LoadOptions& options, Events events)
      : host_(host),
        device_(device),
        options_(options),
        events_(std::move(events)),
        ramp_(host.reactor),
        time_(host.reactor),
        anchor_(std::make_shared<LoadImpl*>(this)) {
    const uint64_t places = options_.bytes / options_.block_bytes;
    for (uint32_t job = 0; job < options_.jobs; ++job) {
      jobs_.push_back({places * job / options_.jobs, places * (job + 1) / options_.jobs, 0});
      jobs_.back().next = jobs_.back().from;
      for (uint32_t i = 0; i < options_.depth; ++i) {
        slots_.push_back({Buffer::allocate(options_.block_bytes), job, false, 0, {}});
        host_.random.fill(slots_.back().buffer.mutable_bytes());
      }
    }
  }
  ~LoadImpl() override {
    *anchor_ = nullptr;
    SP_ASSERT_OP(in_flight_, ==, 0u);
  }

  void begin() {
    if (options_.ramp > io::Duration(0))
      ramp_.arm(options_.ramp, [this] { count(); });
    else
      host_.reactor.post([anchor = anchor_] {
        if (*anchor != nullptr) (*anchor)->count();
      });
    for (size_t i = 0; i < slots_.size(); ++i) issue(i);
  }

  void stop() override {
    if (stopped_) return;
    stopped_ = true;
    ramp_.cancel();
    time_.cancel();
    if (counting_) {
      counting_ = false;
      result_.seconds = seconds_since_count();
      if (events_.counted) events_.counted.call_once(result_);
    }
    if (in_flight_ == 0) end();
  }

  const LoadResult& now() const override {
    if (counting_) result_.seconds = seconds_since_count();
    return result_;
  }

 private:
  struct Job {
    uint64_t from = 0, to = 0, next = 0;  // places of block_bytes
  };
  struct Slot {
    Buffer buffer;
    uint32_t job = 0;
    bool is_read = false;
    uint64_t offset = 0;
    io::Instant started;
  };

  double seconds_since_count() const {
    return std::chrono::duration<double>(host_.clock.now() - counted_from_).count();
  }

  void count() {
    if (stopped_) return;
    counting_ = true;
    counted_from_ = host_.clock.now();
    time_.arm(options_.time, [this] { stop(); });
    if (events_.counting) events_.counting.call_once();
  }

  uint64_t next_place(Job& job) {
    if (!options_.sequential) return host_.random.below(options_.bytes / options_.block_bytes);
    const uint64_t place = job.next;
    job.next = job.next + 1 == job.to ? job.from : job.next + 1;
    return place;
  }

  void issue(size_t index) {
    Slot& slot = slots_[index];
    slot.offset = options_.from + next_place(jobs_[slot.job]) * options_.block_bytes;
    slot.is_read = options_.reads_percent == 100 ||
                   (options_.reads_percent > 0 && host_.random.below(100) < options_.reads_percent);
    slot.started = host_.clock.now();
    ++in_flight_;
    ++issued_;
    auto done = [this, index](const Status& status) { completed(index, status); };
    if (slot.is_read) return device_.read(slot.offset, slot.buffer.mutable_bytes(), done);
    for (uint64_t at = 0; at < options_.block_bytes; at += limits::block_bytes) {
      const uint64_t stamp = stamp_of((slot.offset + at) / limits::block_bytes);
      std::memcpy(slot.buffer.data() + at, &stamp, sizeof stamp);
    }
    device_.write(slot.offset, slot.buffer.bytes(), done);
  }

  void fault(std::string what) {
    ++result_.errors;
    if (result_.first_error.empty()) result_.first_error = std::move(what);
  }

  void check(const Slot& slot) {
    for (uint64_t at = 0; at < options_.block_bytes; at += limits::block_bytes) {
      uint64_t found = 0;
      std::memcpy(&found, slot.buffer.data() + at, sizeof found);
      if (found == 0 || found == stamp_of((slot.offset + at) / limits::block_bytes)) continue;
      return fault("the block at " + std::to_string(slot.offset + at) +
                   " holds what no load has written there (--no-verify: do not look)");
    }
  }

  void completed(size_t index, const Status& status) {
    Slot& slot = slots_[index];
    --in_flight_;
    if (!status.ok())
      fault((slot.is_read ? "read at " : "write at ") + std::to_string(slot.offset) + ": " +
            status.error().message());
    else if (slot.is_read && options_.verify)
      check(slot);
    if (counting_ && status.ok()) {
      LoadCounts& counts = slot.is_read ? result_.reads : result_.writes;
      ++counts.operations;
      counts.bytes += options_.block_bytes;
      counts.latency.add((host_.clock.now() - slot.started).count());
    }
    // A device that is closed answers nothing else any more.
    if (!status.ok() && status.error().code() == Code::closed) stop_later();
    const bool enough = options_.operations_max > 0 && issued_ >= options_.operations_max;
    if (!stopped_ && !enough) return issue(index);
    if (in_flight_ == 0) {
      if (enough) stop();
      end();
    }
  }

  void stop_later() {
    host_.reactor.post([anchor = anchor_] {
      if (*anchor != nullptr) (*anchor)->stop();
    });
  }

  void end() {
    if (std::exchange(ended_, true)) return;
    host_.reactor.post([anchor = anchor_] {
      if (*anchor != nullptr && (*anchor)->events_.done) (*anchor)->events_.done.call_once();
    });
  }

  io::Host& host_;
  client::BlockDevice& device_;
  const LoadOptions options_;
  Events events_;
  std::vector<Job> jobs_;
  std::vector<Slot> slots_;
  mutable LoadResult result_;
  io::Timer ramp_, time_;
  io::Instant counted_from_;
  uint64_t in_flight_ = 0, issued_ = 0;
  bool counting_ = false, stopped_ = false, ended_ = false;
  std::shared_ptr<LoadImpl*> anchor_;
};

std::string fault_of(const LoadOptions& o, uint64_t size) {
  const auto whole = [](uint64_t value) { return value % limits::block_bytes == 0; };
  if (o.block_bytes == 0 || !whole(o.block_bytes) || o.block_bytes > limits::buffer_bytes_max)
    return "the size of an operation is a multiple of 4096, up to " +
           std::to_string(limits::buffer_bytes_max);
  if (!whole(o.from) || !whole(o.bytes)) return "the range begins and ends at multiples of 4096";
  if (o.from > size || o.bytes > size - o.from) return "the range is beyond the end of the volume";
  if (o.bytes / o.block_bytes < o.jobs)
    return "the range has no place for an operation of each job";
  if (o.depth == 0 || o.jobs == 0) return "there is nothing to be in flight";
  if (o.reads_percent > 100) return "reads are at most 100 percent";
  return "";
}

}  // namespace

Result<std::unique_ptr<Load>> Load::start(io::Host& host, client::BlockDevice& device,
                                          const LoadOptions& options, Events events) {
  LoadOptions chosen = options;
  const uint64_t size = device.size_bytes();
  if (chosen.bytes == 0 && chosen.from < size)
    chosen.bytes = (size - chosen.from) / limits::block_bytes * limits::block_bytes;
  if (std::string fault = fault_of(chosen, size); !fault.empty())
    return Error(Code::invalid, std::move(fault));
  if (device.read_only() && chosen.reads_percent < 100)
    return Error(Code::refused, "the volume is attached for reading only: --reads 100");
  auto load = std::make_unique<LoadImpl>(host, device, chosen, std::move(events));
  load->begin();
  return std::unique_ptr<Load>(std::move(load));
}

}  // namespace sp::bench
