// Opens files and block devices as Disks over a UringReactor, and "memory:PATH" as a MemoryDisk.
// For real_host.cc only. Direct I/O where the file system takes it; else through the page cache,
// with fdatasync as flush, and the log says so. Held by flock, block devices also by O_EXCL (which
// refuses mounted ones).
#pragma once
#include "base/log.h"
#include "io/disk.h"
#include "io/uring_reactor.h"

namespace sp::io {

class UringDiskOpener final : public DiskOpener {
 public:
  UringDiskOpener(UringReactor& reactor, Log& log) : reactor_(reactor), log_(log) {}
  Result<std::unique_ptr<Disk>> open(const std::string& path, const OpenOptions& options) override;

 private:
  UringReactor& reactor_;
  Log& log_;
};

}  // namespace sp::io
