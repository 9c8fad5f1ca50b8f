// MemoryDevice: a BlockDevice in memory, for tests and benchmarks of front ends and for trying them
// by hand.
//
// Either thin (memory is taken by the mebibyte as it is written) or over memory that the caller
// owns, such as a file mapped shared, which then survives the process. An operation takes effect
// when it completes: in a later turn, and some one turn later than others, so front ends meet
// completions out of order. Faults can be injected. Thread rule: the reactor's.
#pragma once
#include <memory>
#include <optional>
#include <vector>

#include "client/block_device.h"

namespace sp::client {

class MemoryDevice final : public BlockDevice {
 public:
  MemoryDevice(io::Host& host, uint64_t size_bytes);
  MemoryDevice(
      io::Host& host,
      MutableBytes storage);  // storage.size() is a multiple of 4096 and outlives the device
  ~MemoryDevice() override;   // drops completions that have not run

  uint64_t size_bytes() const override;
  bool read_only() const override;
  void read(uint64_t offset, MutableBytes into, Done done) override;
  void write(uint64_t offset, Bytes from, Done done) override;
  void write_zeroes(uint64_t offset, uint64_t size, Done done) override;
  void discard(uint64_t offset, uint64_t size, Done done) override;
  void flush(Done done) override;

  // Thin: what is cut off reads as zeros when grown again. Over the caller's memory: at most its
  // size, and content stays.
  void set_size(uint64_t size_bytes);
  void set_read_only(bool read_only);
  void set_reordering(bool reordering);     // on at first
  void fail_all(std::optional<Code> code);  // every operation from now on; nullopt ends it
  void fail_range(uint64_t offset, uint64_t size, Code code);
  void hold(bool held);  // held operations wait until hold(false)
  size_t operations_waiting() const;
  uint64_t flush_count() const;

 private:
  struct Operation;
  struct State;
  void start(std::unique_ptr<Operation> operation);

  std::shared_ptr<State> state_;
};

}  // namespace sp::client
