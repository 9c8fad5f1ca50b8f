#include "cli/daemon.h"

#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>
#include <csignal>
#include <cstdlib>
#include <cstring>

#include "cli/exit_code.h"
#include "io/real_host.h"

namespace sp::cli {

void DaemonOptions::add(Options& options) {
  options.flag("--verbose", verbose, "Log debug messages too.");
  options.duration("--spin", spin, "Poll for so long before sleeping: lower latency for more CPU.");
  options.check([this]() -> Status {
    if (spin > std::chrono::milliseconds(10)) return Error(Code::invalid, "--spin: at most 10ms");
    return {};
  });
}

void notify_supervisor(const std::string& message) {
  const char* path = std::getenv("NOTIFY_SOCKET");
  if (path == nullptr || (path[0] != '/' && path[0] != '@')) return;
  sockaddr_un address{};
  const size_t length = std::strlen(path);
  if (length >= sizeof address.sun_path) return;
  address.sun_family = AF_UNIX;
  std::memcpy(address.sun_path, path, length);
  if (path[0] == '@') address.sun_path[0] = '\0';  // the abstract namespace: unix(7)
  const int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  if (fd < 0) return;
  // Nobody listening is no fault of ours: the service runs on.
  (void)sendto(fd, message.data(), message.size(), MSG_NOSIGNAL,
               reinterpret_cast<const sockaddr*>(&address),
               static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + length));
  close(fd);
}

io::Host& Daemon::host() { return real_.host(); }

void Daemon::ready(const std::string& status) {
  notify_supervisor((ready_ ? "STATUS=" : "READY=1\nSTATUS=") + status);
  if (!ready_) host().log.info("ready", {{"status", status}});
  ready_ = true;
}

void Daemon::finish(Status status) {
  if (finished_) return;
  finished_ = true;
  outcome_ = std::move(status);
  notify_supervisor("STOPPING=1");
  real_.stop();
}

void Daemon::signalled(int signal) {
  if (stopping_ || !on_stop) return finish();
  stopping_ = true;
  host().log.info("stopping", {{"signal", signal}});
  notify_supervisor("STOPPING=1");
  on_stop();
}

int run_daemon(const std::string& name, const DaemonOptions& options,
               const std::function<Result<std::shared_ptr<void>>(Daemon&)>& start) {
  io::RealHostOptions host_options;
  host_options.name = name;
  host_options.log_least = options.verbose ? LogLevel::debug
                           : options.once  ? LogLevel::warning
                                           : LogLevel::info;
  host_options.spin = options.spin;
  auto real = io::RealHost::create(std::move(host_options));
  if (!real.ok()) return fail(name, real.error());
  Daemon daemon(**real, name);
  const Status signals = (*real)->on_signal({SIGTERM, SIGINT, SIGHUP},
                                            [&daemon](int signal) { daemon.signalled(signal); });
  if (!signals.ok()) return fail(name, signals.error());
  std::signal(SIGPIPE,
              SIG_IGN);  // a peer that is gone is an error of the write, not the end of the process
  auto service = start(daemon);
  if (!service.ok()) return fail(name, service.error());
  if (!daemon.finished_) (*real)->run();
  daemon.on_stop.reset();
  service = std::shared_ptr<void>();
  return daemon.outcome_.ok() ? exit_done : fail(name, daemon.outcome_.error());
}

}  // namespace sp::cli
