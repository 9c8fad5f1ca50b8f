// FdWatcher: readiness of file descriptors that are not sockets or disks of the seam: /dev/fuse,
// kernel sockets of NBD, a child's pipe. Real host only: what it feeds must hand its requests on as
// plain calls, so that the simulator can make them as well. Level-triggered: the callback runs
// again in a later turn while the descriptor stays ready. Destroying the watch ends it, also from
// within the callback. The descriptor stays the caller's, who closes it after the watch. Thread
// rule: the reactor's thread.
#pragma once
#include <memory>

#include "base/callback.h"

namespace sp::io {

class FdWatch {
 public:
  virtual ~FdWatch() = default;
};

class FdWatcher {
 public:
  virtual ~FdWatcher() = default;
  // "Readable" and "writable" include errors and hang-ups: the caller's read or write will say.
  [[nodiscard]] virtual std::unique_ptr<FdWatch> watch_readable(int fd, Callback<void()> ready) = 0;
  [[nodiscard]] virtual std::unique_ptr<FdWatch> watch_writable(int fd, Callback<void()> ready) = 0;
};

}  // namespace sp::io
