#include "io/uring_reactor.h"

#include <fmt/format.h>
#include <poll.h>
#include <sched.h>
#include <time.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <string>

namespace sp::io {

namespace {

struct NeededOperation {
  int code;
  std::string_view name;
};
// Posted work that posts more is let go on so often before the kernel is entered.
constexpr int posted_rounds_max = 8;

constexpr NeededOperation needed_operations[] = {
    {IORING_OP_READ, "READ"},
    {IORING_OP_WRITE, "WRITE"},
    {IORING_OP_FSYNC, "FSYNC"},
    {IORING_OP_FALLOCATE, "FALLOCATE"},
    {IORING_OP_ACCEPT, "ACCEPT"},
    {IORING_OP_CONNECT, "CONNECT"},
    {IORING_OP_RECV, "RECV"},
    {IORING_OP_SEND, "SEND"},
    {IORING_OP_SENDMSG, "SENDMSG"},
    {IORING_OP_POLL_ADD, "POLL_ADD"},
    {IORING_OP_ASYNC_CANCEL, "ASYNC_CANCEL"},
};

Status check_abilities(io_uring& ring) {
  std::string missing;
  const auto need = [&](bool there, std::string_view name) {
    if (!there) missing.append(missing.empty() ? "" : ", ").append(name);
  };
  need((ring.features & IORING_FEAT_EXT_ARG) != 0, "EXT_ARG");
  need((ring.features & IORING_FEAT_NODROP) != 0, "NODROP");
  io_uring_probe* probe = io_uring_get_probe_ring(&ring);
  if (probe == nullptr)
    return Error(Code::failed,
                 "io_uring cannot be probed: this kernel is too old, 5.19 or later is needed");
  for (const auto& operation : needed_operations)
    need(io_uring_opcode_supported(probe, operation.code), operation.name);
  io_uring_free_probe(probe);
  if (missing.empty()) return {};
  return Error(Code::failed,
               "this kernel's io_uring lacks " + missing + ": kernel 5.19 or later is needed");
}

// One watch: poll once, call back, poll again. The state outlives a watch that is destroyed inside
// its callback.
class UringWatch final : public FdWatch {
 public:
  UringWatch(UringReactor& reactor, int fd, uint32_t events, Callback<void()> ready)
      : state_(std::make_shared<State>(reactor, fd, events, std::move(ready))) {
    state_->arm();
  }
  ~UringWatch() override {
    state_->ended = true;
    UringOperation* const operation[] = {state_.get()};
    state_->reactor.abandon(operation);
  }

