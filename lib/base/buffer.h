// Buffer: a reference-counted, 4096-aligned piece of memory for block data, so that one write can
// be on its way to the local disk and to two peers without a copy. Copies share the memory; slices
// are the caller's spans. Freed memory of common sizes is kept for reuse per thread (bounded).
// Thread rule: the count is not atomic; a Buffer and all its copies stay on one thread.
#pragma once
#include <cstddef>
#include <cstdint>
#include <utility>

#include "base/bytes.h"

namespace sp {

class Buffer {
 public:
  static constexpr size_t alignment = 4096;

  Buffer() = default;
  // Contents are not initialised. size_bytes up to limits::buffer_bytes_max.
  static Buffer allocate(size_t size_bytes);
  static Buffer zeroed(size_t size_bytes);
  static Buffer copy_of(Bytes bytes);

  Buffer(const Buffer& other) noexcept : head_(other.head_) { retain(); }
  Buffer(Buffer&& other) noexcept : head_(std::exchange(other.head_, nullptr)) {}
  Buffer& operator=(Buffer other) noexcept {
    std::swap(head_, other.head_);
    return *this;
  }
  ~Buffer() { release(); }

  explicit operator bool() const { return head_ != nullptr; }
  size_t size() const;
  std::byte* data() const;
  Bytes bytes() const { return {data(), size()}; }
  MutableBytes mutable_bytes() const { return {data(), size()}; }

 private:
  struct Head;
  explicit Buffer(Head* head) : head_(head) {}
  void retain() noexcept;
  void release() noexcept;
  Head* head_ = nullptr;
};

}  // namespace sp
