// Linearizability: what happened to each block of each volume, and whether some order of single
// steps explains it. Judged with every call, so what cannot be explained is said when it is seen.
//
// Every write carries a stamp that no other write has, so each read names its write. Per block this
// is the register of Gibbons and Korach (Testing Shared Memories, 1997): the operations on one
// value form a zone from the first end to the last start; the history is linearizable exactly when
// no two forward zones overlap and no backward zone lies within a forward one. Zeros (never
// written, or discarded) have several writers: reads of them are checked for one possible writer
// each. The rules, each with a test of its name in tests/sim/data_path/linearizability_test.cc:
//  - unacknowledged: a write that has no end may take effect at any time after its start, or never;
//  - flapping: what was read once, of whatever write, is not followed by anything older;
//  - fenced: what a session wrote has taken effect when it is fenced, or never will;
//  - discarded: a discard is a write of zeros;
//  - flushed: an acknowledged write is there from its acknowledgement on, so a flush adds nothing.
//
// Times are numbers of events given out by next(), so nothing happens at the same time. Calls come
// in the order of their times (a read's: its end). A call costs the logarithm of what its block has
// seen. Plain values.
#pragma once
#include <cstdint>
#include <map>
#include <optional>
#include <set>
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
  void session_fenced(uint64_t session, uint64_t time);
  // What a read found: 0 for zeros.
  void read(BlockKey key, uint64_t stamp, uint64_t started, uint64_t ended);

  // Whether this content of blocks of some volumes, 0 for zeros, was there all at one moment: not
  // before it was asked for, not after it was taken. What could not be so, or nothing.
  std::string judge_cut(const std::map<BlockKey, uint64_t>& content, uint64_t asked,
                        uint64_t taken) const;

  // Whether reads and fences are judged, on at first. While they are not, as when clocks are beyond
  // their bound, of a read it is only asked whether somebody wrote there what it found, and fences
  // are not taken note of. Acknowledged writes are judged all the same, by later reads.
  void judge_reads(bool judge) { judges_reads_ = judge; }

  // What could not be explained first, or nothing: "volume 2 block 17: ...". Costs nothing.
  const std::optional<std::string>& check() const { return failure_; }
  // Blocks of the volume that were written or read.
  std::vector<uint64_t> blocks(VolumeId volume) const;
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
    uint64_t first_end =
        never;                // of the write and all reads of it; the fence, when that was before
    uint64_t last_start = 0;  // of the write and all reads of it
    bool forward() const { return first_end < last_start; }
  };
  struct Read {
    uint64_t started = 0, ended = 0;
  };
  // Ascending by first_end, then stamp; the writes live in Block::writes.
  using Zones = std::set<std::pair<uint64_t, uint64_t>>;
  struct Block {
    std::map<uint64_t, Write> writes;  // by stamp
    std::vector<uint64_t> discards;    // their stamps, in order of start
    Zones forward;                     // disjoint
    Zones backward;
    std::vector<Read> zero_reads;  // in order of end
    // What was certainly overwritten when: each first end that has a later start than all before
    // it, with the write.
    std::map<uint64_t, const Write*> overwritten;
  };

  void take_time(uint64_t time);
  Write& add(BlockKey key, uint64_t stamp, uint64_t time, uint64_t session);
  void seen(BlockKey key, Block& block, Write& write, uint64_t start, uint64_t end);
  void first_seen(BlockKey key, Block& block, Write& write, uint64_t end);
  void check_backward(BlockKey key, const Block& block, const Write& write);
  void grow_forward(BlockKey key, const Block& block, const Write& write, uint64_t from);
  void check_zeros(BlockKey key, const Block& block, const Read& read);
  struct Moments;
  static bool narrow(const Block& block, uint64_t stamp, Moments& moments);
  static bool zeros_possible(const Block& block, const Moments& moments);
  static const Write* holder(const Block& block, uint64_t from, uint64_t to);
  uint64_t fence_of(uint64_t session) const;
  void fail(BlockKey key, const std::string& why);

  std::map<BlockKey, Block> blocks_;
  std::map<uint64_t, uint64_t> fenced_;  // session -> time
  uint64_t time_ = 0, newest_ = 0, reads_ = 0, writes_ = 0;
  bool judges_reads_ = true;
  std::optional<std::string> failure_;
};

// Block content that says which write made it. `decode` gives the stamp, 0 for zeros, and nothing
// for a mix or for content of another place.
void encode_stamp(MutableBytes block, BlockKey key, uint64_t stamp);
std::optional<uint64_t> decode_stamp(Bytes block, BlockKey key);

}  // namespace sp::sim
