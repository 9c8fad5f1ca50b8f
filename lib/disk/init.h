// Init: makes a device or file a disk of a cluster, and refuses what holds something, or is in use,
// unless that was named.
#pragma once
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "disk/probe.h"

namespace sp::disk {

struct InitRequest {
  std::string path;
  ClusterId cluster = 0;
  DiskId disk = 0;
  std::optional<uint64_t> create_bytes;  // make this file; it must not exist
  bool write_in_full = true;
  bool dry_run = false;                // everything but writing
  std::vector<std::string> overwrite;  // names of Holdings that may be lost
  std::function<void(uint64_t done, uint64_t total)> progress;
};

// Code::refused names what the device holds and the words that allow losing it; Code::exists,
// Code::not_found: the file. With dry_run, the superblock that would have been written (its uuid
// 0).
void initialise(io::Host& host, const InitRequest& request,
                Callback<void(Result<Superblock>)> done);

// Why this device must not be formatted, if so. Pure.
Status may_overwrite(const std::string& path, const std::vector<Holding>& holds,
                     const std::vector<std::string>& allowed);

}  // namespace sp::disk
