// Codec: one list of fields per message, used for both directions. A message type T has, in the
// namespace sp::wire,
//
//   SP_FIELDS(T) { c(m.field) ... }         // a template fields(C& c, M& m), M: T or const T
//
// which calls codec(field) for each field in wire order, and codec.list(field, count_max) or
// codec.text(field, bytes_max) where a bound is needed, and codec.since(2, field) for one that
// version 1 of the protocol does not have. Integers are little-endian at their own
// width; a bool is a byte 0 or 1; an optional is a bool and the value; a list is a 32-bit count and
// the elements; a text is a 32-bit length and the bytes. Decoding accepts exactly what encoding
// makes: what is read again is the same bytes. For the .cc files of this module and its tests.
#pragma once
#include <optional>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include "base/assert.h"
#include "base/bytes.h"
#include "base/ids.h"
#include "base/limits.h"

namespace sp::wire {

class Encoder {
 public:
  explicit Encoder(uint8_t protocol) : protocol_(protocol) {}

  // A field that came with this version of the protocol: left out, or as it is by default, before.
  template <class T>
  void since(uint8_t version, const T& value) {
    if (protocol_ >= version) (*this)(value);
  }
  template <class T>
  void operator()(const T& value) {
    if constexpr (std::is_same_v<T, bool>) {
      out_.number(static_cast<uint8_t>(value));
    } else if constexpr (std::is_integral_v<T> || std::is_enum_v<T>) {
      out_.number(value);
    } else {
      fields(*this, value);
    }
  }
  void operator()(const SetId& id) { out_.number(id.packed()); }
  void operator()(const ObjectId& id) { out_.number(id.packed()); }
  void operator()(const ServiceId& id) { out_.number(id.packed()); }
  void operator()(const Version& version) { out_.number(version.packed()); }
  template <class T>
  void operator()(const std::optional<T>& value) {
    (*this)(value.has_value());
    if (value) (*this)(*value);
  }
  template <class T>
  void ranged(const T& value, uint64_t, uint64_t) {
    (*this)(value);
  }
  template <class T>
  void list(const std::vector<T>& values, uint32_t count_max) {
    SP_ASSERT_OP(values.size(), <=, count_max);
    out_.number(static_cast<uint32_t>(values.size()));
    if constexpr (std::is_same_v<T, std::byte> || std::is_arithmetic_v<T>) {
      out_.raw(std::as_bytes(std::span(values)));
    } else {
      for (const T& value : values) (*this)(value);
    }
  }
  void text(const std::string& value, uint32_t bytes_max) {
    out_.text(std::string_view(value).substr(0, bytes_max));
  }

  std::vector<std::byte> take() && { return std::move(out_).take(); }

 private:
  uint8_t protocol_;
  Writer out_;
};

class Decoder {
 public:
  Decoder(Bytes body, uint8_t protocol) : protocol_(protocol), in_(body) {}

  template <class T>
  void since(uint8_t version, T& value) {
    if (protocol_ >= version) (*this)(value);
  }

  template <class T>
  void operator()(T& value) {
    if constexpr (std::is_same_v<T, bool>) {
      const auto byte = in_.number<uint8_t>();
      if (byte > 1) bad_ = true;
      value = byte == 1;
    } else if constexpr (std::is_integral_v<T>) {
      value = in_.number<T>();
    } else {
      static_assert(!std::is_enum_v<T>, "use ranged()");
      fields(*this, value);
    }
  }
  void operator()(SetId& id) { id = SetId::from_packed(in_.number<uint32_t>()); }
  void operator()(ObjectId& id) {
    const auto packed = in_.number<uint64_t>();
    id = {static_cast<VolumeId>(packed >> 32), static_cast<uint32_t>(packed)};
  }
  void operator()(ServiceId& id) { id = ServiceId::from_packed(in_.number<uint32_t>()); }
  void operator()(Version& version) { version = Version::from_packed(in_.number<uint64_t>()); }
  template <class T>
  void operator()(std::optional<T>& value) {
    bool present = false;
    (*this)(present);
    if (!present || failed()) return;
    (*this)(value.emplace());
  }
  // An integer or enumeration that has to lie in [least, most].
  template <class T>
  void ranged(T& value, uint64_t least, uint64_t most) {
    value = in_.number<T>();
    const auto number = static_cast<uint64_t>(value);
    if (number < least || number > most) bad_ = true;
  }
  template <class T>
  void list(std::vector<T>& values, uint32_t count_max) {
    const uint32_t count = in_.count(count_max);
    // Every element takes at least a byte, so a count beyond what is left is a lie: seen before
    // anything is allocated.
    if (failed() || count > in_.rest().size()) {
      bad_ = true;
      return;
    }
    if constexpr (std::is_same_v<T, std::byte>) {
      const Bytes bytes = in_.raw(count);
      values.assign(bytes.begin(), bytes.end());
    } else {
      if constexpr (std::is_arithmetic_v<T>) {
        if (uint64_t{count} * sizeof(T) > in_.rest().size()) {
          bad_ = true;
          return;
        }
      }
      values.reserve(std::min<size_t>(count, 4096));
      for (uint32_t i = 0; i < count && !failed(); ++i) (*this)(values.emplace_back());
    }
  }
  void text(std::string& value, uint32_t bytes_max) { value = in_.text(bytes_max); }

  bool failed() const { return bad_ || in_.failed(); }
  bool finished() const { return !bad_ && in_.finished(); }

 private:
  uint8_t protocol_;
  Reader in_;
  bool bad_ = false;
};

template <class T>
std::vector<std::byte> encode_message(const T& message, uint8_t protocol) {
  Encoder encoder(protocol);
  encoder(message);
  return std::move(encoder).take();
}

template <class T>
std::optional<T> decode_message(Bytes body, uint8_t protocol) {
  Decoder decoder(body, protocol);
  T message;
  decoder(message);
  if (!decoder.finished()) return std::nullopt;
  return message;
}

// The head of a field list: one overload for reading and writing.
#define SP_FIELDS(Name)                                                              \
  template <class C, class M,                                                        \
            std::enable_if_t<std::is_same_v<std::remove_const_t<M>, Name>, int> = 0> \
  void fields(C& c, M& m)

// encode() and decode() of a message, as its header declares them; behind its field list.
#define SP_ENCODE_DECODE(Name)                                           \
  std::vector<std::byte> encode(const Name& message, uint8_t protocol) { \
    return encode_message(message, protocol);                            \
  }                                                                      \
  template <>                                                            \
  std::optional<Name> decode<Name>(Bytes body, uint8_t protocol) {       \
    return decode_message<Name>(body, protocol);                         \
  }

}  // namespace sp::wire
