#include "io/sim_disk.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>
#include <map>
#include <vector>

#include "base/checksum.h"
#include "io/sim_medium.h"

namespace sp::io {

namespace {

class SimDisk;
using Kind = SimDisks::Kind;
constexpr int64_t lie_fresh_ns = 100'000'000;

struct Operation {
  SimDisks::Medium* medium = nullptr;
  SimDisk* disk = nullptr;
  Kind kind = Kind::read;
  bool failing = false;
  uint64_t offset = 0;
  uint64_t size = 0;
  std::byte* into = nullptr;
  const std::byte* from = nullptr;
  SimMedium::Write data;  // of a write: as it was when issued
  uint64_t mark = 0;
  uint64_t order = 0;
  uint64_t event = 0;
  DiskDone done;
};

}  // namespace

struct SimDisks::Medium {
  Medium(std::string name, uint64_t size, const SimDiskOptions& given)
      : path(std::move(name)), options(given), content(size, crc64(as_bytes(path)) | 1) {
    content.set_noise(options.unwritten_is_noise);
  }
  std::string path;
  SimDiskOptions options;
  SimMedium content;
  std::vector<SimDisk*> openers;
  bool held_exclusively = false;
  std::vector<Operation*> in_flight;
  std::vector<SimMedium::Write>
      limbo;  // in flight when the crash point came, their opener gone since
  bool dead = false;
  bool crash_reached = false;
  uint64_t crash_at = UINT64_MAX;
  uint64_t operation_count = 0;
  int64_t stalled_until_ns = 0;
  int64_t transfer_free_ns = 0;
  uint32_t fail_next[4] = {};
  bool misdirect_next = false;
  bool misdirect_next_read = false;
  bool lose_next = false;
  bool lie_next = false;
  // The newest lie: when, the newest operation then, and how many honest flushes came after it.
  enum class Lie { none, write, flush } lie = Lie::none;
  int64_t lied_ns = 0;
  uint64_t lied_order = 0;
  bool flushed_since = false;
  bool forgot = false;

  void lied(Lie kind, int64_t now_ns, uint64_t order) {
    lie = kind;
    lied_ns = now_ns;
    lied_order = order;
    flushed_since = false;
  }
  void flushed(const Operation& flush, int64_t now_ns, uint64_t order) {
    if (lie == Lie::none || flush.order <= lied_order) return;
    if (lie == Lie::write && (!flushed_since || now_ns - lied_ns < lie_fresh_ns)) {
      if (!flushed_since) lied_order = order;
      flushed_since = true;
      return;
    }
    lie = Lie::none;
  }
  // What was to hit the next operation of a user that ended hits no other's.
  void armed_for_nobody() { misdirect_next = misdirect_next_read = lose_next = lie_next = false; }
  // A user ends. A lie about a flush is found out by a loss of power only.
  void user_ended(bool power) {
    if (lie == Lie::write || (lie == Lie::flush && power)) forgot = true;
  }
};

struct SimDisks::State {
  State(SimCore& the_core, const SimDiskOptions& given) : core(the_core), defaults(given) {}

  SimCore& core;
  SimDiskOptions defaults;
  std::map<std::string, std::shared_ptr<Medium>> media;
  std::vector<std::unique_ptr<Operation>> operations;
  std::vector<Operation*> free_operations;
  uint64_t order = 0;

  Medium& medium(const std::string& path) {
    const auto found = media.find(path);
    SP_ASSERT_OP((found == media.end() ? "no simulated disk" : path), ==, path);
    return *found->second;
  }
  Result<std::unique_ptr<Disk>> open(uint32_t host, const std::string& path,
                                     const OpenOptions& options);
  Operation* make_operation();
  void issue(Operation* operation);
  void finish(Operation* operation);
  Status carry_out(Operation& operation);
  Status carry_out_write(Operation& operation);
  void free_operation(Operation* operation);
  void close(SimDisk& disk);
  uint64_t elsewhere(const Medium& medium, uint64_t size);
  std::vector<SimMedium::Write> take_in_flight(Medium& medium, const SimDisk* only);
};

namespace {

class SimDisk final : public Disk {
 public:
  SimDisk(SimDisks::State& state, std::shared_ptr<SimDisks::Medium> medium, uint32_t host,
          bool read_only)
      : state_(state), medium_(std::move(medium)), host_(host), read_only_(read_only) {}
  ~SimDisk() override { state_.close(*this); }

