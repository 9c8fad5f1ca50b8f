// SealedBlocks: a volume as the journal and the database of the simulation see it: blocks of 4 KiB,
// each with a seal at its end: a stamp that no other write has, and a checksum over content, stamp
// and place. So a block that is a mix, or of another place, is found when it is read, and each read
// names its write: reads and writes are told to a Linearizability too, if there is one.
//
// An operation that fails ends everything: its continuation and later ones do not run. They do not
// run either once this is destroyed. Memory of an operation is kept until it ends. Thread rule: the
// host's.
#pragma once
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "base/buffer.h"
#include "base/limits.h"
#include "base/log.h"
#include "client/block_device.h"
#include "sim/linearizability.h"

namespace sp::sim {

struct SealedRead {
  uint64_t first = 0;  // block
  Buffer data;
  std::vector<uint64_t> stamps;  // 0: zeros

  Bytes payload(uint64_t block) const;
  uint64_t stamp(uint64_t block) const { return stamps[block - first]; }
};

class SealedBlocks {
 public:
  static constexpr size_t payload_bytes = limits::block_bytes - 16;
  using Next = std::function<void()>;
  struct Options {
    VolumeId volume = 0;
    uint64_t session = 0;
    Linearizability* history = nullptr;
  };

  SealedBlocks(Log& log, client::BlockDevice& device, uint64_t& last_stamp, const Options& options);
  ~SealedBlocks();

  void read(uint64_t first, uint32_t count, std::function<void(const SealedRead& read)> next);
  // `data`: blocks of which the first payload_bytes are the content. The stamps are the one that is
  // returned and those that follow it.
  uint64_t write(uint64_t first, const Buffer& data, Next next);
  void discard(uint64_t first, uint32_t count, Next next);
  void flush(Next next);

  // Calls `next` when what it returns was called so many times.
  static Next after(size_t count, Next next);

  uint64_t size_blocks() const;
  bool idle() const;
  bool over() const;  // fenced, or failed
  uint64_t completed() const;
  // "volume 2 block 17: WHY". Of several only the first is kept.
  void fail(uint64_t block, const std::string& why);
  const std::string& failure() const;

 private:
  struct State;
  std::shared_ptr<State> state_;
};

void seal(MutableBytes block, BlockKey key, uint64_t stamp);
// The stamp, 0 for zeros, nothing for a mix or content of another place.
std::optional<uint64_t> seal_of(Bytes block, BlockKey key);

}  // namespace sp::sim
