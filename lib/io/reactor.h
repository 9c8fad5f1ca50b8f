// Reactor: the one thread of a service, as the service sees it. Work is posted to it, timers fire
// on it, all completions of Disk and Net run on it; nothing is ever called from inside the call
// that started it. Implementations: UringReactor, and SimWorld's hosts. A Timer is owned by whoever
// armed it; destroying or re-arming it cancels it. No Timer may outlive its Reactor.
#pragma once
#include <cstdint>

#include "base/callback.h"
#include "io/clock.h"

namespace sp::io {

class Timer;

class Reactor {
 public:
  virtual ~Reactor() = default;
  // Runs `work` in a later turn, in the order of posting. Only from the reactor's own thread.
  virtual void post(Callback<void()> work) = 0;
  // Runs `work` once nothing else is at hand: what it would do for one of them now, it can do for
  // all of them then. May run as early as posted work.
  virtual void post_last(Callback<void()> work) { post(std::move(work)); }
  // Runs `work` once, in `delay` at the earliest. It cannot be taken back: it has to see for itself
  // whether it is still wanted.
  void later(Duration delay, Callback<void()> work) { timer_start(delay, std::move(work)); }

 protected:
  friend class Timer;
  virtual uint64_t timer_start(Duration delay, Callback<void()> fire) = 0;  // an id, never 0
  virtual void timer_cancel(uint64_t id) = 0;
};

class Timer {
 public:
  explicit Timer(Reactor& reactor) : reactor_(reactor) {}
  ~Timer() { cancel(); }
  Timer(const Timer&) = delete;
  Timer& operator=(const Timer&) = delete;

  // Fires once, `delay` from now at the earliest (in a later turn, also for a delay of 0). Replaces
  // what was armed before.
  void arm(Duration delay, Callback<void()> fire) {
    cancel();
    fire_ = std::move(fire);
    id_ = reactor_.timer_start(delay, [this] {
      id_ = 0;
      fire_.call_once();
    });
  }
  void cancel() {
    if (id_ != 0) reactor_.timer_cancel(std::exchange(id_, 0));
    fire_.reset();
  }
  bool armed() const { return id_ != 0; }

 private:
  Reactor& reactor_;
  uint64_t id_ = 0;
  Callback<void()> fire_;
};

}  // namespace sp::io
