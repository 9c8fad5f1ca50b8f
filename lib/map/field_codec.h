// Encoder and Decoder: the two visitors that turn field lists (map/rows.h, map/command_codec.cc)
// into bytes and back. The form is canonical: equal values are equal bytes, and bytes that another
// order, a duplicate key or an odd truth value made are refused. The Decoder never allocates more
// than a small multiple of what it was given: texts and counts are checked against the bytes that
// are left before anything is reserved.
#pragma once
#include <map>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "map/rows.h"

namespace sp::map {

inline bool is_valid(ServiceKind kind) {
  return kind >= ServiceKind::beacon && kind <= ServiceKind::mgmt;
}
inline bool is_valid(Rights rights) {
  return rights == Rights::read_only || rights == Rights::read_write;
}
inline bool is_valid(AttachmentState state) {
  return state >= AttachmentState::requested && state <= AttachmentState::detaching;
}

class Encoder {
 public:
  explicit Encoder(Writer& out) : out_(out) {}

  template <class T>
  void operator()(const char*, const T& value) {
    put(value);
  }
  void hex(const char*, uint64_t value) { out_.number(value); }

  template <class T>
  void put(const T& value) {
    if constexpr (std::is_same_v<T, bool>)
      out_.number(uint8_t{value});
    else if constexpr (std::is_integral_v<T> || std::is_enum_v<T>)
      out_.number(value);
    else
      fields(*this, value);
  }
  void put(const std::string& value) { out_.text(value); }
  void put(const ServiceId& value) { out_.number(value.packed()); }
  void put(const SetId& value) { out_.number(value.packed()); }
  template <class T>
  void put(const std::optional<T>& value) {
    put(value.has_value());
    if (value) put(*value);
  }
  template <class T>
  void put(const std::vector<T>& values) {
    put_all(values);
  }
  template <class T>
  void put(const std::set<T>& values) {
    put_all(values);
  }
  template <class K, class T>
  void put(const std::map<K, T>& values) {
    put_all(values);
  }
  template <class A, class B>
  void put(const std::pair<A, B>& value) {
    put(value.first);
    put(value.second);
  }

 private:
  template <class C>
  void put_all(const C& values) {
    out_.number(static_cast<uint32_t>(values.size()));
    for (const auto& value : values) put(value);
  }
  Writer& out_;
};

class Decoder {
 public:
  static constexpr uint32_t text_bytes_max = limits::kv_value_bytes_max;
  static constexpr uint32_t list_count_max = limits::kv_keys_per_bucket_max;

  explicit Decoder(Reader& in) : in_(in) {}
  bool failed() const { return bad_ || in_.failed(); }

  template <class T>
  void operator()(const char*, T& value) {
    get(value);
  }
  void hex(const char*, uint64_t& value) { value = in_.number<uint64_t>(); }

  template <class T>
  void get(T& value) {
    if constexpr (std::is_same_v<T, bool>) {
      const auto byte = in_.number<uint8_t>();
      bad_ |= byte > 1;
      value = byte == 1;
    } else if constexpr (std::is_integral_v<T>) {
      value = in_.number<T>();
    } else if constexpr (std::is_enum_v<T>) {
      value = static_cast<T>(in_.number<std::underlying_type_t<T>>());
      bad_ |= !is_valid(value);
    } else {
      fields(*this, value);
    }
  }
  void get(std::string& value) { value = in_.text(text_bytes_max); }
  void get(ServiceId& value) {
    value = ServiceId::from_packed(in_.number<uint32_t>());
    bad_ |= !is_valid(value.kind);
  }
  void get(SetId& value) { value = SetId::from_packed(in_.number<uint32_t>()); }
  template <class T>
  void get(std::optional<T>& value) {
    bool present = false;
    get(present);
    value.reset();
    if (present && !failed()) get(value.emplace());
  }
  template <class T>
  void get(std::vector<T>& values) {
    values.clear();
    for (uint32_t left = count(); left > 0 && !failed(); --left) get(values.emplace_back());
  }
  template <class T>
  void get(std::set<T>& values) {
    values.clear();
    for (uint32_t left = count(); left > 0 && !failed(); --left) {
      T value{};
      get(value);
      bad_ |= !values.empty() && !(*values.rbegin() < value);
      values.insert(values.end(), std::move(value));
    }
  }
  template <class K, class T>
  void get(std::map<K, T>& values) {
    values.clear();
    for (uint32_t left = count(); left > 0 && !failed(); --left) {
      K key{};
      T value{};
      get(key);
      get(value);
      bad_ |= !values.empty() && !(values.rbegin()->first < key);
      values.emplace_hint(values.end(), std::move(key), std::move(value));
    }
  }
  template <class A, class B>
  void get(std::pair<A, B>& value) {
    get(value.first);
    get(value.second);
  }

 private:
  uint32_t count() {
    const uint32_t value = in_.count(list_count_max);
    bad_ |= value > in_.rest().size();
    return failed() ? 0 : value;
  }
  Reader& in_;
  bool bad_ = false;
};

template <class T>
std::vector<std::byte> encode_value(const T& value) {
  Writer out;
  Encoder encoder(out);
  encoder.put(value);
  return std::move(out).take();
}
inline std::vector<std::byte> encode_value(const std::monostate&) { return {}; }

// The value that is exactly these bytes, or none.
template <class T>
std::optional<T> decode_value(Bytes bytes) {
  Reader in(bytes);
  Decoder decoder(in);
  T value{};
  decoder.get(value);
  if (decoder.failed() || !in.finished()) return std::nullopt;
  return value;
}

template <class Row>
Change to_change(const Row& row) {
  return {Rows<Row>::table, encode_value(Rows<Row>::key(row)), encode_value(row)};
}
template <class Row>
Change to_removal(const typename Rows<Row>::Key& key) {
  return {Rows<Row>::table, encode_value(key), std::nullopt};
}

}  // namespace sp::map
