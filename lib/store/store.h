// Store: the objects of one disk. 4 KiB copy-on-write blocks, each with its CRC-64, version and
// identity; no replication, no network.
//
// What the layer above (serve) relies on:
//  - A write is first *prepared*: durable, but not visible. `decide` makes all prepared writes of a
//  set up to a version visible, in order;
//    that is remembered lazily: after a crash a decided write may be found undecided again, never
//    the other way round.
//  - Prepares of one Store are acknowledged in the order in which they were given. A prepare whose
//  version is not newer than a version of the same
//    block that is already stored is acknowledged and dropped (retries and recovery may overlap).
//  - A read sees decided data only, verifies CRC-64, version and identity of every block, and never
//  returns anything unverified.
//  - After a crash: every acknowledged prepare, set record and discard is there, nothing else is
//  visible, and nothing is half there.
//  - Any device error on write or flush, or a device of which nothing can be read any more, makes
//  the Store *failed*: every further call ends with that error; the disk has to be retired.
//
// Thread rule: one reactor. Completions never run inside the call. Buffers are shared, not copied;
// the caller must not change them. On-disk format: sp-disk-format(5).
#pragma once
#include <array>
#include <bitset>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "base/buffer.h"
#include "base/callback.h"
#include "base/ids.h"
#include "base/limits.h"
#include "base/result.h"
#include "io/host.h"
#include "store/options.h"

namespace sp::store {

// Which client operation a write was, kept with the write so that a retry on another primary is
// answered, not applied again.
struct OperationId {
  ClientId client = 0;      // 0: not a client's operation (recovery)
  uint32_t generation = 0;  // the attachment's generation
  uint64_t number = 0;      // counts from 1 within the attachment
  auto operator<=>(const OperationId&) const = default;
};

enum class WriteKind : uint8_t {
  data = 1,     // blocks with content
  discard = 2,  // the blocks read as zeros afterwards; leaves a tombstone with the version
};

struct WriteRecord {
  WriteKind kind = WriteKind::data;
  SetId set;
  Version version;
  ObjectId object;
  uint16_t first_block = 0;  // within the object
  uint16_t block_count = 0;  // 1..limits::io_blocks_max; a discard up to limits::blocks_per_object
  OperationId operation;
};

// What a disk knows of a set of which it is a member. Written as a whole by `put_set`.
struct SetRecord {
  SetId set;
  uint32_t epoch = 0;       // newest epoch in which this disk acknowledges
  bool recovering = false;  // newer writes are taken, older ones may be missing
  Version complete_to;      // while recovering: every decided write up to here is on this disk.
                            // Otherwise decided_to() says so, and tombstones up to here may have
                            // been forgotten.
};

struct BlockState {
  uint16_t block = 0;  // within the object
  Version version;
  uint64_t crc = 0;  // of the content
};

// The share of one block in the digest of a copy, which is the wrapping sum over its blocks.
uint64_t digest_share(ObjectId object, const BlockState& block);

// The decided state of one object, for recovery: all blocks that hold data, and the newest discard.
struct ObjectState {
  ObjectId object;
  SetId set;
  Version changed;                 // newest decided write or discard
  std::vector<BlockState> blocks;  // ascending by block; absent blocks read as zeros
};

struct BlockRead {
  Version version;   // zero when the block holds no data
  uint64_t crc = 0;  // of the content as stored; of zeros when there is none
};

using BlockSet = std::bitset<limits::blocks_per_object>;  // of one object

struct LostBlock {
  uint32_t slot = 0;
  ObjectId object;
  SetId set;
  uint16_t block = 0;  // within the object
};

class Store {
 public:
  using Opened = Callback<void(Result<std::unique_ptr<Store>>)>;
  using Done = Callback<void(Status)>;

  // Opens the disk made by `disk::format`; recovers from checkpoint and log. Code::damaged names
  // what is wrong when acknowledged state cannot be trusted (the disk then has to be checked, or
  // wiped and recovered from its peers).
  static void open(io::Host& host, std::unique_ptr<io::Disk> disk, const Options& options,
                   Opened done);
  virtual ~Store() = default;

