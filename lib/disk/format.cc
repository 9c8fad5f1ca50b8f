// Formatting in steps, each of which waits for the one before: old superblocks away, regions, first
// superblock, last superblock.
#include <algorithm>
#include <memory>
#include <vector>

#include "base/buffer.h"
#include "base/limits.h"
#include "disk/superblock.h"

namespace sp::disk {

namespace {

constexpr uint64_t chunk_bytes = 1 << 20;

class Formatter : public std::enable_shared_from_this<Formatter> {
 public:
  Formatter(io::Disk& disk, Superblock superblock, const FormatOptions& options,
            Callback<void(Result<Superblock>)> done)
      : disk_(disk),
        superblock_(std::move(superblock)),
        options_(options),
        done_(std::move(done)),
        zeros_(Buffer::zeroed(chunk_bytes)),
        page_(Buffer::copy_of(encode_superblock(superblock_))) {}

  void start() {
    const Layout& layout = superblock_.layout;
    plan_.push_back({0, superblock_bytes, false});
    plan_.push_back({last_offset(), superblock_bytes, false});
    plan_flush();
    const uint64_t zero_end =
        options_.write_in_full ? last_offset() : layout.log_offset + layout.log_bytes;
    for (uint64_t at = superblock_bytes; at < zero_end; at += chunk_bytes)
      plan_.push_back({at, std::min(chunk_bytes, zero_end - at), false});
    plan_flush();
    plan_.push_back({0, superblock_bytes, true});
    plan_flush();
    plan_.push_back({last_offset(), superblock_bytes, true});
    plan_flush();
    if (options_.write_in_full) {
      next();
      return;
    }
    const uint64_t rest = layout.table_offset;
    disk_.discard(rest, last_offset() - rest, [self = shared_from_this()](Status status) {
      self->completed(std::move(status));
    });
  }

 private:
  struct Step {
    uint64_t offset;
    uint64_t size;  // 0: a flush
    bool superblock;
  };

  uint64_t last_offset() const { return superblock_.layout.device_bytes - superblock_bytes; }
  void plan_flush() { plan_.push_back({0, 0, false}); }

  void completed(Status status) {
    if (!status.ok()) {
      done_.call_once(std::move(status).error().with("formatting"));
      return;
    }
    next();
  }

  void next() {
    if (at_ == plan_.size()) {
      done_.call_once(superblock_);
      return;
    }
    const Step step = plan_[at_++];
    auto done = [self = shared_from_this()](Status status) { self->completed(std::move(status)); };
    if (options_.progress) options_.progress(step.offset, superblock_.layout.device_bytes);
    if (step.size == 0)
      disk_.flush(std::move(done));
    else
      disk_.write(step.offset, (step.superblock ? page_ : zeros_).bytes().first(step.size),
                  std::move(done));
  }

  io::Disk& disk_;
  Superblock superblock_;
  FormatOptions options_;
  Callback<void(Result<Superblock>)> done_;
  Buffer zeros_;
  Buffer page_;
  std::vector<Step> plan_;
  size_t at_ = 0;
};

Result<Superblock> plan_superblock(io::Host& host, const io::Disk& disk,
                                   const FormatOptions& options) {
  if (options.cluster == 0) return Error(Code::invalid, "a cluster id of 0 is no cluster");
  if (options.disk == 0 || options.disk >= limits::disks_max)
    return Error(Code::invalid, "disk ids go from 1 to " + std::to_string(limits::disks_max - 1));
  Superblock superblock;
  superblock.cluster = options.cluster;
  superblock.disk = options.disk;
  superblock.minor = options.minor;
  superblock.uuid = host.random.number() | 1;  // never 0
  superblock.created_ms = host.clock.wall_ms();
  if (options.layout)
    superblock.layout = *options.layout;
  else {
    SP_TRY(superblock.layout, plan_layout(disk.size_bytes(), options.minor));
  }
  SP_CHECK(check_layout(superblock.layout));
  if (superblock.layout.device_bytes > disk.size_bytes())
    return Error(Code::invalid, "the layout needs a larger device than this one");
  return superblock;
}

}  // namespace

void format(io::Host& host, io::Disk& disk, const FormatOptions& options,
            Callback<void(Result<Superblock>)> done) {
  Result<Superblock> superblock = plan_superblock(host, disk, options);
  if (!superblock.ok()) {
    struct Refusal {
      Error error;
      Callback<void(Result<Superblock>)> done;
    };
    auto refusal = std::make_unique<Refusal>(Refusal{superblock.error(), std::move(done)});
    host.reactor.post(
        [refusal = std::move(refusal)] { refusal->done.call_once(std::move(refusal->error)); });
    return;
  }
  std::make_shared<Formatter>(disk, *superblock, options, std::move(done))->start();
}

}  // namespace sp::disk
