// CountedDisk: a Disk that counts what is asked of it, for statistics. Passes everything on; costs
// one indirect call.
#pragma once
#include <memory>

#include "io/disk.h"

namespace sp::io {

struct DiskCounts {
  uint64_t reads = 0, bytes_read = 0;
  uint64_t writes = 0, bytes_written = 0;
  uint64_t flushes = 0, discards = 0;
};

// `counts` is shared, since whoever shows it does not own the disk.
std::unique_ptr<Disk> count(std::unique_ptr<Disk> disk, std::shared_ptr<DiskCounts> counts);

}  // namespace sp::io
