#include "base/buffer.h"

#include <array>
#include <cstdlib>
#include <cstring>
#include <new>
#include <vector>

#include "base/assert.h"
#include "base/limits.h"

namespace sp {

struct Buffer::Head {
  std::byte* memory;
  size_t size;
  size_t capacity;
  uint32_t references;
};

namespace {

// Free memory by power-of-two capacity, 4 KiB to 1 MiB.
struct Pool {
  static constexpr size_t class_count = 9;
  std::array<std::vector<std::byte*>, class_count> free;
  ~Pool() {
    for (auto& list : free)
      for (std::byte* memory : list) std::free(memory);
  }
};

Pool& pool() {
  thread_local Pool instance;
  return instance;
}

size_t class_of(size_t capacity) {
  size_t index = 0;
  for (size_t size = Buffer::alignment; size < capacity; size *= 2) ++index;
  return index;
}

}  // namespace

Buffer Buffer::allocate(size_t size_bytes) {
  SP_ASSERT_OP(size_bytes, <=, limits::buffer_bytes_max);
  size_t capacity = alignment;
  while (capacity < size_bytes) capacity *= 2;
  std::byte* memory = nullptr;
  if (const size_t index = class_of(capacity);
      index < Pool::class_count && !pool().free[index].empty()) {
    memory = pool().free[index].back();
    pool().free[index].pop_back();
  } else {
    memory = static_cast<std::byte*>(std::aligned_alloc(alignment, capacity));
    SP_ASSERT(memory != nullptr);
  }
  return Buffer(new Head{memory, size_bytes, capacity, 1});
}

Buffer Buffer::zeroed(size_t size_bytes) {
  Buffer buffer = allocate(size_bytes);
  std::memset(buffer.data(), 0, size_bytes);
  return buffer;
}

Buffer Buffer::copy_of(Bytes bytes) {
  Buffer buffer = allocate(bytes.size());
  if (!bytes.empty()) std::memcpy(buffer.data(), bytes.data(), bytes.size());
  return buffer;
}

size_t Buffer::size() const { return head_ == nullptr ? 0 : head_->size; }
std::byte* Buffer::data() const { return head_ == nullptr ? nullptr : head_->memory; }

void Buffer::retain() noexcept {
  if (head_ != nullptr) ++head_->references;
}

void Buffer::release() noexcept {
  Head* head = std::exchange(head_, nullptr);
  if (head == nullptr || --head->references != 0) return;
  const size_t index = class_of(head->capacity);
  if (index < Pool::class_count && pool().free[index].size() < limits::buffers_kept_per_size) {
    pool().free[index].push_back(head->memory);
  } else {
    std::free(head->memory);
  }
  delete head;
}

}  // namespace sp
