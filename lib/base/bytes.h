// Bytes: views, and a bounded little-endian Writer and Reader for everything that goes to a disk or
// a wire but is not a fixed struct. A Reader never reads past its end: after the first short read
// it is `failed()` and yields zeros, so a parser may read a whole record and check once. Lengths
// inside the data are checked against a limit named by the caller.
#pragma once
#include <algorithm>
#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

namespace sp {

static_assert(std::endian::native == std::endian::little,
              "formats are little-endian; big-endian hosts are not supported");

using Bytes = std::span<const std::byte>;
using MutableBytes = std::span<std::byte>;

inline Bytes as_bytes(std::string_view text) {
  return std::as_bytes(std::span(text.data(), text.size()));
}
inline std::string_view as_text(Bytes bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

// A trivially copyable struct seen as bytes; and read from bytes (the caller has checked the size).
template <class T>
Bytes struct_bytes(const T& value) {
  static_assert(std::is_trivially_copyable_v<T>);
  return std::as_bytes(std::span(&value, 1));
}
template <class T>
T load(Bytes bytes) {
  static_assert(std::is_trivially_copyable_v<T>);
  T value{};
  std::memcpy(&value, bytes.data(), sizeof value);
  return value;
}

// What is written lies in the Writer itself while it is small: most messages are, and are made in
// the middle of the hottest paths.
class Writer {
 public:
  template <class T>
  Writer& number(T value) {
    static_assert(std::is_integral_v<T> || std::is_enum_v<T>);
    std::memcpy(room_for(sizeof value), &value, sizeof value);
    return *this;
  }
  // A 32-bit length, then the bytes.
  Writer& text(std::string_view value) {
    number(static_cast<uint32_t>(value.size()));
    return raw(as_bytes(value));
  }
  Writer& raw(Bytes bytes) {
    if (!bytes.empty()) std::memcpy(room_for(bytes.size()), bytes.data(), bytes.size());
    return *this;
  }
  size_t size() const { return size_; }
  Bytes view() const { return {begin(), size_}; }
  std::vector<std::byte> take() && { return {begin(), begin() + size_}; }

 private:
  static constexpr size_t small_bytes = 256;
  const std::byte* begin() const { return large_ ? large_.get() : small_.data(); }
  std::byte* room_for(size_t more) {
    if (size_ + more > capacity_) grow(size_ + more);
    std::byte* const at = (large_ ? large_.get() : small_.data()) + size_;
    size_ += more;
    return at;
  }
  void grow(size_t wanted) {
    capacity_ = std::max(wanted, 2 * capacity_);
    auto larger = std::make_unique_for_overwrite<std::byte[]>(capacity_);
    std::memcpy(larger.get(), begin(), size_);
    large_ = std::move(larger);
  }

  size_t size_ = 0, capacity_ = small_bytes;
  std::unique_ptr<std::byte[]> large_;
  std::array<std::byte, small_bytes> small_;
};

class Reader {
 public:
  explicit Reader(Bytes bytes) : rest_(bytes) {}

  template <class T>
  T number() {
    static_assert(std::is_integral_v<T> || std::is_enum_v<T>);
    T value{};
    if (auto bytes = raw(sizeof value); bytes.size() == sizeof value)
      std::memcpy(&value, bytes.data(), sizeof value);
    return value;
  }
  bool boolean() { return number<uint8_t>() != 0; }
  std::string text(size_t size_max) {
    const size_t size = number<uint32_t>();
    if (size > size_max) failed_ = true;
    return failed_ ? std::string() : std::string(as_text(raw(size)));
  }
  // A 32-bit element count, at most `count_max`.
  uint32_t count(uint32_t count_max) {
    const auto value = number<uint32_t>();
    if (value > count_max) failed_ = true;
    return failed_ ? 0 : value;
  }
  // Exactly `size` bytes, or none (and failed).
  Bytes raw(size_t size) {
    if (failed_ || size > rest_.size()) {
      failed_ = true;
      return {};
    }
    const Bytes taken = rest_.first(size);
    rest_ = rest_.subspan(size);
    return taken;
  }
  Bytes rest() const { return rest_; }
  bool failed() const { return failed_; }
  // Everything was read and nothing was short: the form a whole message must have.
  bool finished() const { return !failed_ && rest_.empty(); }

 private:
  Bytes rest_;
  bool failed_ = false;
};

std::string to_hex(Bytes bytes);
bool from_hex(std::string_view hex,
              MutableBytes out);  // false unless exactly out.size() bytes of hex

}  // namespace sp
