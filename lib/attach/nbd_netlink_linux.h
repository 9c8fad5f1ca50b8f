// The kernel's NBD client as commands over generic netlink (include/uapi/linux/nbd-netlink.h), and
// the client's side of the NBD handshake on a connected socket. Blocking: for BlockingJobs.
#pragma once
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "attach/os_linux.h"

namespace sp::attach::nbd_netlink {

struct Device {
  uint64_t size_bytes = 0;
  uint16_t export_flags = 0;
  std::string identity;          // kept by the kernel, shown in /sys/block/nbdN/backend
  uint32_t timeout_seconds = 0;  // of one request, on one connection
  uint32_t dead_seconds = 0;     // how long requests wait for a new connection
};

bool available();
// Connects to `socket_path` and negotiates `export_name`; the flags and size that the server named
// are put into `device`.
Result<Fd> negotiate(const std::string& socket_path, const std::string& export_name,
                     Device& device);
// A new device over this socket; its number, as in /dev/nbdN.
Result<uint32_t> connect(const Device& device, const Fd& socket);
// A new socket for a device whose old one is dead; and its size.
Status reconnect(uint32_t number, const Device& device, const Fd& socket);
Status resize(uint32_t number, const Device& device);
Status disconnect(uint32_t number);

struct Known {
  uint32_t number;
  std::string identity;
};
std::vector<Known> known_devices();  // that have an identity

}  // namespace sp::attach::nbd_netlink
