#include "io/uring_disk.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/file.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <deque>

#include "io/file_lock.h"
#include "io/memory_disk.h"

namespace sp::io {

namespace {

enum class Kind : uint8_t { read, write, flush, discard };

class UringDisk final : public Disk {
 public:
  UringDisk(UringReactor& reactor, std::string path, OpenedFile file, uint32_t alignment,
            bool read_only)
      : reactor_(reactor),
        path_(std::move(path)),
        file_(std::move(file)),
        size_bytes_(file_.size_bytes / alignment * alignment),
        alignment_(alignment),
        read_only_(read_only) {}
  ~UringDisk() override;

  uint64_t size_bytes() const override { return size_bytes_; }
  uint32_t alignment() const override { return alignment_; }

  void read(uint64_t offset, MutableBytes into, DiskDone done) override {
    issue({Kind::read, offset, into.data(), into.size(), std::move(done)});
  }
  void write(uint64_t offset, Bytes from, DiskDone done) override {
    issue({Kind::write, offset, const_cast<std::byte*>(from.data()), from.size(), std::move(done)});
  }
  void flush(DiskDone done) override { issue({Kind::flush, 0, nullptr, 0, std::move(done)}); }
  void discard(uint64_t offset, uint64_t size, DiskDone done) override {
    issue({Kind::discard, offset, nullptr, size, std::move(done)});
  }

 private:
  struct Request {
    Kind kind = Kind::read;
    uint64_t offset = 0;
    std::byte* memory = nullptr;
    uint64_t size = 0;
    DiskDone done;
  };
  struct Operation : UringOperation {
    explicit Operation(UringDisk& the_disk)
        : UringOperation(&UringDisk::completed), disk(the_disk) {}
    UringDisk& disk;
    Request request;
    uint64_t progress = 0;
  };

  // Given to the kernel at once; beyond that requests wait here, where they can still be dropped.
  static constexpr size_t depth_max = 256;
  static constexpr uint64_t transfer_bytes_max =
      1u << 30;  // of one read or write; the kernel's own bound is a little below 2 GiB

  void issue(Request request);
  void start(Operation& operation);
  void submit(Operation& operation);
  static void completed(UringOperation& operation) {
    auto& own = static_cast<Operation&>(operation);
    own.disk.complete(own);
  }
  void complete(Operation& operation);
  Status outcome(const Operation& operation) const;

