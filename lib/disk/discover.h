// Discover: the block devices of this machine, for `sp-disk-init --list`. Outside the seam of io:
// it reads sysfs and the devices themselves, and only commands use it, never a service. Partitions
// are listed by themselves; loop and RAM devices only when they have a size.
#pragma once
#include <string>
#include <vector>

#include "base/result.h"
#include "disk/probe.h"

namespace sp::disk {

struct Device {
  std::string path;   // "/dev/nvme0n1"
  std::string model;  // empty where the device tells none
  std::string serial;
  uint64_t size_bytes = 0;
  bool rotational = false;
  bool read_only = false;
  std::string used_by;  // "mounted at /", "held by dm-0", "partitioned"; empty when nobody in this
                        // kernel uses it
  std::vector<Holding> holds;
  std::string problem;  // why it could not be looked at, e.g. permission; empty otherwise
};

// In order of path. Code::io when sysfs cannot be read.
Result<std::vector<Device>> discover_devices();

// Who uses this device or file now, as far as the kernel tells; empty when nobody.
std::string device_user(const std::string& path);

}  // namespace sp::disk
