// Linearizability: what happened to each block of each volume, and whether some order of single
// steps explains it.
//
// Every write carries a stamp that no other write has, so each read names its write. Per block this
// is the register of Gibbons and Korach (Testing Shared Memories, 1997): the operations on one
// value form a zone from the first end to the last start; the history is linearizable exactly when
// no two forward zones overlap and no backward zone lies within a forward one. Zeros (never
// written, or discarded) have several writers: reads of them are checked for one possible writer
// each. Times are numbers of events given out by next(), so nothing happens at the same time. Plain
// values.
#pragma once
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "base/bytes.h"
#include "base/ids.h"

namespace sp::sim {

struct BlockKey {
  VolumeId volume = 0;
  uint64_t block = 0;
  auto operator<=>(const BlockKey&) const = default;
};

class Linearizability {
 public:
  uint64_t next() { return ++time_; }

  // A stamp is never 0. `session`: the attachment under which it is written, 0 for one that is
  // never fenced.
  void write_started(BlockKey key, uint64_t stamp, uint64_t time, uint64_t session = 0);
  void discard_started(BlockKey key, uint64_t stamp, uint64_t time, uint64_t session = 0);
  void write_ended(BlockKey key, uint64_t stamp,
                   uint64_t time);  // acknowledged; of discards too. Never called: it may happen at
                                    // any time, or not at all
  // The session was fenced before now: what it wrote has taken effect by now, or never will.
  void session_fenced(uint64_t session, uint64_t time) { fenced_.emplace(session, time); }
  // What a read found: 0 for zeros.
  void read(BlockKey key, uint64_t stamp, uint64_t started, uint64_t ended);

  // What cannot be explained, or nothing.
  std::optional<std::string> check() const;
  uint64_t reads() const { return reads_; }
  uint64_t writes() const { return writes_; }

 private:
  static constexpr uint64_t never = UINT64_MAX;
  struct Write {
    uint64_t stamp = 0;
    bool discard = false;
    uint64_t session = 0;
    uint64_t started = 0;
    uint64_t ended = never;
    uint64_t first_end = never;  // of the write and all reads of it
    uint64_t last_start = 0;
  };
  struct Read {
    uint64_t started = 0, ended = 0;
  };
  struct Block {
    std::map<uint64_t, Write> writes;
    std::vector<Read> zero_reads;
    std::vector<uint64_t> unknown;  // stamps read that nobody has written
  };
  static std::optional<std::string> check_block(BlockKey key, const Block& block);
  std::optional<std::string> apply_fences(BlockKey key, Block& block) const;

  std::map<BlockKey, Block> blocks_;
  std::map<uint64_t, uint64_t> fenced_;  // session -> time
  uint64_t time_ = 0, reads_ = 0, writes_ = 0;
};

// Block content that says which write made it. `decode` gives the stamp, 0 for zeros, and nothing
// for a mix or for content of another place.
void encode_stamp(MutableBytes block, BlockKey key, uint64_t stamp);
std::optional<uint64_t> decode_stamp(Bytes block, BlockKey key);

}  // namespace sp::sim
