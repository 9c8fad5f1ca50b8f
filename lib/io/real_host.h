// RealHost: the seam over Linux: an io_uring reactor, the kernel's clock, randomness and TCP, disks
// on files, block devices and memory. One thread: create, run and destroy on the same one; only
// post_from_other_thread() may be called from elsewhere. Several RealHosts may live in one process,
// each with its own thread. All objects made through host() must be gone before the RealHost is.
#pragma once
#include <functional>
#include <initializer_list>
#include <memory>
#include <string>

#include "io/fd_watch.h"
#include "io/host.h"

namespace sp::io {

struct RealHostOptions {
  std::string name = "sp";
  LogLevel log_least = LogLevel::info;
  Log::Sink log_sink;  // none: standard error
  Duration spin{0};  // poll for so long, yielding the core, before blocking: buys latency with CPU
};

class RealHost {
 public:
  // Code::failed with what the kernel lacks, and how to get it.
  static Result<std::unique_ptr<RealHost>> create(RealHostOptions options = {});
  ~RealHost();

  Host& host();
  FdWatcher& watcher();

  // Serves events until stop() is called, from this thread; a stop() before run() makes that return
  // at once.
  void run();
  void stop();
  // For commands and tests: serves until the predicate holds (asked once per turn): true; or
  // `limit` has passed.
  bool run_until(const std::function<bool()>& predicate, Duration limit);

  // Runs `work` on the reactor's thread. Its captures must be safe to move across threads. Any
  // thread, also before run(); not after destruction began.
  void post_from_other_thread(Callback<void()> work);

  // Blocks these signals for this thread and those it starts from now on, and calls back with each
  // that comes. Replaces the previous one.
  Status on_signal(std::initializer_list<int> signals, Callback<void(int)> callback);

 private:
  struct Parts;
  explicit RealHost(std::unique_ptr<Parts> parts);
  std::unique_ptr<Parts> parts_;
};

}  // namespace sp::io
