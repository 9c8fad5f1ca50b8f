// Probe: what a device holds, by the signatures that others leave: so that nothing is formatted
// over by mistake. Reads the first 128 KiB, 8 KiB around known places, and the last MiB; writes
// nothing.
#pragma once
#include <string>
#include <vector>

#include "disk/superblock.h"

namespace sp::disk {

struct Holding {
  std::string name;  // "ext", "xfs", "btrfs", "lvm", "gpt", "mbr", "swap", "md", "luks", "zfs",
                     // "cluster-disk"; what --force-overwrite repeats
  std::string description;  // for people: "disk 7 of cluster 1a2b..., formatted 2026-11-23"
  bool ours = false;
  Superblock superblock;  // when ours
};

// One device as a set of windows; absent ranges read as zeros. Pure, for tests.
struct ProbeWindow {
  uint64_t offset = 0;
  Bytes bytes;
};
std::vector<Holding> recognise(std::span<const ProbeWindow> windows, uint64_t device_bytes);

// Everything found; empty for a blank device.
void probe(io::Host& host, io::Disk& disk, Callback<void(Result<std::vector<Holding>>)> done);

}  // namespace sp::disk
