// Which ways to make a block device work on this machine, and the drivers for them.
#pragma once
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "attach/driver.h"

namespace sp::io {
class RealHost;
}

namespace sp::attach {

struct WayReport {
  Way way;
  bool works;
  std::string why_not;  // empty when it works; else what is missing and how to get it
};

// In order of preference: ublk, nbd, fuse. Blocking; needs root to say yes.
std::vector<WayReport> probe_ways();

// The first that works, or the one wanted. Code::refused with all the reasons.
Result<Way> choose_way(const std::vector<WayReport>& reports, std::optional<Way> wanted);

struct DriverOptions {
  std::string run_folder = "/run/storpool";  // mounts, sockets and the holder's socket
  std::vector<std::string>
      holder_command;         // e.g. {"/proc/self/exe", "--holder"}, see fd_store_linux.h
  std::string notify_socket;  // $NOTIFY_SOCKET, to keep descriptors in systemd instead of a holder;
                              // empty: a holder
  std::string passed_names;   // $LISTEN_FDNAMES
};

// Drivers for all ways that work, the preferred first. Code::refused when none does.
Result<std::vector<std::unique_ptr<Driver>>> make_drivers(io::RealHost& host,
                                                          const DriverOptions& options,
                                                          std::optional<Way> preferred);

}  // namespace sp::attach
