// The content of a large device that is copied often: copies share their pages until one of them
// is written. Size and offsets may be anything. Thread rule: one thread.
#pragma once
#include <algorithm>
#include <array>
#include <cstring>
#include <memory>
#include <vector>

#include "base/bytes.h"

namespace sp::test {

class PagedBytes {
 public:
  explicit PagedBytes(uint64_t size)
      : size_(size), groups_((size + group_bytes - 1) / group_bytes) {}

  uint64_t size() const { return size_; }
  void read(uint64_t offset, MutableBytes into) const {
    while (!into.empty()) {
      const size_t at = offset % page_bytes;
      const size_t size = std::min<size_t>(into.size(), page_bytes - at);
      const auto& group = groups_[offset / group_bytes];
      const Page* page = group == nullptr ? nullptr : (*group)[page_in_group(offset)].get();
      if (page == nullptr)
        std::memset(into.data(), 0, size);
      else
        std::memcpy(into.data(), page->data() + at, size);
      offset += size;
      into = into.subspan(size);
    }
  }
  void write(uint64_t offset, Bytes from) {
    while (!from.empty()) {
      const size_t at = offset % page_bytes;
      const size_t size = std::min<size_t>(from.size(), page_bytes - at);
      std::memcpy(own(offset).data() + at, from.data(), size);
      offset += size;
      from = from.subspan(size);
    }
  }

 private:
  static constexpr uint64_t page_bytes = 4096, pages_per_group = 64;
  static constexpr uint64_t group_bytes = page_bytes * pages_per_group;
  using Page = std::array<std::byte, page_bytes>;
  using Group = std::array<std::shared_ptr<Page>, pages_per_group>;  // null: zeros

  static size_t page_in_group(uint64_t offset) { return offset / page_bytes % pages_per_group; }
  Page& own(uint64_t offset) {
    auto& group = groups_[offset / group_bytes];
    if (group == nullptr)
      group = std::make_shared<Group>();
    else if (group.use_count() > 1)
      group = std::make_shared<Group>(*group);
    auto& page = (*group)[page_in_group(offset)];
    if (page == nullptr)
      page = std::make_shared<Page>();
    else if (page.use_count() > 1)
      page = std::make_shared<Page>(*page);
    return *page;
  }

  uint64_t size_;
  std::vector<std::shared_ptr<Group>> groups_;
};

inline void copy_out(const PagedBytes& content, uint64_t offset, MutableBytes into) {
  content.read(offset, into);
}
inline void copy_in(PagedBytes& content, uint64_t offset, Bytes from) {
  content.write(offset, from);
}
inline void copy_out(const std::vector<std::byte>& content, uint64_t offset, MutableBytes into) {
  std::memcpy(into.data(), content.data() + offset, into.size());
}
inline void copy_in(std::vector<std::byte>& content, uint64_t offset, Bytes from) {
  std::memcpy(content.data() + offset, from.data(), from.size());
}

}  // namespace sp::test
