// What MemoryDisk and the disks on files share: opening with creation and lock. For the real
// implementations only.
#pragma once
#include <string>
#include <utility>

#include "base/result.h"
#include "io/disk.h"

namespace sp::io {

// A file descriptor that closes itself.
class OwnedFd {
 public:
  explicit OwnedFd(int fd = -1) : fd_(fd) {}
  OwnedFd(OwnedFd&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
  OwnedFd& operator=(OwnedFd&& other) noexcept {
    std::swap(fd_, other.fd_);
    return *this;
  }
  ~OwnedFd();
  int get() const { return fd_; }

 private:
  int fd_;
};

struct OpenedFile {
  OwnedFd fd;
  bool is_block_device = false;
  uint64_t size_bytes = 0;
  uint32_t sector_bytes = 512;
};

// Opens as DiskOpener::open() promises, locked, without direct I/O. A file just created has its
// size and its name is durable.
Result<OpenedFile> open_locked(const std::string& path, const OpenOptions& options);

// "PATH: what: strerror", with the code that suits the errno.
Error system_error(const std::string& path, std::string_view what, int error_number);

}  // namespace sp::io
