// Unaligned: byte granularity over a BlockDevice, whose own unit is the block of 4096 bytes. A
// write that covers part of a block reads the block, changes it and writes it back; such a write
// and any other write, zeroing or discard of the same block follow one another in the order of
// their arrival, so that no acknowledged byte is lost between the reading and the writing back.
// Aligned operations pass straight through and do not wait for each other. Atomicity stays that of
// the device: a block is old or new.
//
// One adapter serves all connections to a device, else they could not be ordered: front ends of one
// device share it. Either the operations end before the adapter goes (idle() tells), or the device
// goes first, which drops them. Thread rule: the reactor's.
#pragma once
#include <cstdint>
#include <memory>
#include <vector>

#include "client/block_device.h"

namespace sp::attach {

class Unaligned {
 public:
  using Done = client::BlockDevice::Done;

  explicit Unaligned(client::BlockDevice& device);
  ~Unaligned();
  Unaligned(const Unaligned&) = delete;
  Unaligned& operator=(const Unaligned&) = delete;

  client::BlockDevice& device() { return device_; }

  // Any offset and size. Memory given must stay valid until completion. Completions run on the
  // reactor, never inside the call. An operation that fails in one of its parts reports the first
  // error; the other parts may have been done. Size 0 is a programmer's error.
  void read(uint64_t offset, MutableBytes into, Done done);
  void write(uint64_t offset, Bytes from, Done done);
  void write_zeroes(uint64_t offset, uint64_t size, Done done);
  void discard(uint64_t offset, uint64_t size,
               Done done);  // whole blocks inside the range; the rest keeps its content
  void flush(Done done);

  bool idle() const { return active_.empty() && waiting_.empty() && reads_.empty(); }

 private:
  enum class Kind : uint8_t { read, write, zero, discard };
  struct Operation;
  static constexpr size_t none = ~size_t{0};

  Operation* make(Kind kind, uint64_t offset, uint64_t size, Done done);
  void enqueue(Operation* operation);
  bool conflicts(const Operation& a, const Operation& b) const;
  static void put(std::vector<Operation*>& list, Operation* operation);
  static void remove(std::vector<Operation*>& list, Operation* operation);
  void start(Operation* operation);
  void start_middle(Operation* operation, uint64_t begin, uint64_t end);
  void start_edge(Operation* operation, uint64_t block_offset);
  void change_edge(Operation* operation, uint64_t block_offset, const Buffer& buffer);
  void part_done(Operation* operation, Status status);
  void finish(Operation* operation);
  void start_waiting();

  client::BlockDevice& device_;
  std::vector<Operation*> reads_;    // under way
  std::vector<Operation*> active_;   // changes under way
  std::vector<Operation*> waiting_;  // changes that wait for an earlier one, in order of arrival
  std::vector<std::unique_ptr<Operation>> spare_;
  size_t partial_count_ = 0;  // of both: changes with a part of a block
};

}  // namespace sp::attach
