// BlockDevice: a volume as its front ends (NBD, FUSE, ublk, later NVMe/TCP and iSCSI) see it,
// whatever stands behind it: client::Volume, or client::MemoryDevice in tests.
//
// Offsets and sizes are multiples of 4096 (limits::block_bytes) and inside size_bytes(); any length
// is taken and split as needed. An operation ends when its outcome is certain; trouble that waiting
// cures (servers down, leases, new epochs) is waited out, not reported. Reported are: Code::closed
// (detached or fenced), Code::damaged (all copies of a block are), Code::no_space, Code::invalid
// (beyond the end after a shrink). A completed write is durable, so flush only ends after the
// writes that were completed before it; they are durable already. Completions run on the reactor,
// never inside the call. Memory given must stay valid until completion.
#pragma once
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "base/buffer.h"
#include "base/callback.h"
#include "base/result.h"
#include "io/host.h"

namespace sp::client {

class BlockDevice {
 public:
  using Done = Callback<void(Status)>;
  virtual ~BlockDevice() = default;

  virtual uint64_t size_bytes() const = 0;  // may change while open (resize)
  virtual bool read_only() const = 0;
  virtual void read(uint64_t offset, MutableBytes into, Done done) = 0;
  virtual void write(uint64_t offset, Bytes from, Done done) = 0;
  virtual void write_zeroes(uint64_t offset, uint64_t size,
                            Done done) = 0;  // reads as zeros after; may free the space
  virtual void discard(uint64_t offset, uint64_t size, Done done) = 0;  // reads as zeros after
  virtual void flush(Done done) = 0;
};

// Thin bytes in memory, for tests of front ends. Completes in later turns; with `random`, out of
// order.
std::unique_ptr<BlockDevice> make_memory_device(io::Host& host, uint64_t size_bytes);

}  // namespace sp::client
