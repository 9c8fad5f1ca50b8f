#include "client/memory_device.h"

#include <algorithm>
#include <cstring>
#include <deque>

#include "base/limits.h"

namespace sp::client {

namespace {
constexpr uint64_t chunk_bytes = 1u << 20;
}

struct MemoryDevice::Operation {
  enum class Kind : uint8_t { read, write, zero, flush };
  Kind kind;
  uint64_t offset = 0;
  uint64_t size = 0;
  std::byte* into = nullptr;
  const std::byte* from = nullptr;
  Done done;
};

struct MemoryDevice::State {
  explicit State(io::Host& host_) : host(host_) {}

  io::Host& host;
  uint64_t size = 0;
  bool read_only = false;
  bool reordering = true;
  bool held = false;
  MutableBytes external;
  std::vector<std::unique_ptr<std::byte[]>> chunks;  // thin: null where nothing was written
  std::optional<Code> failure;
  struct BadRange {
    uint64_t offset, size;
    Code code;
  };
  std::vector<BadRange> bad_ranges;
  std::deque<std::unique_ptr<Operation>> waiting;
  uint64_t flushes = 0;
  uint64_t luck = 0;
  int luck_bits = 0;

  bool coin() {
    if (luck_bits == 0) {
      luck = host.random.number();
      luck_bits = 64;
    }
    --luck_bits;
    return (luck >> luck_bits & 1) != 0;
  }

  template <class F>  // visit(memory or null, size) for each piece of the range in order
  void visit(uint64_t offset, uint64_t length, bool allocate, F&& f) {
    while (length > 0) {
      const uint64_t within = offset % chunk_bytes;
      const uint64_t piece = std::min(length, chunk_bytes - within);
      if (!external.empty()) {
        f(external.data() + offset, piece);
      } else {
        auto& chunk = chunks[offset / chunk_bytes];
        if (chunk == nullptr && allocate) chunk = std::make_unique<std::byte[]>(chunk_bytes);
        f(chunk == nullptr ? nullptr : chunk.get() + within, piece);
      }
      offset += piece;
      length -= piece;
    }
  }

  Status perform(const Operation& operation) {
    if (failure) return Error(*failure, "injected failure");
    if (operation.offset > size || operation.size > size - operation.offset)
      return Error(Code::invalid, "beyond the end of the memory device");
    for (const BadRange& bad : bad_ranges)
      if (operation.offset < bad.offset + bad.size &&
          bad.offset < operation.offset + operation.size)
        return Error(bad.code, "injected failure of this range");
    if (read_only &&
        (operation.kind == Operation::Kind::write || operation.kind == Operation::Kind::zero))
      return Error(Code::refused, "the memory device is read-only");
    switch (operation.kind) {
      case Operation::Kind::read: {
        std::byte* into = operation.into;
        visit(operation.offset, operation.size, false, [&](std::byte* memory, uint64_t length) {
          if (memory == nullptr)
            std::memset(into, 0, length);
          else
            std::memcpy(into, memory, length);
          into += length;
        });
        break;
      }
      case Operation::Kind::write: {
        const std::byte* from = operation.from;
        visit(operation.offset, operation.size, true, [&](std::byte* memory, uint64_t length) {
          std::memcpy(memory, from, length);
          from += length;
        });
        break;
      }
      case Operation::Kind::zero:
        visit(operation.offset, operation.size, false, [](std::byte* memory, uint64_t length) {
          if (memory != nullptr) std::memset(memory, 0, length);
        });
        break;
      case Operation::Kind::flush: ++flushes; break;
    }
    return ok_status();
  }

