// operator new and delete of every program that simulates: free lists by size, of each thread. A
// simulated second is tens of thousands of small pieces of memory that live for microseconds, and
// the general allocator took an eighth of all time. Memory comes from one reserved range, in spans
// of one size class each, so that a piece tells its class by its address; what is larger, and what
// was taken when the range was full, is malloc's. Not with sanitizers, which bring their own.
#include <sys/mman.h>

#include <algorithm>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <new>

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define SP_OWN_MEMORY 0
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer) || \
    __has_feature(memory_sanitizer)
#define SP_OWN_MEMORY 0
#endif
#endif
#ifndef SP_OWN_MEMORY
#define SP_OWN_MEMORY 1
#endif

#if SP_OWN_MEMORY

namespace {

constexpr size_t span_bytes = 64 << 10;
constexpr size_t range_bytes = size_t{1} << 36;  // of addresses; memory is there when touched
constexpr size_t fine_max = 1024, pooled_max = 8192;
constexpr size_t fine_step = 16, coarse_step = 512;
constexpr size_t class_count = fine_max / fine_step + (pooled_max - fine_max) / coarse_step + 1;

constexpr size_t class_of(size_t size) {
  if (size <= fine_max) return (size + fine_step - 1) / fine_step;
  return fine_max / fine_step + (size - fine_max + coarse_step - 1) / coarse_step;
}
constexpr size_t bytes_of(size_t index) {
  constexpr size_t fine = fine_max / fine_step;
  if (index <= fine) return std::max<size_t>(index, 1) * fine_step;
  return fine_max + (index - fine) * coarse_step;
}
static_assert(class_of(pooled_max) == class_count - 1 && bytes_of(class_count - 1) == pooled_max);

struct Free {
  Free* next;
};
// Of one class: pieces given back, and the rest of a span not yet handed out.
struct List {
  Free* first = nullptr;
  std::byte* rest = nullptr;
  std::byte* end = nullptr;
};
thread_local constinit List lists[class_count];

std::atomic<std::byte*> range{nullptr};  // never taken back
std::atomic<size_t> spans_taken{0};
uint8_t span_class[range_bytes / span_bytes];
static_assert(class_count <= UINT8_MAX);

bool reserve_range() {
  void* const made = mmap(nullptr, range_bytes, PROT_READ | PROT_WRITE,
                          MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (made == MAP_FAILED) return false;
  std::byte* none = nullptr;
  if (!range.compare_exchange_strong(none, static_cast<std::byte*>(made)))
    munmap(made, range_bytes);
  return true;
}

bool is_pooled(const void* memory) {
  const std::byte* const begin = range.load(std::memory_order_relaxed);
  return begin != nullptr &&
         static_cast<size_t>(static_cast<const std::byte*>(memory) - begin) < range_bytes;
}

void* from_malloc(size_t size) {
  if (void* const memory = std::malloc(size)) return memory;
  std::abort();  // nothing here goes on without memory
}

void* from_span(size_t index) {
  List& list = lists[index];
  const size_t size = bytes_of(index);
  if (static_cast<size_t>(list.end - list.rest) < size) {
    if (range.load() == nullptr && !reserve_range()) return from_malloc(size);
    const size_t span = spans_taken.fetch_add(1);
    if (span >= range_bytes / span_bytes) return from_malloc(size);
    span_class[span] = static_cast<uint8_t>(index);
    list.rest = range.load() + span * span_bytes;
    list.end = list.rest + span_bytes;
  }
  std::byte* const memory = list.rest;
  list.rest += size;
  return memory;
}

void give_back(size_t index, void* memory) {
  auto* const piece = static_cast<Free*>(memory);
  piece->next = lists[index].first;
  lists[index].first = piece;
}

}  // namespace

void* operator new(size_t size) {
  if (size > pooled_max) return from_malloc(size);
  const size_t index = class_of(size);
  Free* const piece = lists[index].first;
  if (piece == nullptr) return from_span(index);
  lists[index].first = piece->next;
  return piece;
}

void operator delete(void* memory) noexcept {
  if (memory == nullptr) return;
  if (!is_pooled(memory)) return std::free(memory);
  const auto offset =
      static_cast<size_t>(static_cast<std::byte*>(memory) - range.load(std::memory_order_relaxed));
  give_back(span_class[offset / span_bytes], memory);
}

void operator delete(void* memory, size_t size) noexcept {
  if (memory == nullptr) return;
  if (size > pooled_max || !is_pooled(memory)) return std::free(memory);
  give_back(class_of(size), memory);
}

#endif
