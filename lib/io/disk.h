// Disk: one device or file as a range of bytes, without a cache in between.
//
// Offsets, sizes and buffer addresses are multiples of 512, and of 4096 on Disks whose
// `alignment()` says so. Operations may run and complete in any order; a caller that needs order
// waits, or flushes. A write is durable once a flush that was *issued after the write completed*
// has completed. Only 512 bytes are written atomically. Memory given to an operation must stay
// valid until it completes. At most `limits` of the implementation are queued to the device, more
// are held back here, so any number may be issued. One write has at most limits::buffer_bytes_max.
// Its bytes must not change until it completes: the device may fetch them at any moment. Errors:
// Code::io for what the device refuses (the caller retires the disk: nothing is retried and
// believed); Code::invalid beyond the end; Code::refused for a write to a disk opened for reading;
// Code::no_space when a sparse file finds no room. Completions run on the reactor, never inside the
// call. Destroying a Disk drops completions that have not run.
#pragma once
#include <memory>
#include <string>

#include "base/bytes.h"
#include "base/callback.h"
#include "base/result.h"

namespace sp::io {

using DiskDone = Callback<void(Status)>;

class Disk {
 public:
  virtual ~Disk() = default;

  virtual uint64_t size_bytes() const = 0;
  virtual uint32_t alignment() const = 0;  // 512 or 4096

  virtual void read(uint64_t offset, MutableBytes into, DiskDone done) = 0;
  virtual void write(uint64_t offset, Bytes from, DiskDone done) = 0;
  virtual void flush(DiskDone done) = 0;
  // A hint that the range holds nothing any more; its content afterwards is undefined. Never an
  // error when not supported.
  virtual void discard(uint64_t offset, uint64_t size, DiskDone done) = 0;
  // What is there now, at once and without an operation of its own. For checkers: false on disks
  // that are not simulated.
  virtual bool peek(uint64_t /*offset*/, MutableBytes /*into*/) const { return false; }
};

struct OpenOptions {
  enum class Mode {
    read_only,
    read_write,
    create
  };  // create: a new one; Code::exists rather than take what is there
  Mode mode = Mode::read_write;
  uint64_t size_bytes = 0;  // create: the new file's size (sparse); otherwise ignored
  bool exclusive = true;    // refuse when another process holds it (lock), Code::refused
};

// Opens disks by path. "memory:PATH" (or a path on tmpfs with Options of the program) is a
// MemoryDisk, see io/memory_disk.h.
class DiskOpener {
 public:
  virtual ~DiskOpener() = default;
  // Code::not_found, Code::refused (held by another), Code::invalid (not a file or block device),
  // Code::io.
  virtual Result<std::unique_ptr<Disk>> open(const std::string& path,
                                             const OpenOptions& options) = 0;
};

}  // namespace sp::io
