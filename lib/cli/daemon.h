// Running a service: one RealHost, its signals, its word to systemd, its exit code.
//
//   cli::DaemonOptions daemon;   daemon.add(options);   ... options.parse ...
//   return cli::run_daemon("sp-beacon", daemon, [&](cli::Daemon& daemon) ->
//   Result<std::shared_ptr<void>> {
//     SP_TRY(auto service, beacon::Beacon::start(daemon.host(), ...));
//     daemon.ready("votes as node 3");
//     return std::shared_ptr<void>(std::move(service));
//   });
//
// What `start` returns is destroyed before the host is. SIGTERM, SIGINT and SIGHUP end the service
// in order (exit code 0): `on_stop`, when set, is asked first and calls finish() when it is done; a
// second signal ends it at once. The process tells systemd (sd_notify(3)) when it is ready and when
// it stops.
#pragma once
#include <functional>
#include <memory>
#include <string>

#include "base/callback.h"
#include "base/result.h"
#include "cli/options.h"
#include "io/host.h"

namespace sp::io {
class RealHost;
}

namespace sp::cli {

// --verbose, --spin: what all services share.
struct DaemonOptions {
  bool verbose = false;
  bool once = false;  // ends by itself, used like a command: logs warnings only
  std::chrono::microseconds spin{0};
  void add(Options& options);
};

class Daemon {
 public:
  Daemon(io::RealHost& real, std::string name) : real_(real), name_(std::move(name)) {}

  io::Host& host();
  io::RealHost& real() { return real_; }
  // The service does its work from now on; `status` is shown by systemctl status. Later calls only
  // change the status.
  void ready(const std::string& status);
  // Ends the service: with success, or with an error that is printed and decides the exit code.
  void finish(Status status = {});
  // Asked when a signal wants the service to end; it calls finish() in its own time.
  Callback<void()> on_stop;

 private:
  friend int run_daemon(const std::string&, const DaemonOptions&,
                        const std::function<Result<std::shared_ptr<void>>(Daemon&)>&);
  void signalled(int signal);
  io::RealHost& real_;
  std::string name_;
  Status outcome_;
  bool stopping_ = false, ready_ = false, finished_ = false;
};

// Returns the process's exit code. `start` runs on the reactor's thread, before its first turn.
int run_daemon(const std::string& name, const DaemonOptions& options,
               const std::function<Result<std::shared_ptr<void>>(Daemon&)>& start);

// Tells systemd, when it listens (NOTIFY_SOCKET): "READY=1", "STATUS=...", "STOPPING=1".
void notify_supervisor(const std::string& message);

}  // namespace sp::cli
