// SimPage: shared content of 4 KiB of a simulated disk, and SimWrite: what one write puts there,
// cut at the pages' bounds. Content is copied once, when a write is issued; from then on the write
// in flight, the medium, and what would be undone at a crash refer to the same page. One that
// several refer to is not changed. Pages of zeros are most of what a start writes: they are all the
// same one. Thread rule: a page and all references to it stay on one thread.
#pragma once
#include <algorithm>
#include <array>
#include <cstdint>
#include <utility>
#include <vector>

#include "base/bytes.h"

namespace sp::io {

class SimPage {
 public:
  static constexpr uint64_t size_bytes = 4096;

  SimPage() = default;  // no page
  SimPage(const SimPage& other) noexcept : content_(other.content_) {
    if (content_ != nullptr) ++content_->references;
  }
  SimPage(SimPage&& other) noexcept : content_(std::exchange(other.content_, nullptr)) {}
  SimPage& operator=(SimPage other) noexcept {
    std::swap(content_, other.content_);
    return *this;
  }
  ~SimPage() {
    if (content_ != nullptr && --content_->references == 0) give_back(content_);
  }
  // With these 4096 bytes.
  static SimPage of(Bytes bytes);
  // To be filled by the caller.
  static SimPage fresh();

  explicit operator bool() const { return content_ != nullptr; }
  const std::byte* data() const { return content_->bytes.data(); }
  Bytes bytes() const { return content_->bytes; }
  // To be changed: after this nobody else refers to it. There must be one.
  std::byte* own();

 private:
  struct Content {
    std::array<std::byte, size_bytes> bytes;
    uint32_t references;
  };
  struct Pool;
  explicit SimPage(Content* content) noexcept : content_(content) {}
  static void give_back(Content* content) noexcept;
  static thread_local constinit Content zeros;  // keeps one reference of its own for ever

  Content* content_ = nullptr;
};

struct SimWrite {
  SimWrite() = default;
  SimWrite(uint64_t at, Bytes bytes);
  bool holds(const std::byte* bytes) const;  // these are what it was made of
  void copy_to(MutableBytes bytes) const;    // all of it
  // The same bytes for another place.
  SimWrite at(uint64_t other_offset) &&;
  // Calls step(page number, first byte within it, bytes of it, its content) for each page touched.
  template <class Step>
  void each_page(Step&& step) const {
    uint64_t at = offset;
    for (const SimPage& page : pages) {
      const uint64_t within = at % SimPage::size_bytes;
      const uint64_t length = std::min(offset + size - at, SimPage::size_bytes - within);
      step(at / SimPage::size_bytes, within, length, page);
      at += length;
    }
  }

  uint64_t offset = 0, size = 0;
  std::vector<SimPage> pages;  // the bytes lie where they will lie on the medium
};

}  // namespace sp::io
