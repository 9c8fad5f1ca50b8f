#include "sim/sealed_blocks.h"

#include <algorithm>
#include <cstring>

#include "base/assert.h"
#include "base/checksum.h"

namespace sp::sim {

namespace {

constexpr size_t block_bytes = limits::block_bytes;

uint64_t checksum_of(Bytes block, BlockKey key) {
  return mix64(crc64(block.first(block_bytes - 8)) ^ mix64(uint64_t{key.volume} << 40 ^ key.block));
}

}  // namespace

void seal(MutableBytes block, BlockKey key, uint64_t stamp) {
  std::memcpy(block.data() + SealedBlocks::payload_bytes, &stamp, 8);
  const uint64_t sum = checksum_of(block, key);
  std::memcpy(block.data() + SealedBlocks::payload_bytes + 8, &sum, 8);
}

std::optional<uint64_t> seal_of(Bytes block, BlockKey key) {
  uint64_t stamp = 0, sum = 0;
  std::memcpy(&stamp, block.data() + SealedBlocks::payload_bytes, 8);
  std::memcpy(&sum, block.data() + SealedBlocks::payload_bytes + 8, 8);
  if (stamp == 0 && sum == 0) {
    const bool zero =
        std::all_of(block.begin(), block.end(), [](std::byte b) { return b == std::byte{0}; });
    return zero ? std::optional<uint64_t>(0) : std::nullopt;
  }
  return sum == checksum_of(block, key) ? std::optional<uint64_t>(stamp) : std::nullopt;
}

Bytes SealedRead::payload(uint64_t block) const {
  return data.bytes().subspan((block - first) * block_bytes, SealedBlocks::payload_bytes);
}

struct SealedBlocks::State {
  State(Log& log_, client::BlockDevice& device_, uint64_t& last_stamp_, const Options& options_)
      : log(log_),
        device(device_),
        last_stamp(last_stamp_),
        options(options_),
        history(options_.history) {}

  Log& log;
  client::BlockDevice& device;
  uint64_t& last_stamp;
  Options options;
  Linearizability* history;
  bool ended = false, over = false;
  uint32_t in_flight = 0;
  uint64_t completed = 0;
  std::string failure;

  BlockKey key(uint64_t block) const { return {options.volume, block}; }
  uint64_t time() { return history != nullptr ? history->next() : 0; }

  void fail(uint64_t block, const std::string& why) {
    over = true;
    if (!failure.empty()) return;
    failure =
        "volume " + std::to_string(options.volume) + " block " + std::to_string(block) + ": " + why;
  }

  // For the timeline of a block.
  void trace(std::string_view event, uint64_t first, uint64_t count, uint64_t stamp) {
    if (!log.enabled(LogLevel::debug)) return;
    log.debug(
        event,
        {{"volume", options.volume}, {"first", first}, {"count", count}, {"stamps_from", stamp}});
  }

  // True: it went well.
  bool finished(uint64_t block, const Status& status) {
    --in_flight;
    ++completed;
    if (status.ok()) return !over;
    over = true;
    if (status.error().code() != Code::closed)
      fail(block, "an operation failed: " + status.error().message());
    return false;
  }

  void take(SealedRead& read, uint64_t started,
            const std::function<void(const SealedRead&)>& next) {
    const uint64_t ended_at = time();
    for (size_t i = 0; i < read.data.size() / block_bytes; ++i) {
      const BlockKey place = key(read.first + i);
      const auto stamp =
          seal_of(Bytes(read.data.bytes()).subspan(i * block_bytes, block_bytes), place);
      if (!stamp) return fail(place.block, "reads as something that nobody wrote there");
      read.stamps.push_back(*stamp);
      if (history != nullptr) history->read(place, *stamp, started, ended_at);
    }
    if (log.enabled(LogLevel::debug)) trace_read(read);
    next(read);
  }

  void trace_read(const SealedRead& read) {
    std::string stamps;
    for (const uint64_t stamp : read.stamps)
      stamps += (stamps.empty() ? "" : ",") + std::to_string(stamp);
    log.debug("read of the workload ends", {{"volume", options.volume},
                                            {"first", read.first},
                                            {"count", read.stamps.size()},
                                            {"stamps", stamps}});
  }

