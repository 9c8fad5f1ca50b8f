// Calls: what a StoreImpl keeps of each call until it completes. Kept in pools and reused, vectors
// with their memory, so that the path of a block allocates nothing once it is warm.
#pragma once
#include <memory>
#include <vector>

#include "base/buffer.h"
#include "store/records.h"
#include "store/store.h"
#include "store/table_loader.h"

namespace sp::store {

struct Operation {
  enum class Kind : uint8_t {
    prepare,
    put_set,
    drop,
    remove_set,
    remove_volume,
    recover,
    repair,
    checkpoint
  };
  Kind kind = Kind::prepare;
  WriteRecord record;
  std::vector<uint64_t> crcs;
  std::vector<uint32_t> slots;
  Buffer data;
  size_t data_offset = 0;
  SetRecord set_record;
  SetId set;
  Version version;
  VolumeId volume = 0;
  ObjectState source;
  std::vector<uint16_t> carried;
  std::vector<uint16_t> lost;
  std::vector<RecoveredEntry> entries;
  size_t entries_whole = 0;  // the first of them; no copy has the content of the others
  uint64_t lsn = 0;
  bool effective = false;  // has records in the log
  Status outcome;
  Store::Done done;
};

// A question for the state of an object, while it waits for table pages, and those that it has.
struct StateCall {
  ObjectId id;
  Callback<void(Result<ObjectState>)> done;
  std::vector<PagePins> pins;
};

// A slot that is nobody's, until the reads that were going on then are done.
struct Releasing {
  uint64_t read_number;
  uint32_t slot;
};

struct ReadCall {
  uint64_t number = 0;
  ReadCall* newer = nullptr;
  ReadCall* older = nullptr;
  ObjectId object;
  uint32_t first_block = 0;
  MutableBytes into;
  Buffer buffer;  // of read_undecided, or the detour of an unaligned `into`
  bool detour = false;
  bool unreadable = false;  // the device said so of some of it
  std::vector<BlockRead> blocks;
  std::vector<uint32_t> slots;
  uint32_t outstanding = 0;
  Status status;
  Callback<void(Result<std::vector<BlockRead>>)> done;
  Callback<void(Result<Buffer>, std::vector<uint64_t>)> done_undecided;
};

// Those that are going on, in the order in which they began, and memory for others.
class ReadCalls {
 public:
  ReadCall* begin(ObjectId object, uint32_t first_block);
  // Takes it out; it is empty, and to be given back, when its results have been taken.
  void end(ReadCall* call);
  void give_back(ReadCall* call) { free_.push_back(call); }
  uint64_t newest() const { return number_; }  // the number of the last that began
  bool any_up_to(uint64_t number) const { return oldest_ != nullptr && oldest_->number <= number; }
  size_t open() const { return calls_.size() - free_.size(); }

 private:
  std::vector<std::unique_ptr<ReadCall>> calls_;  // all that were ever made
  std::vector<ReadCall*> free_;
  ReadCall *oldest_ = nullptr, *newest_ = nullptr;
  uint64_t number_ = 0;
};

}  // namespace sp::store
