#include "attach/unaligned.h"

#include <algorithm>
#include <cstring>

#include "base/limits.h"

namespace sp::attach {

namespace {
constexpr uint64_t block = limits::block_bytes;
constexpr size_t spare_operations_max = 256;
uint64_t round_down(uint64_t value) { return value / block * block; }
uint64_t round_up(uint64_t value) { return (value + block - 1) / block * block; }
}  // namespace

struct Unaligned::Operation {
  Kind kind;
  uint64_t offset, size;
  std::byte* into;
  const std::byte* from;
  bool partial;    // covers a part of a block
  uint32_t parts;  // under way
  size_t at;       // index in reads_ or active_
  Status status;
  Done done;

  uint64_t end() const { return offset + size; }
};

Unaligned::Unaligned(client::BlockDevice& device) : device_(device) {}

Unaligned::~Unaligned() {
  for (const auto* list : {&reads_, &active_, &waiting_})
    for (Operation* operation : *list) delete operation;
}

Unaligned::Operation* Unaligned::make(Kind kind, uint64_t offset, uint64_t size, Done done) {
  SP_ASSERT_OP(size, >, 0u);
  std::unique_ptr<Operation> operation;
  if (spare_.empty()) {
    operation = std::make_unique<Operation>();
  } else {
    operation = std::move(spare_.back());
    spare_.pop_back();
  }
  operation->kind = kind;
  operation->offset = offset;
  operation->size = size;
  operation->into = nullptr;
  operation->from = nullptr;
  operation->partial = offset % block != 0 || size % block != 0;
  operation->parts = 0;
  operation->at = none;
  operation->status = ok_status();
  operation->done = std::move(done);
  return operation.release();
}

void Unaligned::read(uint64_t offset, MutableBytes into, Done done) {
  Operation* operation = make(Kind::read, offset, into.size(), std::move(done));
  operation->into = into.data();
  put(reads_, operation);
  start(operation);
}

void Unaligned::write(uint64_t offset, Bytes from, Done done) {
  Operation* operation = make(Kind::write, offset, from.size(), std::move(done));
  operation->from = from.data();
  enqueue(operation);
}

void Unaligned::write_zeroes(uint64_t offset, uint64_t size, Done done) {
  enqueue(make(Kind::zero, offset, size, std::move(done)));
}

void Unaligned::discard(uint64_t offset, uint64_t size, Done done) {
  const uint64_t begin = round_up(offset), end = round_down(offset + size);
  // Nothing whole to discard: the flush completes in a later turn, as a discard would.
  if (begin >= end) return device_.flush(std::move(done));
  enqueue(make(Kind::discard, begin, end - begin, std::move(done)));
}

void Unaligned::flush(Done done) { device_.flush(std::move(done)); }

bool Unaligned::conflicts(const Operation& a, const Operation& b) const {
  if (!a.partial && !b.partial) return false;
  return round_down(a.offset) < round_up(b.end()) && round_down(b.offset) < round_up(a.end());
}

void Unaligned::put(std::vector<Operation*>& list, Operation* operation) {
  operation->at = list.size();
  list.push_back(operation);
}

void Unaligned::remove(std::vector<Operation*>& list, Operation* operation) {
  Operation* last = list.back();
  list[operation->at] = last;
  last->at = operation->at;
  list.pop_back();
}

void Unaligned::enqueue(Operation* operation) {
  if (operation->partial) ++partial_count_;
  if (partial_count_ > 0) {
    const auto blocks = [&](const Operation* other) { return conflicts(*operation, *other); };
    if (std::any_of(active_.begin(), active_.end(), blocks) ||
        std::any_of(waiting_.begin(), waiting_.end(), blocks)) {
      waiting_.push_back(operation);
      return;
    }
  }
  put(active_, operation);
  start(operation);
}

void Unaligned::start(Operation* operation) {
  const uint64_t offset = operation->offset, end = operation->end();
  const uint64_t first_whole = round_up(offset), last_whole = round_down(end);
  operation->parts = 1;  // held until all parts are started
  if (first_whole > last_whole) {
    start_edge(operation, round_down(offset));  // inside one block
  } else {
    if (offset < first_whole) start_edge(operation, round_down(offset));
    if (first_whole < last_whole) start_middle(operation, first_whole, last_whole);
    if (last_whole < end) start_edge(operation, last_whole);
  }
  part_done(operation, ok_status());
}

void Unaligned::start_middle(Operation* operation, uint64_t begin, uint64_t end) {
  ++operation->parts;
  const uint64_t skip = begin - operation->offset, size = end - begin;
  const auto done = [this, operation](Status status) { part_done(operation, std::move(status)); };
  switch (operation->kind) {
    case Kind::read: return device_.read(begin, {operation->into + skip, size}, done);
    case Kind::write: return device_.write(begin, {operation->from + skip, size}, done);
    case Kind::zero: return device_.write_zeroes(begin, size, done);
    case Kind::discard: return device_.discard(begin, size, done);
  }
}

void Unaligned::start_edge(Operation* operation, uint64_t block_offset) {
  ++operation->parts;
  const Buffer buffer = Buffer::allocate(block);
  device_.read(block_offset, buffer.mutable_bytes(),
               [this, operation, block_offset, buffer](Status status) {
                 if (!status.ok()) return part_done(operation, std::move(status));
                 change_edge(operation, block_offset, buffer);
               });
}

void Unaligned::change_edge(Operation* operation, uint64_t block_offset, const Buffer& buffer) {
  const uint64_t begin = std::max(operation->offset, block_offset);
  const uint64_t end = std::min(operation->end(), block_offset + block);
  std::byte* inside = buffer.data() + (begin - block_offset);
  const uint64_t skip = begin - operation->offset, size = end - begin;
  if (operation->kind == Kind::read) {
    std::memcpy(operation->into + skip, inside, size);
    return part_done(operation, ok_status());
  }
  if (operation->kind == Kind::write)
    std::memcpy(inside, operation->from + skip, size);
  else
    std::memset(inside, 0, size);
  device_.write(block_offset, buffer.bytes(), [this, operation, buffer](Status status) {
    part_done(operation, std::move(status));
  });
}

void Unaligned::part_done(Operation* operation, Status status) {
  if (!status.ok() && operation->status.ok()) operation->status = std::move(status);
  if (--operation->parts == 0) finish(operation);
}

void Unaligned::finish(Operation* operation) {
  if (operation->kind == Kind::read) {
    remove(reads_, operation);
  } else {
    remove(active_, operation);
    if (operation->partial) --partial_count_;
  }
  Done done = std::move(operation->done);
  Status status = std::move(operation->status);
  if (spare_.size() < spare_operations_max)
    spare_.emplace_back(operation);
  else
    delete operation;
  if (!waiting_.empty()) start_waiting();
  done.call_once(std::move(status));  // last: the owner may destroy the adapter in it
}

void Unaligned::start_waiting() {
  std::vector<Operation*> ready;
  for (size_t i = 0; i < waiting_.size();) {
    Operation* candidate = waiting_[i];
    const auto blocks = [&](const Operation* other) { return conflicts(*candidate, *other); };
    const auto here = waiting_.begin() + static_cast<std::ptrdiff_t>(i);
    if (std::any_of(active_.begin(), active_.end(), blocks) ||
        std::any_of(waiting_.begin(), here, blocks)) {
      ++i;
      continue;
    }
    waiting_.erase(here);
    put(active_, candidate);
    ready.push_back(candidate);
  }
  for (Operation* operation : ready) start(operation);
}

}  // namespace sp::attach
