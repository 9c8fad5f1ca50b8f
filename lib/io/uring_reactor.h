// UringReactor: the event loop of a real host over one io_uring. A turn enters the kernel once, to
// submit everything that the last turn prepared and to wait for the next event; then it dispatches
// what completed, fires due timers, and runs what was posted, also by that itself (up to a bound),
// and at last what was to come last. An operation record belongs to its
// Disk or Socket and stays where it is until the kernel has let go: abandon() cancels and waits for
// that, so destructors may free the memory that the operation named. For the uring_*.cc files and
// real_host.cc only.
#pragma once
#include <liburing.h>

#include <functional>
#include <memory>
#include <span>
#include <vector>

#include "base/result.h"
#include "io/fd_watch.h"
#include "io/reactor.h"
#include "io/timer_queue.h"

namespace sp::io {

struct UringOperation {
  enum class State : uint8_t { idle, in_kernel, ready };
  using Complete = void (*)(UringOperation&);

  explicit UringOperation(Complete function) : complete(function) {}
  UringOperation(const UringOperation&) = delete;
  UringOperation& operator=(const UringOperation&) = delete;

  Complete complete;  // runs on the reactor; state is idle again by then
  State state = State::idle;
  int result = 0;  // as a system call's, errors negative
  uint32_t flags = 0;
};

class UringReactor final : public Reactor, public FdWatcher {
 public:
  static Result<std::unique_ptr<UringReactor>> create(Duration spin);
  ~UringReactor() override;

  void post(Callback<void()> work) override;
  void post_last(Callback<void()> work) override;
  std::unique_ptr<FdWatch> watch_readable(int fd, Callback<void()> ready) override;
  std::unique_ptr<FdWatch> watch_writable(int fd, Callback<void()> ready) override;

  // One turn; waits for an event until `until_ns` of the monotonic clock at most, not at all when
  // work is at hand.
  void turn(int64_t until_ns);

  // A submission entry for this idle operation: the caller fills it at once with an io_uring_prep_*
  // call, then calls started().
  io_uring_sqe* entry();
  void started(io_uring_sqe* sqe, UringOperation& operation);
  // Completes in the next turn without the kernel.
  void complete_later(UringOperation& operation, int result);
  // None of these completes any more, and the kernel does not use their memory. May block while a
  // device holds on to its operations.
  void abandon(std::span<UringOperation* const> operations);

  static int64_t clock_ns();

 private:
  UringReactor() = default;
  Status set_up(Duration spin);
  uint64_t timer_start(Duration delay, Callback<void()> fire) override;
  void timer_cancel(uint64_t id) override;
  void dispatch_ready();
  void fire_timers();
  void run_posted();
  void enter(int64_t until_ns);
  void reap();
  bool spin_for_completion(int64_t until_ns);
  void wait(int64_t until_ns);

  static constexpr unsigned submission_entries = 1024;
  static constexpr unsigned completion_entries = 8192;

  io_uring ring_{};
  bool ring_made_ = false;
  int64_t spin_ns_ = 0;
  TimerQueue timers_;
  std::vector<Callback<void()>> posted_;
  std::vector<Callback<void()>> last_;
  std::vector<Callback<void()>> running_;
  std::vector<UringOperation*> ready_;  // abandoned ones are null
  std::vector<UringOperation*> dispatching_;
};

}  // namespace sp::io