  uint64_t size_bytes() const override { return medium_->content.size_bytes(); }
  uint32_t alignment() const override { return medium_->options.alignment; }

  void read(uint64_t offset, MutableBytes into, DiskDone done) override {
    check(offset, into.size(), into.data());
    auto* operation = start(Kind::read, offset, into.size(), std::move(done));
    operation->into = into.data();
    state_.issue(operation);
  }
  void write(uint64_t offset, Bytes from, DiskDone done) override {
    check(offset, from.size(), from.data());
    auto* operation = start(Kind::write, offset, from.size(), std::move(done));
    operation->from = from.data();
    operation->data = {offset, from};
    state_.issue(operation);
  }
  void flush(DiskDone done) override { state_.issue(start(Kind::flush, 0, 0, std::move(done))); }
  void discard(uint64_t offset, uint64_t size, DiskDone done) override {
    check(offset, size, nullptr);
    state_.issue(start(Kind::discard, offset, size, std::move(done)));
  }
  bool peek(uint64_t offset, MutableBytes into) const override {
    medium_->content.read(offset, into);
    return true;
  }

  SimDisks::Medium& medium() { return *medium_; }
  uint32_t host() const { return host_; }
  bool read_only() const { return read_only_; }
  bool attached =
      true;  // false once its host was killed or the disk crashed: nothing has an effect then

 private:
  void check(uint64_t offset, uint64_t size, const void* memory) const {
    const uint32_t unit = alignment();
    SP_ASSERT_OP(size, >, 0u);
    SP_ASSERT_OP(offset % unit, ==, 0u);
    SP_ASSERT_OP(size % unit, ==, 0u);
    SP_ASSERT_OP(reinterpret_cast<uintptr_t>(memory) % unit, ==, 0u);
  }
  Operation* start(Kind kind, uint64_t offset, uint64_t size, DiskDone done) {
    Operation* operation = state_.make_operation();
    operation->medium = medium_.get();
    operation->disk = this;
    operation->kind = kind;
    operation->offset = offset;
    operation->size = size;
    operation->done = std::move(done);
    return operation;
  }

  SimDisks::State& state_;
  std::shared_ptr<SimDisks::Medium> medium_;
  uint32_t host_;
  bool read_only_;
};

class SimOpener final : public DiskOpener {
 public:
  SimOpener(SimDisks::State& state, uint32_t host) : state_(state), host_(host) {}
  Result<std::unique_ptr<Disk>> open(const std::string& path, const OpenOptions& options) override {
    return state_.open(host_, path, options);
  }

