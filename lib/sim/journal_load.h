// JournalLoad: works on a volume as a file system with a journal of its metadata does, and checks
// what such a one relies on. Written apart from Workload; it asks for less than linearizability:
// writes that were completed before a flush are there after it, and a block is old or new.
//
// A transaction changes one to three inodes: data goes to free blocks first; descriptor and new
// inodes go to the journal at the same time; a flush; the commit record, checksummed over all of
// it; a flush, and it is acknowledged. Freed blocks are discarded then. Now and then the inodes are
// written into place, and the superblock lets go of the journal up to there.
//
// Whoever attaches the volume mounts: it replays the journal, and compares with the Ledger: every
// acknowledged transaction is there whole, none is there in part, every block that an inode points
// to holds the right data. At the end of its work a load looks once more. Failures name the block:
// "volume 2 block 17: transaction 12 ...". Thread rule: the host's.
#pragma once
#include <memory>

#include "io/host.h"
#include "sim/ledger.h"
#include "sim/sealed_blocks.h"
#include "sim/work.h"

namespace sp::sim {

struct LoadOptions {
  SealedBlocks::Options blocks;
  uint64_t session = 0;  // for the ledger
  uint32_t depth = 1;    // transactions at a time, where that means something
  io::Duration think_mean = std::chrono::milliseconds(20);
};

class JournalLoad final : public Work {
 public:
  static constexpr uint64_t blocks_least = 512;  // of a volume

  JournalLoad(io::Host& host, client::BlockDevice& device, Ledger& ledger, uint64_t& last_stamp,
              const LoadOptions& options);
  ~JournalLoad() override;
  void start() override;
  void stop() override;
  bool idle() const override;
  uint64_t completed() const override;
  std::string_view checker() const override { return "journal"; }
  const std::string& failure() const override;

 private:
  struct State;
  std::shared_ptr<State> state_;
};

}  // namespace sp::sim
