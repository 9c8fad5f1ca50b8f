#include "io/memory_disk.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <vector>

#include "io/file_lock.h"

namespace sp::io {

namespace {

class MemoryDisk final : public Disk {
 public:
  MemoryDisk(Reactor& reactor, std::string path, OpenedFile file, std::byte* memory, bool read_only)
      : reactor_(reactor),
        path_(std::move(path)),
        file_(std::move(file)),
        memory_(memory),
        read_only_(read_only),
        present_((file_.size_bytes + piece_bytes - 1) / piece_bytes),
        completions_(std::make_shared<Completions>()) {}
  ~MemoryDisk() override {
    completions_->dropped = true;
    completions_->waiting.clear();
    munmap(memory_, file_.size_bytes);
  }

  // Finds the pieces that hold data. One that is there only in part, as another program may have
  // left it, is completed.
  Status find_present() {
    const auto end = static_cast<off_t>(file_.size_bytes);
    for (off_t at = 0; at < end;) {
      const off_t data = lseek(file_.fd.get(), at, SEEK_DATA);
      if (data < 0) break;
      off_t hole = lseek(file_.fd.get(), data, SEEK_HOLE);
      if (hole < 0 || hole > end) hole = end;
      const auto first = static_cast<uint64_t>(data) / piece_bytes;
      const auto last = (static_cast<uint64_t>(hole) + piece_bytes - 1) / piece_bytes;
      for (uint64_t piece = first; piece < last; ++piece) {
        const bool edge = piece == first || piece + 1 == last;
        if (edge && !read_only_) SP_CHECK(make_present(piece));
        present_[piece] = true;
      }
      at = hole;
    }
    return {};
  }

  uint64_t size_bytes() const override { return file_.size_bytes; }
  uint32_t alignment() const override { return 512; }

  void read(uint64_t offset, MutableBytes into, DiskDone done) override {
    check(offset, into.size(), into.data());
    if (!inside(offset, into.size()))
      return complete(beyond_end("read", offset, into.size()), std::move(done));
    while (!into.empty()) {
      const size_t size = std::min<uint64_t>(into.size(), piece_bytes - offset % piece_bytes);
      // Reading an absent page through the mapping would make one.
      if (present_[offset / piece_bytes])
        std::memcpy(into.data(), memory_ + offset, size);
      else
        std::memset(into.data(), 0, size);
      into = into.subspan(size);
      offset += size;
    }
    complete({}, std::move(done));
  }

  void write(uint64_t offset, Bytes from, DiskDone done) override {
    check(offset, from.size(), from.data());
    if (!inside(offset, from.size()))
      return complete(beyond_end("write", offset, from.size()), std::move(done));
    if (read_only_) return complete(not_writable("write"), std::move(done));
    for (uint64_t piece = offset / piece_bytes; piece * piece_bytes < offset + from.size();
         ++piece) {
      if (!present_[piece]) {
        if (auto status = make_present(piece); !status.ok())
          return complete(std::move(status), std::move(done));
      }
    }
    std::memcpy(memory_ + offset, from.data(), from.size());
    complete({}, std::move(done));
  }

  void flush(DiskDone done) override {
    complete(read_only_ ? not_writable("flush") : Status(), std::move(done));
  }

  void discard(uint64_t offset, uint64_t size, DiskDone done) override {
    check(offset, size, nullptr);
    if (!inside(offset, size))
      return complete(beyond_end("discard", offset, size), std::move(done));
    if (read_only_) return complete(not_writable("discard"), std::move(done));
    const uint64_t first = (offset + piece_bytes - 1) / piece_bytes;
    const uint64_t last = (offset + size) / piece_bytes;
    for (uint64_t piece = first; piece < last; ++piece) {
      if (!present_[piece]) continue;
      const auto at = static_cast<off_t>(piece * piece_bytes);
      if (fallocate(file_.fd.get(), FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, at, piece_bytes) ==
          0)
        present_[piece] = false;
    }
    complete({}, std::move(done));
  }

 private:
  static constexpr uint64_t piece_bytes = 64 << 10;
  struct Completion {
    DiskDone done;
    Status status;
  };
  struct Completions {
    std::vector<Completion> waiting;
    bool dropped = false;
  };

  static void check(uint64_t offset, uint64_t size, const void* memory) {
    SP_ASSERT_OP(size, >, 0u);
    SP_ASSERT_OP(offset % 512, ==, 0u);
    SP_ASSERT_OP(size % 512, ==, 0u);
    SP_ASSERT_OP(reinterpret_cast<uintptr_t>(memory) % 512, ==, 0u);
  }
  bool inside(uint64_t offset, uint64_t size) const {
    return offset <= file_.size_bytes && size <= file_.size_bytes - offset;
  }
  Error beyond_end(std::string_view name, uint64_t offset, uint64_t size) const {
    return {Code::invalid, fmt::format("{}: {} of {} bytes at {} is beyond the end ({} bytes)",
                                       path_, name, size, offset, file_.size_bytes)};
  }
  Error not_writable(std::string_view name) const {
    return {Code::refused, fmt::format("{}: {} on a disk opened for reading only", path_, name)};
  }

  // One post for all operations of a turn.
  void complete(Status status, DiskDone done) {
    if (completions_->waiting.empty()) {
      reactor_.post([completions = completions_] {
        auto batch = std::move(completions->waiting);
        completions->waiting.clear();
        for (auto& completion : batch) {
          if (completions->dropped) return;
          completion.done(std::move(completion.status));
        }
      });
    }
    completions_->waiting.push_back({std::move(done), std::move(status)});
  }

  Status make_present(uint64_t piece) {
    const uint64_t at = piece * piece_bytes;
    const uint64_t size = std::min(piece_bytes, file_.size_bytes - at);
    const int result =
        posix_fallocate(file_.fd.get(), static_cast<off_t>(at), static_cast<off_t>(size));
    if (result != 0)
      return Error(Code::no_space, system_error(path_, "take memory", result).message());
    present_[piece] = true;
    return {};
  }

  Reactor& reactor_;
  std::string path_;
  OpenedFile file_;
  std::byte* memory_;
  bool read_only_;
  std::vector<bool> present_;
  std::shared_ptr<Completions> completions_;
};

}  // namespace

Result<std::unique_ptr<Disk>> open_memory_disk(Reactor& reactor, const std::string& path,
                                               const OpenOptions& options) {
  SP_TRY(OpenedFile file, open_locked(path, options));
  if (file.is_block_device)
    return Error(Code::invalid, "memory:" + path + " is a block device: give a file on tmpfs");
  if (file.size_bytes == 0) return Error(Code::invalid, "memory:" + path + " is empty");
  const bool read_only = options.mode == OpenOptions::Mode::read_only;
  const int protection = read_only ? PROT_READ : PROT_READ | PROT_WRITE;
  void* memory = mmap(nullptr, file.size_bytes, protection, MAP_SHARED, file.fd.get(), 0);
  if (memory == MAP_FAILED) return system_error(path, "map", errno);
  auto disk = std::make_unique<MemoryDisk>(reactor, "memory:" + path, std::move(file),
                                           static_cast<std::byte*>(memory), read_only);
  SP_CHECK(disk->find_present());
  return std::unique_ptr<Disk>(std::move(disk));
}

}  // namespace sp::io
