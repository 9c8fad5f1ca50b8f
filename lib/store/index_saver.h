// IndexSaver: writes a saved index (saved_index.h) beside the running store. It is of one moment:
// what is small is taken at once, the objects are told of one after the other while the store goes
// on, each before it changes for the first time after that moment.
//
// Thread rule: the store's. Errors of the device come with `saved`; where the region is too small,
// Code::no_space.
#pragma once
#include <cstdint>
#include <deque>
#include <initializer_list>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "base/buffer.h"
#include "base/callback.h"
#include "io/host.h"
#include "store/saved_index.h"
#include "store/state.h"

namespace sp::store {

class IndexSaver final : public ChangeWatch {
 public:
  using Saved = Callback<void(Result<IndexBody>)>;
  IndexSaver(io::Host& host, const disk::Superblock& superblock, State& state,
             const Options& options);
  ~IndexSaver() override { *alive_ = false; }

  bool has_region() const { return chunks_max_ != 0; }
  bool active() const { return index_.lsn != 0; }
  // The state is as the log tells it below its lsn, but for what `State::commits` still has to
  // settle; it is plain. Its home: the other one than the newest has. `disk` outlives it.
  // `index`: its chunks are filled in.
  void begin(io::Disk& disk, const IndexBody& index, Saved saved);
  uint64_t memory_bytes() const { return pieces_.size() * piece_bytes; }
  uint64_t bytes_written() const { return bytes_written_; }

  void before_change(Object& object) override;
  void made(Object& object) override { object.saved_in = number_; }

 private:
  // A device write's worth of chunks.
  static constexpr uint32_t piece_chunks = 4;
  static constexpr size_t piece_bytes = size_t{piece_chunks} * disk::index_chunk_bytes;
  static constexpr size_t writes_max = 8;  // where changes outrun the writing; else one
  struct Piece {
    Buffer bytes;
    uint32_t chunks = 0;
  };

  void append(uint8_t kind, std::initializer_list<Bytes> parts);
  void append(SavedKind kind, std::initializer_list<Bytes> parts) {
    append(static_cast<uint8_t>(kind), parts);
  }
  void at(uint64_t lsn);
  void seal_chunk();
  void save_sets();
  void save_set(SetId id, const SetState& set);
  void save_write(const Undecided& write);
  void save_table();
  void save_object(const Object& object);
  void sweep();  // one turn of it
  void go_on();
  void written(Status status);
  void finish(Status status);

  io::Host& host_;
  disk::Superblock superblock_;
  State& state_;
  uint32_t turn_objects_;
  uint32_t chunks_max_;
  io::Disk* disk_ = nullptr;
  Saved saved_;
  IndexBody index_{};    // lsn 0: idle
  uint32_t number_ = 0;  // of the saving: Object::saved_in
  uint64_t at_lsn_ = 0;
  uint64_t objects_ = 0;
  SetId sweep_set_;
  ObjectId sweep_object_;
  bool swept_ = false, full_ = false, flushing_ = false, turn_posted_ = false;
  std::deque<Piece> pieces_;  // the last one is being filled
  size_t chunk_bytes_ = 0;    // of the records of its last chunk
  uint32_t chunks_given_ = 0;
  size_t writes_ = 0;
  std::vector<uint32_t> slots_;
  std::vector<RangeEntry> ranges_;
  uint64_t bytes_written_ = 0;
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
};

// What the running store knows of its saved indexes.
struct SavedIndexes {
  uint64_t lsn = 0;  // of the newest one, or of where one was last tried
  uint32_t home = 1;
  std::optional<IndexBody> whole;  // on the device, not in the log yet
  bool in_round = false;           // what `active` waits for is durable with the round under way
  std::vector<Callback<void(Status)>> waiting, active;  // calls of save_index
};

}  // namespace sp::store
