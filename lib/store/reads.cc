// Reads of StoreImpl. Slots, versions and checksums are taken from memory when a read starts; what
// it found stays in place until it ends, because slots freed meanwhile wait for it. Every block is
// verified before anything is answered.
#include <algorithm>
#include <cstring>

#include "base/planted.h"
#include "base/probe.h"
#include "store/store_impl.h"

namespace sp::store {

namespace {

uint64_t crc_of_zeros() {
  static const uint64_t crc = crc64(std::array<std::byte, page_bytes>{});
  return crc;
}

bool aligned(Bytes bytes) {
  return reinterpret_cast<uintptr_t>(bytes.data()) % Buffer::alignment == 0;
}

// For a planted bug: what a checksum beside the data would say, which knows not whose they are.
bool is_block_of_another_place(const SlotTable& table, Bytes content, BlockRead& block) {
  const uint64_t crc = crc64(content);
  for (uint32_t slot = 0; slot < table.slot_count(); slot++) {
    const Descriptor* const owner = table.find(slot);
    if (owner == nullptr || !owner->used() || owner->crc != crc) continue;
    block.crc = crc;
    return true;
  }
  return false;
}

}  // namespace

ReadCall* ReadCalls::begin(ObjectId object, uint32_t first_block) {
  if (free_.empty()) {
    calls_.push_back(std::make_unique<ReadCall>());
    free_.push_back(calls_.back().get());
  }
  ReadCall* call = free_.back();
  free_.pop_back();
  call->number = ++number_;
  call->newer = nullptr;
  call->older = newest_;
  (newest_ != nullptr ? newest_->newer : oldest_) = call;
  newest_ = call;
  call->object = object;
  call->first_block = first_block;
  call->status = Status{};
  call->unreadable = false;
  return call;
}

void ReadCalls::end(ReadCall* call) {
  (call->older != nullptr ? call->older->newer : oldest_) = call->newer;
  (call->newer != nullptr ? call->newer->older : newest_) = call->older;
}

void StoreImpl::read(ObjectId id, uint16_t first_block, uint16_t block_count, MutableBytes into,
                     Callback<void(Result<std::vector<BlockRead>>)> done) {
  ReadCall* call = reads_.begin(id, first_block);
  call->done = std::move(done);
  call->into = into;
  if (failure_)
    call->status = *failure_;
  else if (block_count == 0 || uint32_t{first_block} + block_count > limits::blocks_per_object ||
           into.size() < size_t{block_count} * page_bytes)
    call->status = Error(Code::invalid, "a read beyond its object, or into too little memory");
  if (call->status.ok()) {
    const Object* object = state_.find(id);
    for (uint32_t i = 0; i < block_count; i++)
      call->slots.push_back(object == nullptr ? no_slot : object->slot(first_block + i));
  }
  start_read(call, into);
}

void StoreImpl::read_undecided(SetId set, Version version,
                               Callback<void(Result<Buffer>, std::vector<uint64_t>)> done) {
  const Undecided* write = state_.find_undecided(set, version);
  ReadCall* call = reads_.begin(write == nullptr ? ObjectId{} : write->record.object,
                                write == nullptr ? 0 : write->record.first_block);
  call->done_undecided = std::move(done);
  if (failure_) {
    call->status = *failure_;
  } else if (write == nullptr) {
    call->status = Error(Code::not_found, "no undecided write with this version");
  } else if (write->record.kind != WriteKind::data) {
    call->status = Error(Code::invalid, "a discard has no content");
  } else {
    const auto slots = write->slots.view();
    call->slots.assign(slots.begin(), slots.end());
    call->buffer = Buffer::allocate(slots.size() * page_bytes);
    call->into = call->buffer.mutable_bytes();
  }
  start_read(call, call->into);
}

void StoreImpl::start_read(ReadCall* call, Bytes target) {
  call->detour = call->status.ok() && !aligned(target);
  if (call->detour) call->buffer = Buffer::allocate(call->slots.size() * page_bytes);
  std::byte* const memory = call->detour ? call->buffer.data() : call->into.data();
  call->outstanding = 1;  // this function's own share
  bool absent = false;
  const auto count = static_cast<uint32_t>(call->slots.size());
  for (uint32_t i = 0; i < count && call->status.ok(); i++) {
    const uint32_t slot = call->slots[i];
    if (slot == no_slot) {
      call->blocks.push_back({Version{}, crc_of_zeros()});
      continue;
    }
    call->blocks.push_back({});
    const Descriptor* const owner = state_.table().find(slot);
    if (owner != nullptr)
      take_owner(call, i, *owner);
    else
      absent = true;
  }
  if (absent && call->status.ok()) load_owners(call);
  for (uint32_t i = 0; i < count && call->status.ok();) {
    uint32_t run = 1;
    if (call->slots[i] == no_slot) {
      std::memset(memory + size_t{i} * page_bytes, 0, page_bytes);
    } else {
      while (i + run < count && call->slots[i + run] == call->slots[i] + run) run++;
      call->outstanding++;
      disk_->read(state_.table().slot_offset(call->slots[i]),
                  {memory + size_t{i} * page_bytes, size_t{run} * page_bytes},
                  [this, call](Status status) { read_step(call, std::move(status)); });
    }
    i += run;
  }
  if (call->outstanding > 1) {
    call->outstanding--;
    return;
  }
  host_.reactor.post([this, call, alive = alive_] {
    if (*alive) read_step(call, Status{});
  });
}

void StoreImpl::take_owner(ReadCall* call, uint32_t index, const Descriptor& owner) {
  if (!owner.used() || owner.object_id() != call->object ||
      owner.block() != call->first_block + index)
    call->status = Error(Code::damaged, "slot " + std::to_string(call->slots[index]) +
                                            " belongs to another block than the one asked for");
  call->blocks[index] = {Version::from_packed(owner.version), owner.crc};
}

// Beside the data. An entry is as it was when the read began: the slot is not used anew while it
// goes on.
void StoreImpl::load_owners(ReadCall* call) {
  SP_PROBE(store_read_needs_table_page);
  std::vector<uint32_t> pages;
  for (const uint32_t slot : call->slots) {
    if (slot == no_slot || state_.table().find(slot) != nullptr) continue;
    const uint32_t page = SlotTable::page_of(slot);
    if (std::find(pages.begin(), pages.end(), page) == pages.end()) pages.push_back(page);
  }
  call->outstanding++;
  loader_.load(*disk_, pages, [this, call](Result<PagePins> loaded) {
    const auto alive = alive_;
    if (!loaded.ok()) {
      if (!failure_) fail(loaded.error());
      if (!*alive) return;
      if (call->status.ok()) call->status = *failure_;
      return read_step(call, Status{});
    }
    // Of the others it was taken before, and they may be gone by now.
    for (uint32_t i = 0; i < call->slots.size() && call->status.ok(); i++)
      if (call->slots[i] != no_slot && call->blocks[i].version.is_zero())
        take_owner(call, i, *state_.table().find(call->slots[i]));
    read_step(call, Status{});
    if (*alive) state_.table().pages().trim();
  });
}

void StoreImpl::read_step(ReadCall* call, Status status) {
  if (!status.ok()) {
    call->unreadable = true;
    if (call->status.ok()) call->status = std::move(status).error().with("reading blocks");
  }
  if (--call->outstanding > 0) return;
  if (call->unreadable) return probe_device(call);
  verify_read(call);
}

void StoreImpl::verify_read(ReadCall* call) {
  const std::byte* const memory = call->detour ? call->buffer.data() : call->into.data();
  for (size_t i = 0; i < call->slots.size() && call->status.ok(); i++) {
    if (call->slots[i] == no_slot ||
        crc64({memory + i * page_bytes, page_bytes}) == call->blocks[i].crc ||
        (SP_PLANTED_BUG(store_believes_checksum_of_place) &&
         is_block_of_another_place(state_.table(), {memory + i * page_bytes, page_bytes},
                                   call->blocks[i])) ||
        SP_PLANTED_BUG(store_reads_unverified) || SP_PLANTED_BUG(client_reads_unverified))
      continue;
    const uint32_t slot = call->slots[i];
    call->status = Error(Code::damaged, "block " + std::to_string(call->first_block + i) +
                                            " of object " + std::to_string(call->object.index) +
                                            " of volume " + std::to_string(call->object.volume) +
                                            " is damaged at device offset " +
                                            std::to_string(state_.table().slot_offset(slot)) +
                                            ": repair it from another copy");
  }
  if (call->status.ok() && call->detour)
    std::memcpy(call->into.data(), memory, call->slots.size() * page_bytes);
  finish_read(call);
}

// A sector that cannot be read is as good as a damaged one: other copies have the block. A device
// on which neither superblock can be read either is no device any more, and says nothing of blocks.
void StoreImpl::probe_device(ReadCall* call) {
  unreadable_.push_back(call);
  if (unreadable_.size() > 1) return;  // the one on its way answers for this one, too
  if (!probe_page_) probe_page_ = Buffer::allocate(page_bytes);
  disk_->read(0, probe_page_.mutable_bytes(), [this](Status first) {
    if (first.ok()) return device_probed({});
    disk_->read(superblock_.layout.device_bytes - page_bytes, probe_page_.mutable_bytes(),
                [this](Status last) { device_probed(std::move(last)); });
  });
}

void StoreImpl::device_probed(Status status) {
  const auto alive = alive_;
  if (!status.ok()) {
    SP_PROBE(store_device_dead_when_read);
    fail(std::move(status).error().with("the device cannot be read any more"));
    if (!*alive) return;
  } else {
    SP_PROBE(store_unreadable_sector);
  }
  const std::vector<ReadCall*> calls = std::move(unreadable_);
  unreadable_.clear();
  for (ReadCall* call : calls) {
    call->status =
        failure_ ? *failure_ : Error(Code::damaged, std::move(call->status).error().message());
    finish_read(call);
    if (!*alive) return;
  }
}

void StoreImpl::finish_read(ReadCall* call) {
  reads_.end(call);
  const bool was_waited_for = !releasing_.empty();
  release_slots();
  auto done = std::move(call->done);
  auto done_undecided = std::move(call->done_undecided);
  std::vector<BlockRead> blocks = std::move(call->blocks);
  Buffer buffer = std::move(call->buffer);
  Status status = std::move(call->status);
  call->blocks.clear();
  call->slots.clear();
  reads_.give_back(call);
  if (was_waited_for && !queue_.empty()) wake();
  if (done) {
    if (status.ok())
      done.call_once(std::move(blocks));
    else
      done.call_once(std::move(status).error());
  } else if (done_undecided) {
    std::vector<uint64_t> crcs;
    for (const BlockRead& block : blocks) crcs.push_back(block.crc);
    if (status.ok())
      done_undecided.call_once(std::move(buffer), std::move(crcs));
    else
      done_undecided.call_once(std::move(status).error(), {});
  }
}

}  // namespace sp::store