 private:
  SimDisks::State& state_;
  uint32_t host_;
};

}  // namespace

Result<std::unique_ptr<Disk>> SimDisks::State::open(uint32_t host, const std::string& path,
                                                    const OpenOptions& options) {
  auto found = media.find(path);
  if (options.mode == OpenOptions::Mode::create) {
    if (found != media.end()) return Error(Code::exists, fmt::format("{} exists already", path));
    const bool odd = options.size_bytes == 0 || options.size_bytes % defaults.alignment != 0;
    if (odd)
      return Error(Code::invalid,
                   fmt::format("{}: a disk of {} bytes cannot be made", path, options.size_bytes));
    found = media.emplace(path, std::make_shared<Medium>(path, options.size_bytes, defaults)).first;
  }
  if (found == media.end()) return Error(Code::not_found, fmt::format("{} does not exist", path));
  Medium& medium = *found->second;
  if (medium.dead || medium.crash_reached)
    return Error(Code::io, fmt::format("{} does not answer", path));
  if (!medium.openers.empty() && (options.exclusive || medium.held_exclusively)) {
    return Error(Code::refused, fmt::format("{} is in use by another process", path));
  }
  medium.held_exclusively = options.exclusive;
  auto disk = std::make_unique<SimDisk>(*this, found->second, host,
                                        options.mode == OpenOptions::Mode::read_only);
  medium.openers.push_back(disk.get());
  return std::unique_ptr<Disk>(std::move(disk));
}

Operation* SimDisks::State::make_operation() {
  if (free_operations.empty()) {
    operations.push_back(std::make_unique<Operation>());
    free_operations.push_back(operations.back().get());
  }
  Operation* operation = free_operations.back();
  free_operations.pop_back();
  return operation;
}

void SimDisks::State::free_operation(Operation* operation) {
  operation->data = {};
  operation->into = nullptr;
  operation->from = nullptr;
  operation->failing = false;
  operation->event = 0;
  const DiskDone dropped = std::move(operation->done);
  free_operations.push_back(operation);
}

void SimDisks::State::issue(Operation* operation) {
  Medium& medium = *operation->medium;
  if (!operation->disk->attached || medium.crash_reached) return free_operation(operation);
  ++medium.operation_count;
  operation->order = ++order;
  operation->mark = medium.content.mark();
  medium.in_flight.push_back(operation);
  if (medium.operation_count >= medium.crash_at) {
    medium.crash_reached = true;
    return;
  }
  const SimDiskOptions& options = medium.options;
  Random& random = core.disk_random;
  const int64_t now = core.now_ns();
  const double error = operation->kind == Kind::read    ? options.read_error
                       : operation->kind == Kind::write ? options.write_error
                       : operation->kind == Kind::flush ? options.flush_error
                                                        : 0.0;
  operation->failing = sim_draw(random, error);
  if (uint32_t& fail_next = medium.fail_next[static_cast<size_t>(operation->kind)]; fail_next > 0) {
    --fail_next;
    operation->failing = true;
  }
  if (sim_draw(random, options.stall)) {
    const auto length =
        static_cast<int64_t>(random.below(static_cast<uint64_t>(options.stall_max.count()) + 1));
    medium.stalled_until_ns = std::max(medium.stalled_until_ns, now + length);
  }
  const bool is_flush = operation->kind == Kind::flush;
  double mean = static_cast<double>(options.latency_mean.count());
  if (sim_draw(random, options.tail_probability)) mean *= options.tail_factor;
  int64_t start = std::max(now, medium.stalled_until_ns);
  if (operation->kind != Kind::discard && options.bytes_per_second > 0) {
    const double transfer_ns =
        static_cast<double>(operation->size) * 1e9 / options.bytes_per_second;
    start = medium.transfer_free_ns =
        std::max(start, medium.transfer_free_ns) + static_cast<int64_t>(transfer_ns);
  }
  const int64_t base = (is_flush ? options.flush_base : options.latency_base).count();
  operation->event = core.schedule(operation->disk->host(), SimEvent::disk,
                                   start + 1 + base + sim_exponential(random, mean),
                                   [this, operation] { finish(operation); });
}

void SimDisks::State::finish(Operation* operation) {
  Medium& medium = *operation->medium;
  operation->event = 0;
  if (medium.crash_reached) return;  // stays in flight until the crash
  if (core.now_ns() < medium.stalled_until_ns) {
    operation->event =
        core.schedule(operation->disk->host(), SimEvent::disk, medium.stalled_until_ns,
                      [this, operation] { finish(operation); });
    return;
  }
  std::erase(medium.in_flight, operation);
  Status status = carry_out(*operation);
  DiskDone done = std::move(operation->done);
  free_operation(operation);
  done(std::move(status));
}

Status SimDisks::State::carry_out(Operation& operation) {
  Medium& medium = *operation.medium;
  Random& random = core.disk_random;
  constexpr std::string_view names[] = {"read", "write", "flush", "discard"};
  const auto name = names[static_cast<size_t>(operation.kind)];
  if (operation.offset > medium.content.size_bytes() ||
      operation.size > medium.content.size_bytes() - operation.offset) {
    return Error(Code::invalid,
                 fmt::format("{}: {} of {} bytes at {} is beyond the end ({} bytes)", medium.path,
                             name, operation.size, operation.offset, medium.content.size_bytes()));
  }
  if (operation.disk->read_only() && operation.kind != Kind::read) {
    return Error(Code::refused,
                 fmt::format("{}: {} on a disk opened for reading only", medium.path, name));
  }
  if (medium.dead)
    return Error(Code::io, fmt::format("{}: {} failed: the device is dead", medium.path, name));
  switch (operation.kind) {
    case Kind::read:
      if (operation.failing || !medium.content.readable(operation.offset, operation.size)) break;
      medium.content.read(std::exchange(medium.misdirect_next_read, false)
                              ? elsewhere(medium, operation.size)
                              : operation.offset,
                          {operation.into, operation.size});
      return {};
    case Kind::write: return carry_out_write(operation);
    case Kind::flush:
      if (operation.failing) {
        // Drives and kernels give up what they could not write: a later flush says nothing of it.
        medium.content.crash(medium.options, {}, random);
        break;
      }
      if (std::exchange(medium.lie_next, false) || sim_draw(random, medium.options.lying_flush)) {
        if (medium.options.volatile_cache) medium.lied(Medium::Lie::flush, core.now_ns(), order);
      } else {
        medium.content.make_durable(operation.mark);
        medium.flushed(operation, core.now_ns(), order);
      }
      return {};
    case Kind::discard:
      if (operation.failing) break;
      medium.content.discard(operation.offset, operation.size, random);
      return {};
  }
  return Error(Code::io, fmt::format("{}: {} of {} bytes at {} failed: input/output error",
                                     medium.path, name, operation.size, operation.offset));
}

Status SimDisks::State::carry_out_write(Operation& operation) {
  Medium& medium = *operation.medium;
  Random& random = core.disk_random;
  const SimDiskOptions& options = medium.options;
  // As with a real device, which may fetch the bytes at any moment until it completes.
  const bool memory_unchanged = operation.data.holds(operation.from);
  SP_ASSERT(memory_unchanged);
  uint64_t offset = operation.offset;
  if (operation.failing) {
    std::vector<SimMedium::Write> one;
    one.push_back(std::move(operation.data));
    medium.content.end_in_flight(options, std::move(one), random);
    return Error(Code::io, fmt::format("{}: write of {} bytes at {} failed: input/output error",
                                       medium.path, operation.size, offset));
  }
  if (options.space_bytes != UINT64_MAX &&
      medium.content.used_bytes() + medium.content.bytes_needed(offset, operation.size) >
          options.space_bytes) {
    return Error(Code::no_space, fmt::format("{}: write of {} bytes at {} failed: no space left",
                                             medium.path, operation.size, offset));
  }
  if (std::exchange(medium.lose_next, false) || sim_draw(random, options.lost_write)) {
    medium.content.note_harm(offset, operation.size);
    medium.lied(Medium::Lie::write, core.now_ns(), order);
    return {};
  }
  const bool misdirected =
      std::exchange(medium.misdirect_next, false) || sim_draw(random, options.misdirected);
  if (misdirected) {
    offset = elsewhere(medium, operation.size);
    operation.data = std::move(operation.data).at(offset);
  }
  if (options.volatile_cache)
    medium.content.write_cached(std::move(operation.data), options.cache_bytes);
  else
    medium.content.write_through(operation.data);
  if (misdirected) {
    medium.content.note_harm(offset, operation.size);
    medium.content.note_harm(operation.offset, operation.size);
    medium.lied(Medium::Lie::write, core.now_ns(), order);
  }
  if (sim_draw(random, options.bit_rot))
    medium.content.flip_bit(offset, random.below(operation.size * 8));
  return {};
}

uint64_t SimDisks::State::elsewhere(const Medium& medium, uint64_t size) {
  const uint64_t unit = medium.options.alignment;
  return core.disk_random.below((medium.content.size_bytes() - size) / unit + 1) * unit;
}

// The writes among them; all operations of `only` (or of everybody) end without a word.
std::vector<SimMedium::Write> SimDisks::State::take_in_flight(Medium& medium, const SimDisk* only) {
  std::vector<SimMedium::Write> writes;
  std::vector<Operation*> taken;
  std::erase_if(medium.in_flight, [&](Operation* operation) {
    const bool ours = only == nullptr || operation->disk == only;
    if (ours) taken.push_back(operation);
    return ours;
  });
  for (Operation* operation : taken) {
    const bool inside =
        operation->offset + operation->size <= medium.content.size_bytes() && !medium.dead;
    if (operation->kind == Kind::write && inside && !operation->disk->read_only()) {
      writes.push_back(std::move(operation->data));
    }
    if (operation->event != 0) core.events.cancel(operation->event);
    free_operation(operation);
  }
  return writes;
}

void SimDisks::State::close(SimDisk& disk) {
  if (!disk.attached) return;
  disk.attached = false;
  Medium& medium = disk.medium();
  medium.armed_for_nobody();
  if (!disk.read_only()) medium.user_ended(false);
  std::erase(medium.openers, &disk);
  auto writes = take_in_flight(medium, &disk);
  // The kernel has let go of the memory before the Disk is gone: each write is done by then, or was
  // cancelled.
  if (medium.crash_reached) {
    std::move(writes.begin(), writes.end(), std::back_inserter(medium.limbo));
  } else if (!writes.empty()) {
    medium.content.end_in_flight(medium.options, std::move(writes), core.disk_random);
  }
}

SimDisks::SimDisks(SimCore& core, const SimDiskOptions& defaults)
    : state_(std::make_unique<State>(core, defaults)) {}
SimDisks::~SimDisks() = default;

Status SimDisks::add(const std::string& path, uint64_t size_bytes) {
  SP_ASSERT(size_bytes > 0 && size_bytes % state_->defaults.alignment == 0);
  if (exists(path)) return Error(Code::exists, fmt::format("{} exists already", path));
  state_->media.emplace(path, std::make_shared<Medium>(path, size_bytes, state_->defaults));
  return {};
}

bool SimDisks::exists(const std::string& path) const { return state_->media.contains(path); }

void SimDisks::remove(const std::string& path) {
  state_->medium(path).dead = true;
  state_->media.erase(path);
}

Status SimDisks::swap(const std::string& a, const std::string& b) {
  Medium& first = state_->medium(a);
  Medium& second = state_->medium(b);
  if (!first.openers.empty() || !second.openers.empty()) {
    return Error(Code::refused,
                 fmt::format("{} and {} cannot change places: close both first", a, b));
  }
  std::swap(state_->media[a], state_->media[b]);
  std::swap(first.path, second.path);
  // A crash point was ordered for a place, and whoever did so watches it there.
  first.crash_at = second.crash_at = UINT64_MAX;
  return {};
}

void SimDisks::wipe(const std::string& path) {
  Medium& medium = state_->medium(path);
  medium.content.wipe();
  medium.lie = Medium::Lie::none;
  medium.forgot = false;
  medium.armed_for_nobody();
}

void SimDisks::set_options(const std::string& path, const SimDiskOptions& options) {
  Medium& medium = state_->medium(path);
  medium.options = options;
  medium.content.set_noise(options.unwritten_is_noise);
}

void SimDisks::fail_after(const std::string& path, uint64_t operation_count) {
  SP_ASSERT_OP(operation_count, >, 0u);
  Medium& medium = state_->medium(path);
  medium.crash_at = medium.operation_count + operation_count;
}

bool SimDisks::hampered(const std::string& path) const {
  const Medium& medium = state_->medium(path);
  const SimDiskOptions& is = medium.options;
  const SimDiskOptions& should = state_->defaults;
  return medium.dead || medium.crash_reached || medium.stalled_until_ns > state_->core.now_ns() ||
         is.latency_base > should.latency_base || is.latency_mean > should.latency_mean ||
         is.stall > should.stall || is.space_bytes < should.space_bytes ||
         is.read_error > should.read_error || is.write_error > should.write_error ||
         is.flush_error > should.flush_error;
}

bool SimDisks::crash_point_reached(const std::string& path) const {
  return state_->medium(path).crash_reached;
}
uint64_t SimDisks::operation_count(const std::string& path) const {
  return state_->medium(path).operation_count;
}

void SimDisks::crash(const std::string& path) {
  Medium& medium = state_->medium(path);
  for (SimDisk* disk : medium.openers) disk->attached = false;
  medium.openers.clear();
  medium.armed_for_nobody();
  medium.user_ended(true);
  std::vector<SimMedium::Write> writes = std::exchange(medium.limbo, {});
  auto in_flight = state_->take_in_flight(medium, nullptr);
  std::move(in_flight.begin(), in_flight.end(), std::back_inserter(writes));
  medium.content.crash(medium.options, std::move(writes), state_->core.disk_random);
  medium.crash_reached = false;
  medium.crash_at = UINT64_MAX;
  medium.transfer_free_ns = 0;
}

void SimDisks::set_dead(const std::string& path, bool dead) { state_->medium(path).dead = dead; }

void SimDisks::stall(const std::string& path, Duration duration) {
  state_->medium(path).stalled_until_ns = state_->core.now_ns() + duration.count();
}

void SimDisks::fail_next(const std::string& path, Kind kind, uint32_t operation_count) {
  state_->medium(path).fail_next[static_cast<size_t>(kind)] = operation_count;
}

void SimDisks::misdirect_next_write(const std::string& path) {
  state_->medium(path).misdirect_next = true;
}
void SimDisks::lose_next_write(const std::string& path) { state_->medium(path).lose_next = true; }
void SimDisks::lie_on_next_flush(const std::string& path) { state_->medium(path).lie_next = true; }

void SimDisks::misdirect_next_read(const std::string& path) {
  state_->medium(path).misdirect_next_read = true;
}

void SimDisks::make_unreadable(const std::string& path, uint64_t offset, uint64_t size) {
  state_->medium(path).content.make_unreadable(offset, size);
}

bool SimDisks::harmed(const std::string& path, uint64_t offset, uint64_t size) const {
  return state_->medium(path).content.harmed(offset, size);
}
bool SimDisks::harmed(const std::string& path) const {
  return state_->medium(path).content.harmed();
}
bool SimDisks::may_have_lied(const std::string& path) const {
  const Medium& medium = state_->medium(path);
  return medium.lie != Medium::Lie::none || medium.forgot || medium.misdirect_next ||
         medium.lose_next || medium.lie_next;
}
bool SimDisks::forgot(const std::string& path) const { return state_->medium(path).forgot; }

void SimDisks::poke(const std::string& path, uint64_t offset, Bytes bytes) {
  state_->medium(path).content.write_through({offset, bytes});
}

void SimDisks::corrupt(const std::string& path, uint64_t offset, uint64_t size) {
  state_->medium(path).content.corrupt(offset, size);
}

void SimDisks::peek(const std::string& path, uint64_t offset, MutableBytes into) const {
  state_->medium(path).content.read(offset, into);
}

std::unique_ptr<DiskOpener> SimDisks::opener_for(uint32_t host) {
  return std::make_unique<SimOpener>(*state_, host);
}

void SimDisks::host_killed(uint32_t host, bool keep_completed) {
  std::vector<std::shared_ptr<Medium>> media;
  for (auto& [path, medium] : state_->media) {
    const bool opened = std::any_of(medium->openers.begin(), medium->openers.end(),
                                    [&](const SimDisk* disk) { return disk->host() == host; });
    if (opened) media.push_back(medium);
  }
  for (auto& medium : media) {
    if (!keep_completed || medium->crash_reached) {
      crash(medium->path);
      continue;
    }
    const auto openers = medium->openers;
    for (SimDisk* disk : openers) {
      if (disk->host() == host) state_->close(*disk);
    }
  }
}

}  // namespace sp::io
