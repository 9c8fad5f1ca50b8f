#include "sim/workload.h"

#include <cmath>
#include <vector>

#include "base/buffer.h"
#include "base/limits.h"
#include "base/probe.h"

namespace sp::sim {

namespace {
struct Operation {
  enum class Kind { read, write, discard, zeroes, flush } kind = Kind::read;
  uint64_t first = 0;  // block
  uint32_t count = 0;
  uint64_t started = 0;
  std::vector<uint64_t> stamps;
  Buffer data;
};
}  // namespace

struct Workload::State : std::enable_shared_from_this<Workload::State> {
  State(io::Host& host_, client::BlockDevice& device_, Linearizability& history_,
        uint64_t& last_stamp_, const WorkloadOptions& options_)
      : host(host_),
        device(device_),
        history(history_),
        last_stamp(last_stamp_),
        options(options_) {}

  io::Host& host;
  client::BlockDevice& device;
  Linearizability& history;
  uint64_t& last_stamp;
  WorkloadOptions options;
  bool running = false, ended = false;
  uint32_t in_flight = 0;
  uint64_t completed = 0;
  std::string failure;
  std::vector<std::unique_ptr<io::Timer>> timers;

  double draw() { return static_cast<double>((host.random.number() >> 11) + 1) * 0x1.0p-53; }

  void next_in(size_t lane) {
    const double wait = -std::log(draw()) * static_cast<double>(options.think_mean.count());
    timers[lane]->arm(io::Duration(static_cast<int64_t>(wait)), [this, lane] { issue(lane); });
  }

  Operation::Kind draw_kind() {
    double left = draw();
    for (const auto& [kind, share] : {std::pair{Operation::Kind::read, options.reads},
                                      {Operation::Kind::discard, options.discards},
                                      {Operation::Kind::zeroes, options.zeroes},
                                      {Operation::Kind::flush, options.flushes}}) {
      left -= share;
      if (left < 0) return kind;
    }
    return Operation::Kind::write;
  }

  void issue(size_t lane) {
    if (!running || ended) return;
    auto op = std::make_shared<Operation>();
    op->kind = draw_kind();
    // Mostly one place, at times several neighbours, across the borders of objects too.
    const uint64_t places = draw() < options.hot ? std::min(options.blocks, 2u) : options.blocks;
    op->first = host.random.below(places) * options.stride;
    op->count = 1 + static_cast<uint32_t>(host.random.below(options.length_max));
    const uint64_t device_blocks = device.size_bytes() / limits::block_bytes;
    if (op->first >= device_blocks) op->first = 0;
    op->count = static_cast<uint32_t>(std::min<uint64_t>(op->count, device_blocks - op->first));
    op->data = Buffer::allocate(size_t{op->count} * limits::block_bytes);
    op->started = history.next();
    ++in_flight;
    auto done = [self = shared_from_this(), op, lane](Status status) {
      self->finished(*op, lane, status);
    };
    const uint64_t offset = op->first * limits::block_bytes;
    if (op->kind == Operation::Kind::read) trace("begins", *op, false);
    if (op->kind == Operation::Kind::read)
      return device.read(offset, op->data.mutable_bytes(), std::move(done));
    if (op->kind == Operation::Kind::flush) return device.flush(std::move(done));
    for (uint32_t i = 0; i < op->count; ++i) {
      const BlockKey key{options.volume, op->first + i};
      op->stamps.push_back(++last_stamp);
      if (op->kind != Operation::Kind::write) {
        history.discard_started(key, op->stamps[i], op->started, options.session);
      } else {
        history.write_started(key, op->stamps[i], op->started, options.session);
        encode_stamp(block(*op, i), key, op->stamps[i]);
      }
    }
    trace("begins", *op, false);
    if (op->kind == Operation::Kind::write)
      device.write(offset, op->data.bytes(), std::move(done));
    else if (op->kind == Operation::Kind::zeroes)
      device.write_zeroes(offset, op->data.size(), std::move(done));
    else
      device.discard(offset, op->data.size(), std::move(done));
  }

  // For the timeline of a block.
  void trace(std::string_view event, Operation& op, bool with_content) {
    if (!host.log.enabled(LogLevel::debug) || op.kind == Operation::Kind::flush) return;
    const bool reads = op.kind == Operation::Kind::read;
    std::string stamps;
    for (uint32_t i = 0; i < op.count && (!reads || with_content); ++i) {
      const BlockKey key{options.volume, op.first + i};
      const auto stamp = reads ? decode_stamp(block(op, i), key) : op.stamps[i];
      stamps += (i > 0 ? "," : "") + (stamp ? std::to_string(*stamp) : "nonsense");
    }
    const char* const name = reads                                 ? "read"
                             : op.kind == Operation::Kind::write   ? "write"
                             : op.kind == Operation::Kind::discard ? "discard"
                                                                   : "zeroing";
    host.log.debug(
        std::string(name) + " of the workload " + std::string(event),
        {{"volume", options.volume}, {"first", op.first}, {"count", op.count}, {"stamps", stamps}});
  }

  MutableBytes block(Operation& op, uint32_t i) {
    return op.data.mutable_bytes().subspan(size_t{i} * limits::block_bytes, limits::block_bytes);
  }

  void finished(Operation& op, size_t lane, const Status& status) {
    if (ended) return;
    --in_flight;
    const uint64_t time = history.next();
    const bool writes = op.kind != Operation::Kind::read && op.kind != Operation::Kind::flush;
    if (!status.ok() && status.error().code() == Code::no_space && writes &&
        options.may_be_refused) {  // a part of it may have been done
      SP_PROBE(sim_write_finds_no_room);
      ++completed;
      if (running) next_in(lane);
      return;
    }
    if (!status.ok()) {
      // Fenced: what it wrote last may or may not be there.
      if (status.error().code() != Code::closed && failure.empty())
        failure = "volume " + std::to_string(options.volume) + " block " +
                  std::to_string(op.first) + ": an operation failed: " + status.error().message();
      running = false;
      return;
    }
    ++completed;
    trace("ends", op, true);
    for (uint32_t i = 0; op.kind != Operation::Kind::flush && i < op.count; ++i) {
      const BlockKey key{options.volume, op.first + i};
      if (op.kind != Operation::Kind::read) {
        history.write_ended(key, op.stamps[i], time);
        continue;
      }
      const auto stamp = decode_stamp(block(op, i), key);
      if (stamp)
        history.read(key, *stamp, op.started, time);
      else if (failure.empty())
        failure = "volume " + std::to_string(key.volume) + " block " + std::to_string(key.block) +
                  ": reads as something that nobody wrote there";
    }
    if (running) next_in(lane);
  }
};

Workload::Workload(io::Host& host, client::BlockDevice& device, Linearizability& history,
                   uint64_t& last_stamp, const WorkloadOptions& options)
    : state_(std::make_shared<State>(host, device, history, last_stamp, options)) {
  for (uint32_t lane = 0; lane < options.depth; ++lane)
    state_->timers.push_back(std::make_unique<io::Timer>(host.reactor));
}

Workload::~Workload() {
  state_->ended = true;
  state_->timers.clear();
}

void Workload::start() {
  state_->running = true;
  for (size_t lane = 0; lane < state_->timers.size(); ++lane) state_->next_in(lane);
}

void Workload::stop() {
  state_->running = false;
  for (auto& timer : state_->timers) timer->cancel();
}

bool Workload::idle() const { return state_->in_flight == 0; }
uint64_t Workload::completed() const { return state_->completed; }
const std::string& Workload::failure() const { return state_->failure; }

}  // namespace sp::sim