  struct Change {  // a write or discard
    uint64_t first = 0, count = 0, first_stamp = 0;
    Buffer data;
    Next next;
  };

  std::shared_ptr<Change> begin(uint64_t first, uint64_t count, const Buffer& data, Next next) {
    ++in_flight;
    const uint64_t started = time();
    const uint64_t first_stamp = last_stamp + 1;
    last_stamp += count;
    trace(data ? "write of the workload begins" : "discard of the workload begins", first, count,
          first_stamp);
    for (uint64_t i = 0; i < count; ++i) {
      const BlockKey place = key(first + i);
      if (data)
        seal(data.mutable_bytes().subspan(i * block_bytes, block_bytes), place, first_stamp + i);
      if (history == nullptr) continue;
      if (data)
        history->write_started(place, first_stamp + i, started, options.session);
      else
        history->discard_started(place, first_stamp + i, started, options.session);
    }
    return std::make_shared<Change>(Change{first, count, first_stamp, data, std::move(next)});
  }

  void end(const Change& change, const Status& status) {
    if (ended) return;
    const bool well = finished(change.first, status);
    const uint64_t now = time();
    trace(change.data ? "write of the workload ends" : "discard of the workload ends", change.first,
          change.count, change.first_stamp);
    for (uint64_t i = 0; status.ok() && history != nullptr && i < change.count; ++i)
      history->write_ended(key(change.first + i), change.first_stamp + i, now);
    if (well) change.next();
  }
};

SealedBlocks::SealedBlocks(Log& log, client::BlockDevice& device, uint64_t& last_stamp,
                           const Options& options)
    : state_(std::make_shared<State>(log, device, last_stamp, options)) {}

SealedBlocks::~SealedBlocks() { state_->ended = true; }

void SealedBlocks::read(uint64_t first, uint32_t count,
                        std::function<void(const SealedRead& read)> next) {
  if (state_->over) return;
  ++state_->in_flight;
  struct Call {
    SealedRead read;
    uint64_t started = 0;
    std::function<void(const SealedRead& read)> next;
  };
  const auto call = std::make_shared<Call>();
  call->read.first = first;
  call->read.data = Buffer::allocate(size_t{count} * block_bytes);
  call->started = state_->time();
  call->next = std::move(next);
  state_->device.read(first * block_bytes, call->read.data.mutable_bytes(),
                      [self = state_, call](const Status& status) {
                        if (!self->ended && self->finished(call->read.first, status))
                          self->take(call->read, call->started, call->next);
                      });
}

uint64_t SealedBlocks::write(uint64_t first, const Buffer& data, Next next) {
  if (state_->over) return 0;
  const auto change = state_->begin(first, data.size() / block_bytes, data, std::move(next));
  state_->device.write(
      first * block_bytes, data.bytes(),
      [self = state_, change](const Status& status) { self->end(*change, status); });
  return change->first_stamp;
}

void SealedBlocks::discard(uint64_t first, uint32_t count, Next next) {
  if (state_->over) return;
  const auto change = state_->begin(first, count, {}, std::move(next));
  state_->device.discard(
      first * block_bytes, uint64_t{count} * block_bytes,
      [self = state_, change](const Status& status) { self->end(*change, status); });
}

void SealedBlocks::flush(Next next) {
  if (state_->over) return;
  ++state_->in_flight;
  state_->device.flush([self = state_, next = std::move(next)](const Status& status) {
    if (!self->ended && self->finished(0, status)) next();
  });
}

SealedBlocks::Next SealedBlocks::after(size_t count, Next next) {
  SP_ASSERT(count > 0);
  return [left = std::make_shared<size_t>(count), next = std::move(next)] {
    if (--*left == 0) next();
  };
}

uint64_t SealedBlocks::size_blocks() const { return state_->device.size_bytes() / block_bytes; }
bool SealedBlocks::idle() const { return state_->in_flight == 0; }
bool SealedBlocks::over() const { return state_->over; }
uint64_t SealedBlocks::completed() const { return state_->completed; }
void SealedBlocks::fail(uint64_t block, const std::string& why) { state_->fail(block, why); }
const std::string& SealedBlocks::failure() const { return state_->failure; }

}  // namespace sp::sim
