// DatabaseLoad: works on a volume as a database with a write-ahead log does, and checks what such a
// one relies on. Written apart from Workload and from JournalLoad; like the latter it asks for less
// than linearizability: writes that were completed before a flush are there after it, and a block
// is old or new.
//
// Several transactions at a time change a few rows each. Those that wait are appended to the log
// together, the last block of the log is written again with what has come to it, and after one
// flush all of them are acknowledged. Pages of 8 to 16 KiB are written back later, in one go, and
// may be torn: the first change of a page since the last checkpoint carries its whole image. A
// checkpoint writes all dirty pages and lets go of the log before it.
//
// Whoever attaches the volume recovers: pages and log are read, the log is applied, torn pages are
// made from their images, and all rows are compared with the Ledger: all committed transactions
// are there, and nothing else. No page may be newer than the log. At the end of its work a load
// looks once more. Failures name the block. Thread rule: the host's.
#pragma once
#include "sim/journal_load.h"

namespace sp::sim {

class DatabaseLoad final : public Work {
 public:
  static constexpr uint64_t blocks_least = 512;  // of a volume

  DatabaseLoad(io::Host& host, client::BlockDevice& device, Ledger& ledger, uint64_t& last_stamp,
               const LoadOptions& options);
  ~DatabaseLoad() override;
  void start() override;
  void stop() override;
  bool idle() const override;
  uint64_t completed() const override;
  std::string_view checker() const override { return "database"; }
  const std::string& failure() const override;

 private:
  struct State;
  std::shared_ptr<State> state_;
};

}  // namespace sp::sim
