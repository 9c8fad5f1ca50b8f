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
  size_t size() const { return head_ == nullptr ? 0 : head_->size; }
  std::byte* data() const { return head_ == nullptr ? nullptr : head_->memory; }
  Bytes bytes() const { return {data(), size()}; }
  MutableBytes mutable_bytes() const { return {data(), size()}; }

 private:
  struct Head {
    std::byte* memory;
    size_t size;
    size_t capacity;
    uint32_t references;
  };
  struct Pool;
  static Pool& pool();
  explicit Buffer(Head* head) : head_(head) {}
  void retain() noexcept {
    if (head_ != nullptr) ++head_->references;
  }
  void release() noexcept {
    Head* const head = std::exchange(head_, nullptr);
    if (head != nullptr && --head->references == 0) give_back(head);
  }
  static void give_back(Head* head) noexcept;
  Head* head_ = nullptr;
};

}  // namespace sp