  static void schedule(const std::shared_ptr<State>& state, std::unique_ptr<Operation> operation,
                       bool may_lag) {
    const bool lag = may_lag && state->reordering && state->coin();
    state->host.reactor.post(
        [weak = std::weak_ptr<State>(state), operation = std::move(operation), lag]() mutable {
          const auto alive = weak.lock();
          if (alive == nullptr) return;
          if (lag) return schedule(alive, std::move(operation), false);
          Status outcome = alive->perform(*operation);
          operation->done.call_once(std::move(outcome));
        });
  }
};

MemoryDevice::MemoryDevice(io::Host& host, uint64_t size_bytes)
    : state_(std::make_shared<State>(host)) {
  set_size(size_bytes);
}

MemoryDevice::MemoryDevice(io::Host& host, MutableBytes storage)
    : state_(std::make_shared<State>(host)) {
  SP_ASSERT(!storage.empty());
  SP_ASSERT_OP(storage.size() % limits::block_bytes, ==, 0u);
  state_->external = storage;
  state_->size = storage.size();
}

MemoryDevice::~MemoryDevice() = default;

uint64_t MemoryDevice::size_bytes() const { return state_->size; }
bool MemoryDevice::read_only() const { return state_->read_only; }
size_t MemoryDevice::operations_waiting() const { return state_->waiting.size(); }
uint64_t MemoryDevice::flush_count() const { return state_->flushes; }

void MemoryDevice::start(std::unique_ptr<Operation> operation) {
  SP_ASSERT_OP(operation->offset % limits::block_bytes, ==, 0u);
  SP_ASSERT_OP(operation->size % limits::block_bytes, ==, 0u);
  if (state_->held) {
    state_->waiting.push_back(std::move(operation));
    return;
  }
  State::schedule(state_, std::move(operation), true);
}

void MemoryDevice::read(uint64_t offset, MutableBytes into, Done done) {
  start(std::make_unique<Operation>(Operation{Operation::Kind::read, offset, into.size(),
                                              into.data(), nullptr, std::move(done)}));
}
void MemoryDevice::write(uint64_t offset, Bytes from, Done done) {
  start(std::make_unique<Operation>(Operation{Operation::Kind::write, offset, from.size(), nullptr,
                                              from.data(), std::move(done)}));
}
void MemoryDevice::write_zeroes(uint64_t offset, uint64_t size, Done done) {
  start(std::make_unique<Operation>(
      Operation{Operation::Kind::zero, offset, size, nullptr, nullptr, std::move(done)}));
}
void MemoryDevice::discard(uint64_t offset, uint64_t size, Done done) {
  write_zeroes(offset, size, std::move(done));
}
void MemoryDevice::flush(Done done) {
  start(std::make_unique<Operation>(
      Operation{Operation::Kind::flush, 0, 0, nullptr, nullptr, std::move(done)}));
}

void MemoryDevice::set_size(uint64_t size_bytes) {
  SP_ASSERT_OP(size_bytes % limits::block_bytes, ==, 0u);
  if (!state_->external.empty()) {
    SP_ASSERT_OP(size_bytes, <=, state_->external.size());
    state_->size = size_bytes;
    return;
  }
  if (const uint64_t within = size_bytes % chunk_bytes; size_bytes < state_->size && within != 0)
    if (auto& chunk = state_->chunks[size_bytes / chunk_bytes]; chunk != nullptr)
      std::memset(chunk.get() + within, 0, chunk_bytes - within);
  state_->size = size_bytes;
  state_->chunks.resize((size_bytes + chunk_bytes - 1) / chunk_bytes);
}
void MemoryDevice::set_read_only(bool read_only) { state_->read_only = read_only; }
void MemoryDevice::set_reordering(bool reordering) { state_->reordering = reordering; }
void MemoryDevice::fail_all(std::optional<Code> code) { state_->failure = code; }
void MemoryDevice::fail_range(uint64_t offset, uint64_t size, Code code) {
  state_->bad_ranges.push_back({offset, size, code});
}
void MemoryDevice::hold(bool held) {
  state_->held = held;
  while (!state_->held && !state_->waiting.empty()) {
    auto operation = std::move(state_->waiting.front());
    state_->waiting.pop_front();
    start(std::move(operation));
  }
}

std::unique_ptr<BlockDevice> make_memory_device(io::Host& host, uint64_t size_bytes) {
  return std::make_unique<MemoryDevice>(host, size_bytes);
}

}  // namespace sp::client
