// The calls of StoreImpl: checking what was asked, queueing it, and answering from memory.
#include "store/store_impl.h"

#include <algorithm>
#include "base/planted.h"

namespace sp::store {

StoreImpl::StoreImpl(io::Host& host, std::unique_ptr<io::Disk> disk,
                     const disk::Superblock& superblock, const Options& options)
    : host_(host),
      superblock_(superblock),
      options_(options),
      state_(superblock, options),
      loader_(host, superblock, state_.table()),
      log_pages_(disk::log_page_count(superblock.layout)),
      log_reserve_(log_pages_ / 8),
      builder_(static_cast<uint32_t>(std::min<uint64_t>(options.round_pages_max, log_pages_ / 8))),
      home_images_(Buffer::allocate(
          std::min<size_t>(options.home_batch_pages, state_.table().page_count()) * page_bytes)),
      saver_(host, superblock, state_, options),
      lazy_timer_(host.reactor),
      late_timer_(host.reactor),
      disk_(std::move(disk)) {}

StoreImpl::~StoreImpl() { *alive_ = false; }

void StoreImpl::start(const LogPosition& position, Done started,
                      const std::shared_ptr<void>& keeper) {
  keeper_ = keeper;
  recovered_ = position;
  next_lsn_ = position.next_lsn;
  tail_ = stable_tail_ = position.tail_lsn;
  saved_.lsn = position.saved_lsn;
  saved_.home = position.saved_home;
  previous_session_ = position.session;
  session_ = position.session + 1;
  if (options_.verify_only) {
    host_.reactor.post([keeper, alive = alive_, call = std::make_unique<Done>(std::move(started))] {
      if (*alive) call->call_once(Status{});
    });
    return;
  }
  for (auto& [id, set] : state_.sets()) {
    if (SP_PLANTED_BUG(store_shows_undecided_after_open) && !set.undecided.empty())
      state_.decide(id, set.undecided.back().record.version);
    decided(id);
  }
  if (log_used() >= log_pages_) {
    host_.reactor.post([keeper, alive = alive_, call = std::make_unique<Done>(std::move(started))] {
      if (*alive)
        call->call_once(Error(Code::no_space,
                              "the log is full to its last page: this disk cannot be opened for "
                              "writing; format it, its content is on the other copies"));
    });
    return;
  }
  builder_.begin(next_lsn_);
  const OpenedBody body{host_.clock.wall_ms()};
  builder_.append(RecordKind::opened, 0, {struct_bytes(body)});
  round_tail_ = tail_;
  started_ = std::move(started);
  submit_round();
}

uint64_t StoreImpl::user_slots() const {
  return uint64_t{state_.table().slot_count()} * share_for_users_percent / 100;
}

uint64_t StoreImpl::object_limit() const {
  return std::max(objects_min, state_.table().slot_count() / slots_per_object_least);
}

Operation* StoreImpl::new_operation(Operation::Kind kind, Done done) {
  if (operations_free_.empty()) {
    operations_.push_back(std::make_unique<Operation>());
    operations_free_.push_back(operations_.back().get());
  }
  Operation* operation = operations_free_.back();
  operations_free_.pop_back();
  operation->kind = kind;
  operation->done = std::move(done);
  return operation;
}

void StoreImpl::enqueue(Operation* operation) {
  queue_.push_back(operation);
  wake();
}

void StoreImpl::refuse(Done done, Error error) {
  struct Refusal {
    Done done;
    Error error;
  };
  host_.reactor.post([alive = alive_, refusal = std::make_unique<Refusal>(
                                          Refusal{std::move(done), std::move(error)})] {
    if (*alive && refusal->done) refusal->done.call_once(std::move(refusal->error));
  });
}

Status StoreImpl::check_write(const WriteRecord& record, std::span<const uint64_t> crcs,
                              const Buffer& data, size_t data_offset) const {
  if (failure_) return *failure_;
  if (options_.verify_only) return Error(Code::refused, "the store is open for reading only");
  const bool is_data = record.kind == WriteKind::data;
  const uint32_t count_max = is_data ? limits::io_blocks_max : limits::blocks_per_object;
  if (record.version.is_zero() || record.object.volume == 0)
    return Error(Code::invalid, "a write without version or volume");
  if (record.block_count == 0 || record.block_count > count_max ||
      uint32_t{record.first_block} + record.block_count > limits::blocks_per_object)
    return Error(Code::invalid, "a write beyond its object, or of too many blocks");
  if (!is_data && record.kind != WriteKind::discard)
    return Error(Code::invalid, "a write of unknown kind");
  if (is_data && (crcs.size() != record.block_count || !data || data_offset > data.size() ||
                  data.size() - data_offset < size_t{record.block_count} * page_bytes))
    return Error(Code::invalid, "a write with less data or checksums than blocks");
  return {};
}

void StoreImpl::prepare(const WriteRecord& record, std::span<const uint64_t> crcs, Buffer data,
                        size_t data_offset, Done durable) {
  Operation* operation = new_operation(Operation::Kind::prepare, std::move(durable));
  // A refused write keeps its place in the queue, so that acknowledgements stay in order.
  operation->outcome = check_write(record, crcs, data, data_offset);
  if (!operation->outcome.ok()) {
    Done done = std::move(operation->done);
    Error error = std::move(operation->outcome).error();
    operation->outcome = Status{};
    operations_free_.push_back(operation);
    refuse(std::move(done), std::move(error));
    return;
  }
  operation->record = record;
  operation->crcs.assign(crcs.begin(), record.kind == WriteKind::data ? crcs.end() : crcs.begin());
  operation->data = std::move(data);
  operation->data_offset = data_offset;
  enqueue(operation);
}

void StoreImpl::decide(SetId set, Version up_to) {
  if (failure_ || options_.verify_only) return;
  state_.decide(set, up_to);
  decided(set);
}

Version StoreImpl::decided_to(SetId set) const {
  const SetState* state = state_.find_set(set);
  return state == nullptr ? Version{} : state->decided;
}

std::vector<WriteRecord> StoreImpl::undecided(SetId set) const {
  std::vector<WriteRecord> records;
  if (const SetState* state = state_.find_set(set); state != nullptr)
    for (const Undecided& write : state->undecided) records.push_back(write.record);
  return records;
}

void StoreImpl::drop_undecided(SetId set, Done done) {
  if (failure_) return refuse(std::move(done), *failure_);
  if (options_.verify_only)
    return refuse(std::move(done), Error(Code::refused, "the store is open for reading only"));
  Operation* operation = new_operation(Operation::Kind::drop, std::move(done));
  operation->set = set;
  state_.begin_drop(set);
  enqueue(operation);
}

std::vector<std::pair<OperationId, Version>> StoreImpl::operations(SetId set) const {
  std::vector<std::pair<OperationId, Version>> known;
  if (const SetState* state = state_.find_set(set); state != nullptr)
    for (const KnownOperation& operation : state->operations.all())
      known.emplace_back(operation.id, operation.version);
  return known;
}

bool StoreImpl::has_undecided(ObjectId object, uint16_t first_block, uint16_t block_count) const {
  return state_.has_undecided(object, first_block, block_count);
}

void StoreImpl::add_present(ObjectId id, uint16_t first_block, uint16_t block_count,
                            BlockSet& into) const {
  const Object* const object = state_.find(id);
  if (object == nullptr) return;
  const uint32_t end = std::min<uint32_t>(uint32_t{first_block} + block_count, into.size());
  for (uint32_t block = first_block; block < end; block++)
    if (object->slot(block) != no_slot) into.set(block);
}

std::optional<SetRecord> StoreImpl::set_record(SetId set) const {
  const SetState* state = state_.find_set(set);
  return state == nullptr ? std::nullopt : state->record;
}

std::vector<SetRecord> StoreImpl::sets() const {
  std::vector<SetRecord> records;
  for (const auto& [id, set] : state_.sets())
    if (set.record) records.push_back(*set.record);
  return records;
}

void StoreImpl::put_set(const SetRecord& record, Done durable) {
  if (failure_) return refuse(std::move(durable), *failure_);
  if (options_.verify_only)
    return refuse(std::move(durable), Error(Code::refused, "the store is open for reading only"));
  Operation* operation = new_operation(Operation::Kind::put_set, std::move(durable));
  operation->set_record = record;
  enqueue(operation);
}

void StoreImpl::remove_set(SetId set, Done durable) {
  if (failure_) return refuse(std::move(durable), *failure_);
  if (options_.verify_only)
    return refuse(std::move(durable), Error(Code::refused, "the store is open for reading only"));
  Operation* operation = new_operation(Operation::Kind::remove_set, std::move(durable));
  operation->set = set;
  enqueue(operation);
}

void StoreImpl::remove_volume(VolumeId volume, Done durable) {
  if (failure_) return refuse(std::move(durable), *failure_);
  if (options_.verify_only)
    return refuse(std::move(durable), Error(Code::refused, "the store is open for reading only"));
  Operation* operation = new_operation(Operation::Kind::remove_volume, std::move(durable));
  operation->volume = volume;
  enqueue(operation);
}

std::vector<VolumeId> StoreImpl::volumes() const {
  std::vector<VolumeId> volumes;
  for (const auto& [volume, objects] : state_.volumes()) volumes.push_back(volume);
  return volumes;
}

std::vector<ObjectId> StoreImpl::changed_objects(SetId set, Version after, ObjectId cursor,
                                                 size_t count_max) const {
  std::vector<ObjectId> changed;
  const SetState* state = state_.find_set(set);
  if (state == nullptr) return changed;
  for (auto it = state->objects.upper_bound(cursor);
       it != state->objects.end() && changed.size() < count_max; ++it)
    if (it->second->changed > after) changed.push_back(it->first);
  return changed;
}

uint64_t digest_share(ObjectId object, const BlockState& block) {
  return mix64(mix64(mix64(object.packed()) ^ block.block) ^ block.version.packed()) ^
         mix64(block.crc);
}

void StoreImpl::apply_recovered(const ObjectState& source, std::span<const uint16_t> carried,
                                std::span<const uint16_t> lost, Buffer data, Done durable) {
  if (failure_) return refuse(std::move(durable), *failure_);
  if (options_.verify_only)
    return refuse(std::move(durable), Error(Code::refused, "the store is open for reading only"));
  const auto ascending = [](const auto& values, const auto& key) {
    for (size_t i = 1; i < values.size(); i++)
      if (key(values[i - 1]) >= key(values[i])) return false;
    return values.empty() || key(values.back()) < limits::blocks_per_object;
  };
  const auto block_of = [](const BlockState& state) { return state.block; };
  bool valid = source.object.volume != 0 && ascending(source.blocks, block_of);
  for (const auto& numbers : {carried, lost}) {
    valid = valid && ascending(numbers, [](uint16_t block) { return block; });
    for (const uint16_t block : numbers)
      valid =
          valid && std::binary_search(
                       source.blocks.begin(), source.blocks.end(), BlockState{block, {}, 0},
                       [](const BlockState& a, const BlockState& b) { return a.block < b.block; });
  }
  for (const uint16_t block : lost)
    valid = valid && !std::binary_search(carried.begin(), carried.end(), block);
  for (const BlockState& state : source.blocks)
    valid = valid && !state.version.is_zero() && state.version <= source.changed;
  const size_t bytes = carried.size() * page_bytes;
  if (!valid || (bytes > 0 && (!data || data.size() < bytes)))
    return refuse(std::move(durable),
                  Error(Code::invalid, "the state of a recovered object contradicts itself"));
  for (size_t i = 0; i < carried.size(); i++) {
    const auto at = std::lower_bound(
        source.blocks.begin(), source.blocks.end(), carried[i],
        [](const BlockState& state, uint16_t block) { return state.block < block; });
    if (crc64(data.bytes().subspan(i * page_bytes, page_bytes)) != at->crc)
      return refuse(
          std::move(durable),
          Error(Code::damaged,
                "a recovered block does not match its checksum: read it again from its source"));
  }
  Operation* operation = new_operation(Operation::Kind::recover, std::move(durable));
  operation->source = source;
  operation->carried.assign(carried.begin(), carried.end());
  operation->lost.assign(lost.begin(), lost.end());
  operation->data = std::move(data);
  enqueue(operation);
}

std::vector<LostBlock> StoreImpl::lost(uint32_t first_slot, size_t count_max) const {
  std::vector<LostBlock> blocks;
  const auto& known = state_.table().lost();
  for (auto it = known.lower_bound(first_slot); it != known.end() && blocks.size() < count_max;
       ++it) {
    const auto& [slot, owner] = *it;
    if (!owner.uncommitted())
      blocks.push_back({slot, owner.object_id(), SetId::from_packed(owner.set), owner.block()});
  }
  return blocks;
}

void StoreImpl::repair(ObjectId object, uint16_t block, Version version, uint64_t crc, Buffer data,
                       Done durable) {
  if (failure_) return refuse(std::move(durable), *failure_);
  if (options_.verify_only)
    return refuse(std::move(durable), Error(Code::refused, "the store is open for reading only"));
  if (block >= limits::blocks_per_object || !data || data.size() < page_bytes)
    return refuse(std::move(durable), Error(Code::invalid, "a repair without a whole block"));
  if (crc64(data.bytes().first(page_bytes)) != crc)
    return refuse(std::move(durable),
                  Error(Code::damaged, "the block offered as repair does not match its checksum"));
  Operation* operation = new_operation(Operation::Kind::repair, std::move(durable));
  operation->record.object = object;
  operation->record.first_block = block;
  operation->record.block_count = 1;
  operation->record.version = version;
  operation->crcs.assign(1, crc);
  operation->data = std::move(data);
  enqueue(operation);
}

void StoreImpl::forget_tombstones(SetId set, Version passed) {
  if (failure_ || options_.verify_only) return;
  SetState* state = state_.find_set(set);
  if (state == nullptr) return;
  state_.forget(set, passed);
  if (!std::exchange(state->forget_pending, true)) forgets_pending_.push_back(set);
  arm_lazy();
}

uint64_t StoreImpl::tombstone_bytes(SetId set) const {
  const SetState* const state = state_.find_set(set);
  return state == nullptr ? 0 : state->tombstone_bytes;
}

void StoreImpl::checkpoint(Done durable) {
  if (failure_) return refuse(std::move(durable), *failure_);
  if (options_.verify_only)
    return refuse(std::move(durable), Error(Code::refused, "the store is open for reading only"));
  enqueue(new_operation(Operation::Kind::checkpoint, std::move(durable)));
}

void StoreImpl::save_index(Done durable) {
  if (!saver_.has_region()) return checkpoint(std::move(durable));
  if (failure_) return refuse(std::move(durable), *failure_);
  if (options_.verify_only)
    return refuse(std::move(durable), Error(Code::refused, "the store is open for reading only"));
  saved_.waiting.push_back(std::move(durable));
  want_round_ = true;  // it is of the moment after a round
  wake();
}

Space StoreImpl::space() const {
  return {state_.table().slot_count(),
          state_.blocks_decided() + state_.blocks_undecided(),
          object_limit(),
          state_.object_count(),
          log_pages_ * log_payload_bytes,
          state_.tombstone_bytes()};
}

Stats StoreImpl::stats() const {
  Stats stats;
  stats.blocks_total = state_.table().slot_count();
  stats.blocks_used = state_.blocks_decided() + state_.blocks_undecided();
  stats.blocks_free = state_.table().free_count();
  stats.objects_total = object_limit();
  stats.objects_used = state_.object_count();
  stats.log_pages_total = log_pages_;
  stats.memory_bytes = state_.memory_bytes() + saver_.memory_bytes() +
                       (home_images_.size() + size_t{builder_.pages_max()} * page_bytes);
  stats.table_bytes = state_.table().pages().bytes();
  stats.device_bytes_written = device_bytes_written_ + saver_.bytes_written();
  stats.calls_open = operations_.size() - operations_free_.size() + reads_.open();
  return stats;
}

}  // namespace sp::store