 private:
  struct State : UringOperation, std::enable_shared_from_this<State> {
    State(UringReactor& the_reactor, int the_fd, uint32_t the_events, Callback<void()> callback)
        : UringOperation(&completed),
          reactor(the_reactor),
          fd(the_fd),
          events(the_events),
          ready(std::move(callback)) {}
    void arm() {
      io_uring_sqe* sqe = reactor.entry();
      io_uring_prep_poll_add(sqe, fd, events);
      reactor.started(sqe, *this);
    }
    static void completed(UringOperation& operation) {
      const auto self = static_cast<State&>(operation).shared_from_this();
      self->ready();
      if (!self->ended) self->arm();
    }
    UringReactor& reactor;
    int fd;
    uint32_t events;
    bool ended = false;
    Callback<void()> ready;
  };
  std::shared_ptr<State> state_;
};

}  // namespace

int64_t UringReactor::clock_ns() {
  timespec time{};
  clock_gettime(CLOCK_MONOTONIC, &time);
  return int64_t{time.tv_sec} * 1'000'000'000 + time.tv_nsec;
}

Result<std::unique_ptr<UringReactor>> UringReactor::create(Duration spin) {
  std::unique_ptr<UringReactor> reactor(new UringReactor());
  SP_CHECK(reactor->set_up(spin));
  return reactor;
}

Status UringReactor::set_up(Duration spin) {
  spin_ns_ = spin.count();
  // Best first: completions are only worked off when we enter, on this thread.
  constexpr unsigned common = IORING_SETUP_CQSIZE | IORING_SETUP_CLAMP;
  constexpr unsigned choices[] = {
      common | IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN | IORING_SETUP_TASKRUN_FLAG |
          IORING_SETUP_SUBMIT_ALL,
      common | IORING_SETUP_COOP_TASKRUN | IORING_SETUP_TASKRUN_FLAG | IORING_SETUP_SUBMIT_ALL,
      common,
  };
  int result = -EINVAL;
  for (const unsigned flags : choices) {
    io_uring_params parameters{};
    parameters.flags = flags;
    parameters.cq_entries = completion_entries;
    result = io_uring_queue_init_params(submission_entries, &ring_, &parameters);
    if (result != -EINVAL) break;
  }
  if (result == -ENOSYS) {
    return Error(
        Code::failed,
        "io_uring is not in this kernel: a kernel of 5.19 or later with CONFIG_IO_URING is needed");
  }
  if (result == -EPERM) {
    return Error(Code::failed,
                 "io_uring is forbidden here: set the sysctl kernel.io_uring_disabled to 0, and "
                 "let the container's seccomp "
                 "profile allow io_uring_setup");
  }
  if (result == -ENOMEM) {
    return Error(
        Code::no_space,
        "no memory for the io_uring: raise the limit on locked memory (LimitMEMLOCK= in the unit)");
  }
  if (result < 0)
    return Error(Code::failed,
                 fmt::format("io_uring cannot be set up: {}", std::strerror(-result)));
  ring_made_ = true;
  io_uring_ring_dontfork(&ring_);
  // Saves the look-up of the ring's descriptor on each entry; where it is not to be had, nothing is
  // lost.
  io_uring_register_ring_fd(&ring_);
  timers_.advance(clock_ns());
  return check_abilities(ring_);
}

UringReactor::~UringReactor() {
  // What never ran may own Timers and the like, which come back here: they go first.
  running_.clear();
  while (!posted_.empty() || !last_.empty()) {
    const auto dropped = std::exchange(posted_, {});
    const auto dropped_last = std::exchange(last_, {});
  }
  timers_.cancel_owner(0);
  if (ring_made_) io_uring_queue_exit(&ring_);
}

void UringReactor::post(Callback<void()> work) { posted_.push_back(std::move(work)); }

void UringReactor::post_last(Callback<void()> work) { last_.push_back(std::move(work)); }

std::unique_ptr<FdWatch> UringReactor::watch_readable(int fd, Callback<void()> ready) {
  return std::make_unique<UringWatch>(*this, fd, POLLIN, std::move(ready));
}

std::unique_ptr<FdWatch> UringReactor::watch_writable(int fd, Callback<void()> ready) {
  return std::make_unique<UringWatch>(*this, fd, POLLOUT, std::move(ready));
}

uint64_t UringReactor::timer_start(Duration delay, Callback<void()> fire) {
  constexpr int64_t delay_max_ns = int64_t{1} << 61;
  const int64_t delay_ns = std::clamp<int64_t>(delay.count(), 0, delay_max_ns);
  // Never in the turn that is running.
  const int64_t time_ns = std::max(clock_ns() + delay_ns, timers_.now_ns() + 1);
  return timers_.add(time_ns, {}, std::move(fire));
}

void UringReactor::timer_cancel(uint64_t id) { timers_.cancel(id); }

io_uring_sqe* UringReactor::entry() {
  io_uring_sqe* sqe = io_uring_get_sqe(&ring_);
  while (sqe == nullptr) {
    const int result = io_uring_submit(&ring_);
    SP_ASSERT(result >= 0 || result == -EAGAIN || result == -EINTR || result == -EBUSY);
    reap();
    sqe = io_uring_get_sqe(&ring_);
  }
  return sqe;
}

void UringReactor::started(io_uring_sqe* sqe, UringOperation& operation) {
  SP_ASSERT_OP(operation.state, ==, UringOperation::State::idle);
  operation.state = UringOperation::State::in_kernel;
  io_uring_sqe_set_data(sqe, &operation);
}

void UringReactor::complete_later(UringOperation& operation, int result) {
  SP_ASSERT_OP(operation.state, ==, UringOperation::State::idle);
  operation.state = UringOperation::State::ready;
  operation.result = result;
  operation.flags = 0;
  ready_.push_back(&operation);
}

void UringReactor::abandon(std::span<UringOperation* const> operations) {
  bool waiting = false;
  for (UringOperation* operation : operations) {
    if (operation->state != UringOperation::State::in_kernel) continue;
    io_uring_sqe* sqe = entry();
    io_uring_prep_cancel(sqe, operation, 0);
    io_uring_sqe_set_data(sqe, nullptr);
    waiting = true;
  }
  while (waiting) {
    waiting =
        std::any_of(operations.begin(), operations.end(), [](const UringOperation* operation) {
          return operation->state == UringOperation::State::in_kernel;
        });
    if (!waiting) break;
    const int result = io_uring_submit_and_wait(&ring_, 1);
    SP_ASSERT(result >= 0 || result == -EAGAIN || result == -EINTR || result == -EBUSY);
    reap();
  }
  for (UringOperation* operation : operations) {
    if (operation->state != UringOperation::State::ready) continue;
    std::replace(ready_.begin(), ready_.end(), operation, static_cast<UringOperation*>(nullptr));
    std::replace(dispatching_.begin(), dispatching_.end(), operation,
                 static_cast<UringOperation*>(nullptr));
    operation->state = UringOperation::State::idle;
  }
}

void UringReactor::reap() {
  unsigned head = 0;
  unsigned count = 0;
  io_uring_cqe* cqe = nullptr;
  io_uring_for_each_cqe(&ring_, head, cqe) {
    ++count;
    auto* operation = static_cast<UringOperation*>(io_uring_cqe_get_data(cqe));
    if (operation == nullptr) continue;  // the answer to a cancellation
    operation->state = UringOperation::State::ready;
    operation->result = cqe->res;
    operation->flags = cqe->flags;
    ready_.push_back(operation);
  }
  io_uring_cq_advance(&ring_, count);
}

void UringReactor::dispatch_ready() {
  std::swap(dispatching_, ready_);
  for (size_t i = 0; i < dispatching_.size(); ++i) {
    UringOperation* operation = std::exchange(dispatching_[i], nullptr);
    if (operation == nullptr) continue;
    operation->state = UringOperation::State::idle;
    operation->complete(*operation);
  }
  dispatching_.clear();
}

void UringReactor::fire_timers() {
  if (timers_.size() == 0) return;
  const int64_t now_ns = clock_ns();
  TimerQueue::Entry entry;
  while (timers_.take(now_ns, entry)) entry.work.call_once();
  timers_.advance(std::max(now_ns, timers_.now_ns()));
}

void UringReactor::run_posted() {
  const auto run = [this](std::vector<Callback<void()>>& list) {
    std::swap(running_, list);
    for (auto& work : running_) work.call_once();
    running_.clear();
  };
  for (int round = 0; round < posted_rounds_max && !posted_.empty(); ++round) run(posted_);
  run(last_);
}

void UringReactor::turn(int64_t until_ns) {
  enter(until_ns);
  dispatch_ready();
  fire_timers();
  run_posted();
}

void UringReactor::enter(int64_t until_ns) {
  if (!posted_.empty() || !last_.empty() || !ready_.empty()) until_ns = 0;
  if (timers_.size() > 0) until_ns = std::min(until_ns, timers_.next_time_ns());
  const bool at_hand = until_ns <= 0 || io_uring_cq_ready(&ring_) > 0;
  if (at_hand) {
    const bool kernel_has_news =
        (*ring_.sq.kflags & (IORING_SQ_TASKRUN | IORING_SQ_CQ_OVERFLOW)) != 0;
    if (io_uring_sq_ready(&ring_) > 0 || kernel_has_news) io_uring_submit_and_get_events(&ring_);
  } else if (spin_ns_ == 0 || !spin_for_completion(until_ns)) {
    wait(until_ns);
  }
  reap();
}

bool UringReactor::spin_for_completion(int64_t until_ns) {
  const int64_t end_ns = std::min(until_ns, clock_ns() + spin_ns_);
  do {
    const bool kernel_has_news =
        (*ring_.sq.kflags & (IORING_SQ_TASKRUN | IORING_SQ_CQ_OVERFLOW)) != 0;
    if (io_uring_sq_ready(&ring_) > 0 || kernel_has_news) io_uring_submit_and_get_events(&ring_);
    if (io_uring_cq_ready(&ring_) > 0) return true;
    sched_yield();
  } while (clock_ns() < end_ns);
  return clock_ns() >= until_ns;
}

void UringReactor::wait(int64_t until_ns) {
  io_uring_cqe* cqe = nullptr;
  if (until_ns == INT64_MAX) {
    const int result = io_uring_submit_and_wait(&ring_, 1);
    SP_ASSERT(result >= 0 || result == -EAGAIN || result == -EINTR || result == -EBUSY);
    return;
  }
  const int64_t wait_ns = std::max<int64_t>(until_ns - clock_ns(), 0);
  __kernel_timespec timeout{wait_ns / 1'000'000'000, wait_ns % 1'000'000'000};
  const int result = io_uring_submit_and_wait_timeout(&ring_, &cqe, 1, &timeout, nullptr);
  SP_ASSERT(result >= 0 || result == -ETIME || result == -EAGAIN || result == -EINTR ||
            result == -EBUSY);
}

}  // namespace sp::io