  UringReactor& reactor_;
  std::string path_;
  OpenedFile file_;
  uint64_t size_bytes_;
  uint32_t alignment_;
  bool read_only_;
  std::vector<std::unique_ptr<Operation>> operations_;
  std::vector<Operation*> idle_;
  std::deque<Request> waiting_;
};

constexpr int beyond_end = -ERANGE;  // no system call of ours answers this

UringDisk::~UringDisk() {
  std::vector<UringOperation*> busy;
  for (auto& operation : operations_) {
    if (operation->state != UringOperation::State::idle) busy.push_back(operation.get());
  }
  reactor_.abandon(busy);
  // All of them are over, but the kernel lets go of the file of the last ones later: closed alone,
  // it would stay locked against us, who may open it again at once.
  flock(file_.fd.get(), LOCK_UN);
}

void UringDisk::issue(Request request) {
  if (request.kind != Kind::flush) {
    SP_ASSERT_OP(request.size, >, 0u);
    SP_ASSERT_OP(request.offset % alignment_, ==, 0u);
    SP_ASSERT_OP(request.size % alignment_, ==, 0u);
    SP_ASSERT_OP(reinterpret_cast<uintptr_t>(request.memory) % alignment_, ==, 0u);
  }
  if (idle_.empty() && operations_.size() < depth_max) {
    operations_.push_back(std::make_unique<Operation>(*this));
    idle_.push_back(operations_.back().get());
  }
  if (idle_.empty()) {
    waiting_.push_back(std::move(request));
    return;
  }
  Operation* operation = idle_.back();
  idle_.pop_back();
  operation->request = std::move(request);
  start(*operation);
}

void UringDisk::start(Operation& operation) {
  const Request& request = operation.request;
  operation.progress = 0;
  if (request.offset > size_bytes_ || request.size > size_bytes_ - request.offset) {
    reactor_.complete_later(operation, beyond_end);
  } else if (read_only_ && request.kind != Kind::read) {
    reactor_.complete_later(operation, -EROFS);
  } else {
    submit(operation);
  }
}

void UringDisk::submit(Operation& operation) {
  const Request& request = operation.request;
  const int fd = file_.fd.get();
  const uint64_t offset = request.offset + operation.progress;
  std::byte* const memory = request.memory + operation.progress;
  const auto size =
      static_cast<unsigned>(std::min(request.size - operation.progress, transfer_bytes_max));
  io_uring_sqe* sqe = reactor_.entry();
  switch (request.kind) {
    case Kind::read: io_uring_prep_read(sqe, fd, memory, size, offset); break;
    case Kind::write: io_uring_prep_write(sqe, fd, memory, size, offset); break;
    case Kind::flush: io_uring_prep_fsync(sqe, fd, IORING_FSYNC_DATASYNC); break;
    case Kind::discard:
      io_uring_prep_fallocate(sqe, fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
                              static_cast<off_t>(request.offset), static_cast<off_t>(request.size));
      break;
  }
  reactor_.started(sqe, operation);
}

void UringDisk::complete(Operation& operation) {
  Request& request = operation.request;
  const bool transfers = request.kind == Kind::read || request.kind == Kind::write;
  if (operation.result == -EINTR || operation.result == -EAGAIN) return submit(operation);
  if (transfers && operation.result > 0) {
    operation.progress += static_cast<unsigned>(operation.result);
    // Direct I/O that ends inside a sector cannot be continued: outcome() reports it.
    if (operation.progress < request.size && operation.progress % alignment_ == 0)
      return submit(operation);
  }
  Status status = outcome(operation);
  DiskDone done = std::move(request.done);
  if (waiting_.empty()) {
    idle_.push_back(&operation);
  } else {
    operation.request = std::move(waiting_.front());
    waiting_.pop_front();
    start(operation);
  }
  done(std::move(status));
}

Status UringDisk::outcome(const Operation& operation) const {
  const Request& request = operation.request;
  constexpr std::string_view names[] = {"read", "write", "flush", "discard"};
  const auto name = names[static_cast<size_t>(request.kind)];
  const auto what = [&] {
    return fmt::format("{} of {} bytes at {}", name, request.size, request.offset);
  };
  if (operation.result == beyond_end) {
    return Error(Code::invalid,
                 fmt::format("{}: {} is beyond the end ({} bytes)", path_, what(), size_bytes_));
  }
  if (operation.result == -EROFS && read_only_) {
    return Error(Code::refused,
                 fmt::format("{}: {} on a disk opened for reading only", path_, name));
  }
  if (request.kind == Kind::discard)
    return {};  // a hint: what the device cannot do it leaves undone
  if (operation.result < 0) {
    const int number = -operation.result;
    const bool full = number == ENOSPC || number == EDQUOT;
    return Error(full ? Code::no_space : Code::io, system_error(path_, what(), number).message());
  }
  if (request.kind != Kind::flush && operation.progress < request.size) {
    return Error(Code::io,
                 fmt::format("{}: {} ended after {} bytes", path_, what(), operation.progress));
  }
  return {};
}

// The smallest unit in which this file can be read directly.
uint32_t probe_alignment(int fd) {
  void* memory = nullptr;
  if (posix_memalign(&memory, 4096, 4096) != 0) return 4096;
  const ssize_t got = pread(fd, memory, 512, 0);
  std::free(memory);
  return got < 0 ? 4096 : 512;
}

}  // namespace

Result<std::unique_ptr<Disk>> UringDiskOpener::open(const std::string& path,
                                                    const OpenOptions& options) {
  constexpr std::string_view memory_prefix = "memory:";
  if (path.starts_with(memory_prefix))
    return open_memory_disk(reactor_, path.substr(memory_prefix.size()), options);
  SP_TRY(OpenedFile file, open_locked(path, options));
  const int fd = file.fd.get();
  const bool direct = fcntl(fd, F_SETFL, O_DIRECT) == 0;
  uint32_t alignment = file.sector_bytes;
  if (direct && !file.is_block_device) alignment = probe_alignment(fd);
  if (!direct) {
    log_.warning("no direct I/O here: going through the page cache, with fdatasync at each flush",
                 {{"path", path}});
  }
  if (file.size_bytes < alignment) {
    return Error(Code::invalid,
                 fmt::format("{} is too small to be a disk: {} bytes", path, file.size_bytes));
  }
  const bool read_only = options.mode == OpenOptions::Mode::read_only;
  return std::unique_ptr<Disk>(
      std::make_unique<UringDisk>(reactor_, path, std::move(file), alignment, read_only));
}

}  // namespace sp::io
