// Loop devices, and who uses a block device. Blocking calls: for BlockingJobs. Below the seam.
#pragma once
#include <cstdint>
#include <optional>
#include <string>

#include "attach/os_linux.h"

namespace sp::attach {

// Makes a loop device over `file` with direct I/O and 4096-byte sectors; its node, e.g.
// "/dev/loop3". Checks size and direct I/O afterwards.
Result<std::string> make_loop(const std::string& file, uint64_t size_bytes, bool read_only);

// The loop device whose backing file is `file`. Does not touch the file, nor the device.
std::optional<std::string> find_loop(const std::string& file);

// Takes the loop device down. In use: Code::refused with the users named and nothing changed; or
// with `force` the device goes at its last close.
Status remove_loop(const std::string& node, bool force);

// After the size of `file` changed.
Status resize_loop(const std::string& node, const std::string& file, uint64_t size_bytes);

// Code::refused, naming mounts, holding devices (LVM, MD, dm) and processes, if anything uses the
// device.
Status check_unused(const std::string& node);

// The device node is there, is a block device, and has this size.
Status check_device(const std::string& node, uint64_t size_bytes);

}  // namespace sp::attach
