#include "io/sim_page.h"

#include <algorithm>
#include <cstring>

#include "base/assert.h"

namespace sp::io {

thread_local constinit SimPage::Content SimPage::zeros{{}, 1};

// Pages come and go all the time, and worlds come one after the other.
struct SimPage::Pool {
  static constexpr size_t kept_max = 1u << 16;
  std::vector<Content*> free;
  ~Pool() {
    for (Content* content : free) delete content;
  }
  static Pool& get() {
    thread_local Pool pool;
    return pool;
  }
};

SimPage SimPage::fresh() {
  auto& free = Pool::get().free;
  if (free.empty()) {
    auto* const content = new Content;
    content->references = 1;
    return SimPage(content);
  }
  Content* const content = free.back();
  free.pop_back();
  content->references = 1;
  return SimPage(content);
}

void SimPage::give_back(Content* content) noexcept {
  auto& free = Pool::get().free;
  if (free.size() < Pool::kept_max)
    free.push_back(content);
  else
    delete content;
}

SimPage SimPage::of(Bytes bytes) {
  SP_ASSERT_OP(bytes.size(), ==, size_bytes);
  if (std::memcmp(bytes.data(), zeros.bytes.data(), size_bytes) == 0) {
    ++zeros.references;
    return SimPage(&zeros);
  }
  SimPage page = fresh();
  std::memcpy(page.content_->bytes.data(), bytes.data(), size_bytes);
  return page;
}

std::byte* SimPage::own() {
  SP_ASSERT(content_ != nullptr);
  if (content_->references > 1) {
    SimPage copy = fresh();
    copy.content_->bytes = content_->bytes;
    *this = std::move(copy);
  }
  return content_->bytes.data();
}

SimWrite::SimWrite(uint64_t at, Bytes bytes) : offset(at), size(bytes.size()) {
  constexpr uint64_t unit = SimPage::size_bytes;
  pages.reserve((at + size + unit - 1) / unit - at / unit);
  while (!bytes.empty()) {
    const uint64_t within = at % unit;
    const uint64_t length = std::min<uint64_t>(bytes.size(), unit - within);
    if (length == unit) {
      pages.push_back(SimPage::of(bytes.first(unit)));
    } else {
      pages.push_back(SimPage::fresh());
      std::memcpy(pages.back().own() + within, bytes.data(), length);
    }
    bytes = bytes.subspan(length);
    at += length;
  }
}

bool SimWrite::holds(const std::byte* bytes) const {
  bool same = true;
  each_page([&](uint64_t, uint64_t within, uint64_t length, const SimPage& page) {
    same = same && std::memcmp(bytes, page.data() + within, length) == 0;
    bytes += length;
  });
  return same;
}

void SimWrite::copy_to(MutableBytes bytes) const {
  SP_ASSERT_OP(bytes.size(), ==, size);
  std::byte* to = bytes.data();
  each_page([&](uint64_t, uint64_t within, uint64_t length, const SimPage& page) {
    std::memcpy(to, page.data() + within, length);
    to += length;
  });
}

SimWrite SimWrite::at(uint64_t other_offset) && {
  if (other_offset % SimPage::size_bytes == offset % SimPage::size_bytes) {
    offset = other_offset;
    return std::move(*this);
  }
  std::vector<std::byte> bytes(size);
  copy_to(bytes);
  return {other_offset, bytes};
}

}  // namespace sp::io
