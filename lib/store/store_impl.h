// StoreImpl: the running store. Calls queue up; all that came while one round was in flight form
// the next. Effects on State happen when the round is durable, in the order of the calls. Reclaim,
// in the background, frees the log: it says sticky state again, writes dirty table pages home, and
// then moves the tail. What needs slot table entries that are not in memory waits for them
// (waits.cc). More of it: rounds.cc, reads.cc, reclaim.cc, saving.cc.
#pragma once
#include <deque>
#include <memory>
#include <unordered_map>
#include <vector>

#include "io/host.h"
#include "store/calls.h"
#include "store/index_saver.h"
#include "store/round.h"
#include "store/state.h"
#include "store/store.h"

namespace sp::store {

class StoreImpl final : public Store {
 public:
  StoreImpl(io::Host& host, std::unique_ptr<io::Disk> disk, const disk::Superblock& superblock,
            const Options& options);
  ~StoreImpl() override;

  void prepare(const WriteRecord& record, std::span<const uint64_t> crcs, Buffer data,
               size_t data_offset, Done durable) override;
  void decide(SetId set, Version up_to) override;
  Version decided_to(SetId set) const override;
  std::vector<WriteRecord> undecided(SetId set) const override;
  void read_undecided(SetId set, Version version,
                      Callback<void(Result<Buffer>, std::vector<uint64_t>)> done) override;
  void drop_undecided(SetId set, Done done) override;
  std::vector<std::pair<OperationId, Version>> operations(SetId set) const override;
  void read(ObjectId object, uint16_t first_block, uint16_t block_count, MutableBytes into,
            Callback<void(Result<std::vector<BlockRead>>)> done) override;
  bool has_undecided(ObjectId object, uint16_t first_block, uint16_t block_count) const override;
  void add_present(ObjectId object, uint16_t first_block, uint16_t block_count,
                   BlockSet& into) const override;
  std::optional<SetRecord> set_record(SetId set) const override;
  std::vector<SetRecord> sets() const override;
  void put_set(const SetRecord& record, Done durable) override;
  void remove_set(SetId set, Done durable) override;
  void remove_volume(VolumeId volume, Done durable) override;
  std::vector<VolumeId> volumes() const override;
  std::vector<ObjectId> changed_objects(SetId set, Version after, ObjectId cursor,
                                        size_t count_max) const override;
  void object_state(ObjectId object, Callback<void(Result<ObjectState>)> done) override;
  void apply_recovered(const ObjectState& source, std::span<const uint16_t> carried,
                       std::span<const uint16_t> lost, Buffer data, Done durable) override;
  std::vector<LostBlock> lost(uint32_t first_slot, size_t count_max) const override;
  void repair(ObjectId object, uint16_t block, Version version, uint64_t crc, Buffer data,
              Done durable) override;
  void forget_tombstones(SetId set, Version passed) override;
  uint64_t tombstone_bytes(SetId set) const override;
  void checkpoint(Done durable) override;
  void save_index(Done durable) override;
  Space space() const override;
  Stats stats() const override;
  std::optional<Error> failure() const override { return failure_; }

  // For recovery and check, before the store is handed out.
  State& state() { return state_; }
  const State& state() const { return state_; }
  io::Disk& disk() const { return *disk_; }
  TableLoader& loader() { return loader_; }
  const TableLoader& loader() const { return loader_; }
  std::unique_ptr<io::Disk> take_disk() { return std::move(disk_); }  // nothing is on its way
  const disk::Superblock& superblock() const { return superblock_; }
  const LogPosition& log_position() const { return recovered_; }
  // False while a crash leaves open whether the round that wrote this slot was torn.
  bool is_proven(uint32_t slot) const;
  // Takes up the log behind what recovery found; `started` once the new session's first round is
  // durable (at once when read-only). `keeper` lives as long as the first round's device
  // operations, so that a reactor that ends meanwhile ends it too.
  void start(const LogPosition& position, Done started, const std::shared_ptr<void>& keeper);

 private:
  // calls
  Operation* new_operation(Operation::Kind kind, Done done);
  void enqueue(Operation* operation);
  void refuse(Done done, Error error);
  Status check_write(const WriteRecord& record, std::span<const uint64_t> crcs, const Buffer& data,
                     size_t data_offset) const;
  uint64_t user_slots() const, object_limit() const;

  // waits for table pages
  bool is_ready(const Operation& operation);
  void settle_round();
  void tell_state(std::unique_ptr<StateCall> call);