  // writes
  // `crcs`: one per block (data only). `data`: block_count blocks (data only). The content is not
  // verified against crcs here: serve has done so. Code::no_space when the share for users is used
  // up; discards, decides and set records still work then.
  virtual void prepare(const WriteRecord& record, std::span<const uint64_t> crcs, Buffer data,
                       size_t data_offset, Done durable) = 0;
  // Makes prepared writes of `set` up to this version visible. At once in memory; durable later.
  virtual void decide(SetId set, Version up_to) = 0;
  virtual Version decided_to(
      SetId set) const = 0;  // newest version given to decide, or recovered; zero when none
  // Undecided writes of the set in order of version, for the activation of a new primary.
  virtual std::vector<WriteRecord> undecided(SetId set) const = 0;
  // Content of an undecided data write (verified).
  virtual void read_undecided(SetId set, Version version,
                              Callback<void(Result<Buffer>, std::vector<uint64_t> crcs)> done) = 0;
  // Forgets all undecided writes of the set, durably: first step of a returning copy.
  virtual void drop_undecided(SetId set, Done done) = 0;
  // Decided and undecided operations still known for the set (at least the last
  // limits::set_undecided_max of them), for duplicate detection.
  virtual std::vector<std::pair<OperationId, Version>> operations(SetId set) const = 0;

  // reads
  // `into` takes block_count blocks, zeros where there is no data. Code::damaged when a block fails
  // verification (message names it), or its sector cannot be read though the device lives; into is
  // then not to be used.  When `undecided_blocks` matters to the caller, ask has_undecided first.
  virtual void read(ObjectId object, uint16_t first_block, uint16_t block_count, MutableBytes into,
                    Callback<void(Result<std::vector<BlockRead>>)> done) = 0;
  virtual bool has_undecided(ObjectId object, uint16_t first_block, uint16_t block_count) const = 0;
  // Sets the bits of those blocks of the range that hold decided data, and leaves others alone.
  // Reads that are begun before anything else happens find the same.
  virtual void add_present(ObjectId object, uint16_t first_block, uint16_t block_count,
                           BlockSet& into) const = 0;

  // sets and recovery
  virtual std::optional<SetRecord> set_record(SetId set) const = 0;
  virtual std::vector<SetRecord> sets() const = 0;
  virtual void put_set(const SetRecord& record, Done durable) = 0;
  // Removes all objects, records and tombstones of the set: the disk is no longer a member.
  virtual void remove_set(SetId set, Done durable) = 0;
  // Removes all objects of a deleted volume.
  virtual void remove_volume(VolumeId volume, Done durable) = 0;
  virtual std::vector<VolumeId> volumes() const = 0;

  // Objects of the set changed after `after`, in ascending order of ObjectId, starting behind
  // `cursor`; at most `count_max`.
  virtual std::vector<ObjectId> changed_objects(SetId set, Version after, ObjectId cursor,
                                                size_t count_max) const = 0;
  // As it is when `done` is called. An error only when the store has failed.
  virtual void object_state(ObjectId object, Callback<void(Result<ObjectState>)> done) = 0;
  // Brings one object to what `source` says: stores the given blocks (data: the content of the
  // blocks numbered in `carried`, in order) unless as new a version is here; removes decided blocks
  // that source does not list unless they are newer than source.changed. Of those in `lost` nobody
  // has the content: they are here in their version then, and damaged. Durable when done.
  virtual void apply_recovered(const ObjectState& source, std::span<const uint16_t> carried,
                               std::span<const uint16_t> lost, Buffer data, Done durable) = 0;
  // Rewrites one decided block whose stored copy is damaged, if it still has this version. The
  // content is verified against crc first.
  virtual void repair(ObjectId object, uint16_t block, Version version, uint64_t crc, Buffer data,
                      Done durable) = 0;
  // Blocks that came here as lost and were neither repaired nor written since, by slot.
  virtual std::vector<LostBlock> lost(uint32_t first_slot, size_t count_max) const = 0;
  // Tombstones (discards) of the set up to `passed` are remembered no more: every copy has heard of
  // them, or its `complete_to` will tell that it has not (SetRecord).
  virtual void forget_tombstones(SetId set, Version passed) = 0;
  virtual uint64_t tombstone_bytes(SetId set) const = 0;  // of the log, see Space

  // service
  // Writes all that is pending in memory to its home and completes with everything durable. For
  // orderly stop, and for tests.
  virtual void checkpoint(Done durable) = 0;
  // Makes the next opening quick: soon after the call the index is saved beside the slot table. A
  // disk that has no place for it (of minor 1) is checkpointed. `durable` also comes when nothing
  // could be saved, because the index is too large or in the middle of something: then the next
  // opening takes longer.
  virtual void save_index(Done durable) = 0;
  virtual Space space() const = 0;  // at no cost; stats() looks at every object
  virtual Stats stats() const = 0;
  virtual std::optional<Error> failure() const = 0;
};

}  // namespace sp::store
