#include "io/real_host.h"

#include <sys/eventfd.h>
#include <sys/random.h>
#include <sys/signalfd.h>
#include <time.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <cstring>
#include <mutex>

#include "io/file_lock.h"
#include "io/uring_disk.h"
#include "io/uring_net.h"
#include "io/uring_reactor.h"

namespace sp::io {

namespace {

class KernelClock final : public Clock {
 public:
  Instant now() const override { return {UringReactor::clock_ns()}; }
  int64_t wall_ms() const override {
    timespec time{};
    clock_gettime(CLOCK_REALTIME, &time);
    return int64_t{time.tv_sec} * 1000 + time.tv_nsec / 1'000'000;
  }
};

class KernelRandom final : public Random {
 public:
  void fill(MutableBytes out) override {
    while (!out.empty()) {
      const ssize_t got = getrandom(out.data(), out.size(), 0);
      SP_ASSERT(got > 0 || errno == EINTR);
      if (got > 0) out = out.subspan(static_cast<size_t>(got));
    }
  }
};

Log make_log(const RealHostOptions& options) {
  if (options.log_sink) return {options.name, options.log_least, options.log_sink};
  return Log::to_stderr(options.name, options.log_least);
}

}  // namespace

struct RealHost::Parts {
  Parts(RealHostOptions options, std::unique_ptr<UringReactor> made, OwnedFd wake_fd)
      : log(make_log(options)),
        reactor(std::move(made)),
        disks(*reactor, log),
        net(*reactor, log),
        host{clock, *reactor, random, disks, net, log},
        wake(std::move(wake_fd)) {
    wake_watch = reactor->watch_readable(wake.get(), [this] { take_from_others(); });
  }
  ~Parts() {
    signal_watch.reset();
    wake_watch.reset();
  }

  void take_from_others() {
    uint64_t count = 0;
    [[maybe_unused]] const ssize_t got = read(wake.get(), &count, sizeof count);
    std::vector<Callback<void()>> work;
    {
      const std::lock_guard guard(others_lock);
      work.swap(from_others);
    }
    for (auto& one : work) reactor->post(std::move(one));
  }

  void take_signal() {
    signalfd_siginfo information{};
    while (read(signals.get(), &information, sizeof information) ==
           static_cast<ssize_t>(sizeof information)) {
      const auto number = static_cast<int>(information.ssi_signo);
      // The callback may replace itself: it runs from a place of its own.
      const auto running = on_signal;
      (*running)(number);
    }
  }

  KernelClock clock;
  KernelRandom random;
  Log log;
  std::unique_ptr<UringReactor> reactor;
  UringDiskOpener disks;
  UringNet net;
  Host host;
  bool stopping = false;

  OwnedFd wake;
  std::unique_ptr<FdWatch> wake_watch;
  std::mutex others_lock;
  std::vector<Callback<void()>> from_others;

  OwnedFd signals;
  std::unique_ptr<FdWatch> signal_watch;
  std::shared_ptr<Callback<void(int)>> on_signal;
};

Result<std::unique_ptr<RealHost>> RealHost::create(RealHostOptions options) {
  SP_TRY(auto reactor, UringReactor::create(options.spin));
  OwnedFd wake(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
  if (wake.get() < 0)
    return Error(Code::failed, std::string("no eventfd: ") + std::strerror(errno));
  auto parts = std::make_unique<Parts>(std::move(options), std::move(reactor), std::move(wake));
  return std::unique_ptr<RealHost>(new RealHost(std::move(parts)));
}

RealHost::RealHost(std::unique_ptr<Parts> parts) : parts_(std::move(parts)) {}
RealHost::~RealHost() = default;

Host& RealHost::host() { return parts_->host; }
FdWatcher& RealHost::watcher() { return *parts_->reactor; }

void RealHost::run() {
  while (!parts_->stopping) parts_->reactor->turn(INT64_MAX);
  parts_->stopping = false;
}

void RealHost::stop() { parts_->stopping = true; }

bool RealHost::run_until(const std::function<bool()>& predicate, Duration limit) {
  const int64_t end_ns = UringReactor::clock_ns() + limit.count();
  while (!predicate()) {
    if (UringReactor::clock_ns() >= end_ns) return false;
    parts_->reactor->turn(end_ns);
  }
  return true;
}

void RealHost::post_from_other_thread(Callback<void()> work) {
  bool first = false;
  {
    const std::lock_guard guard(parts_->others_lock);
    first = parts_->from_others.empty();
    parts_->from_others.push_back(std::move(work));
  }
  if (!first) return;
  const uint64_t one = 1;
  const ssize_t written = write(parts_->wake.get(), &one, sizeof one);
  SP_ASSERT(written == static_cast<ssize_t>(sizeof one) || errno == EAGAIN);
}

Status RealHost::on_signal(std::initializer_list<int> signals, Callback<void(int)> callback) {
  sigset_t set;
  sigemptyset(&set);
  for (const int signal : signals) sigaddset(&set, signal);
  if (const int number = pthread_sigmask(SIG_BLOCK, &set, nullptr); number != 0) {
    return Error(Code::invalid,
                 std::string("these signals cannot be blocked: ") + std::strerror(number));
  }
  OwnedFd fd(signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK));
  if (fd.get() < 0) return Error(Code::failed, std::string("no signalfd: ") + std::strerror(errno));
  parts_->on_signal = std::make_shared<Callback<void(int)>>(std::move(callback));
  parts_->signal_watch.reset();
  parts_->signals = std::move(fd);
  parts_->signal_watch = parts_->reactor->watch_readable(
      parts_->signals.get(), [parts = parts_.get()] { parts->take_signal(); });
  return {};
}

}  // namespace sp::io