  // rounds
  enum class Taken : uint8_t { yes, wait };
  void wake(), pump(), form_round();
  Taken take(Operation& operation, uint32_t pages_limit);
  Taken take_prepare(Operation& operation, uint32_t pages_limit);
  Taken take_recover(Operation& operation, uint32_t pages_limit);
  Taken take_repair(Operation& operation, uint32_t pages_limit);
  Taken get_slots(size_t count, std::vector<uint32_t>& slots, Status& outcome);
  uint32_t pages_for_decides() const;
  bool say_again(uint32_t pages_limit);
  void log_decides();
  void log_write(const WriteRecord& record, uint8_t flags, std::span<const uint64_t> crcs,
                 std::span<const uint32_t> slots, uint64_t& lsn);
  void submit_round(), round_durable();
  void round_step(Status status);
  void apply(Operation& operation);
  void complete(std::vector<Operation*>& operations);
  void settle_commits(), release_slots(), arm_lazy();
  void decided(SetId set);
  void fail(Error error);

  // reads
  void take_owner(ReadCall* call, uint32_t index, const Descriptor& owner);
  void load_owners(ReadCall*), verify_read(ReadCall*), probe_device(ReadCall*);
  void start_read(ReadCall* call, Bytes alignment_of);
  void read_step(ReadCall* call, Status status);
  void device_probed(Status status);
  void finish_read(ReadCall* call);

  // reclaim
  uint64_t log_used() const { return next_lsn_ - stable_tail_; }
  void consider_reclaim();
  bool collect(uint32_t pages_limit);  // false: something is left for another round
  bool collect_homes(uint32_t pages_limit), collect_sets(uint32_t pages_limit);
  bool log_again(const WriteRecord&, const SlotList&, uint32_t pages_limit, uint64_t& lsn);
  bool collect_tombstones(uint32_t pages_limit);
  bool collect_operations(SetId id, SetState& set, uint32_t pages_limit);
  bool anything_before(uint64_t lsn) const;
  void reclaim_after_round(uint64_t published_tail);
  void write_homes();
  void homes_step(Status status);

  // saved index
  void log_saved_index(), save_index_after_round();
  void index_saved(Result<IndexBody> saved);

  io::Host& host_;
  disk::Superblock superblock_;
  Options options_;
  State state_;
  TableLoader loader_;
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
  std::optional<Error> failure_;
  LogPosition recovered_;

  // log
  uint64_t log_pages_;
  uint64_t log_reserve_;  // pages that only reclaim and decisions may use
  uint64_t next_lsn_ = 1, tail_ = 1;
  uint64_t stable_tail_ = 1;  // the tail that a durable round has told
  uint32_t session_ = 0, previous_session_ = 0;

  // rounds
  std::deque<Operation*> queue_;
  std::vector<std::unique_ptr<Operation>> operations_;  // all that were ever made
  std::vector<Operation*> operations_free_;
  RoundBuilder builder_;
  bool round_active_ = false, round_flushing_ = false, waking_ = false, want_round_ = false;
  std::unordered_map<SetId, Version> round_newest_;  // of the prepares taken into it
  uint32_t round_outstanding_ = 0, round_blocks_ = 0, round_growth_ = 0;
  uint64_t round_tail_ = 0;
  std::vector<Operation*> round_operations_;
  std::vector<Commit> round_commits_;
  std::vector<DataPiece> unproven_;  // of the last durable round
  std::vector<Buffer> staging_;
  std::vector<SetId> decides_pending_, forgets_pending_;
  Done started_;
  std::weak_ptr<void> keeper_;
  uint64_t device_bytes_written_ = 0;
  // table pages in memory for what waits for them
  bool front_loading_ = false;
  std::vector<PagePins> front_pins_, round_pins_, images_pins_;

  // reads
  std::deque<Releasing> releasing_;  // once the reads that were going on then are done
  ReadCalls reads_;
  std::vector<ReadCall*> unreadable_;  // until it is known whether the device still lives
  Buffer probe_page_;

  // reclaim
  enum class Reclaim : uint8_t { idle, logging, homes, publishing };
  Reclaim reclaim_ = Reclaim::idle;
  uint64_t reclaim_target_ = 0;
  std::vector<uint32_t> reclaim_pages_;  // with an open intent, image not yet written
  size_t reclaim_at_ = 0, reclaim_outstanding_ = 0;
  bool reclaim_flushing_ = false, relief_ = false;  // relief: of the table's share of memory
  Buffer home_images_;
  bool step_begins_ = false;     // a reclaim whose first homes record is still to be logged
  bool homes_are_told_ = false;  // by flag_homes_before_done: one whole reclaim is behind
  std::vector<Done> checkpoints_waiting_, checkpoints_active_;

  IndexSaver saver_;
  SavedIndexes saved_;
  io::Timer lazy_timer_, late_timer_;  // late: of a round that the simulator holds back
  std::unique_ptr<io::Disk> disk_;     // destroyed first: its completions point here
};

}  // namespace sp::store
