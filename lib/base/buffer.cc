#include "base/buffer.h"

#include <array>
#include <bit>
#include <cstdlib>
#include <cstring>
#include <vector>

#include "base/assert.h"
#include "base/limits.h"

namespace sp {

namespace {

constexpr size_t class_count = 9;  // by power-of-two capacity, 4 KiB to 1 MiB

size_t class_of(size_t capacity) {
  return static_cast<size_t>(std::bit_width((capacity - 1) / Buffer::alignment));
}

}  // namespace

// Free memory, each piece with its head.
struct Buffer::Pool {
  std::array<std::vector<Head*>, class_count> free;
  ~Pool() {
    for (auto& list : free) {
      for (Head* head : list) {
        std::free(head->memory);
        delete head;
      }
    }
  }
};

Buffer::Pool& Buffer::pool() {
  thread_local Pool instance;
  return instance;
}

Buffer Buffer::allocate(size_t size_bytes) {
  SP_ASSERT_OP(size_bytes, <=, limits::buffer_bytes_max);
  const size_t index = size_bytes == 0 ? 0 : class_of(size_bytes);
  if (index < class_count) {
    auto& free = pool().free[index];
    if (!free.empty()) {
      Head* const head = free.back();
      free.pop_back();
      head->size = size_bytes;
      head->references = 1;
      return Buffer(head);
    }
  }
  const size_t capacity = alignment << index;
  auto* const memory = static_cast<std::byte*>(std::aligned_alloc(alignment, capacity));
  SP_ASSERT(memory != nullptr);
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

void Buffer::give_back(Head* head) noexcept {
  const size_t index = class_of(head->capacity);
  if (index < class_count) {
    auto& free = pool().free[index];
    if (free.size() < limits::buffers_kept_per_size) {
      free.push_back(head);
      return;
    }
  }
  std::free(head->memory);
  delete head;
}

}  // namespace sp
