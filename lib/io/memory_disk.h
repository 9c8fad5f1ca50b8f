// MemoryDisk: a file on tmpfs mapped into memory. Operations are memcpy at the call and complete in
// a later turn. What was written is in the file at once, so it survives kill -9 (not a loss of
// power); flush has nothing to do. For benchmarks and tests, and for caches that may be lost.
// Memory is taken in pieces when first written; where none is left the write fails with
// Code::no_space (a bare mapping would die of SIGBUS). The path must be on tmpfs or another memory
// file system: elsewhere the kernel would write pages back behind our back. Not checked.
#pragma once
#include <memory>
#include <string>

#include "io/disk.h"
#include "io/reactor.h"

namespace sp::io {

// Errors as of DiskOpener::open(). Works with any Reactor; the Disk must not outlive it.
Result<std::unique_ptr<Disk>> open_memory_disk(Reactor& reactor, const std::string& path,
                                               const OpenOptions& options);

}  // namespace sp::io
