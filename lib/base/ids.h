// The identities that every module speaks of, as small distinct types. Vocabulary: sp(7).
#pragma once
#include <compare>
#include <cstddef>
#include <cstdint>
#include <functional>

#include "base/checksum.h"

namespace sp {

using NodeId = uint16_t;  // 1..63
using DiskId = uint16_t;  // 1..4095
using ClusterId =
    uint64_t;  // drawn at random when the cluster is made; every disk, message and log carries it
using VolumeId = uint32_t;  // never reused; 0 is no volume
using GroupId = uint16_t;   // allocation group; never reused; 0 is none
using ClientId = uint16_t;  // the node id of the client host

// A disk set: the ordered disks that hold the copies of the objects placed on it.
struct SetId {
  GroupId group = 0;
  uint16_t index = 0;
  auto operator<=>(const SetId&) const = default;
  uint32_t packed() const { return uint32_t{group} << 16 | index; }
  static SetId from_packed(uint32_t value) {
    return {static_cast<GroupId>(value >> 16), static_cast<uint16_t>(value)};
  }
};

// A fixed-size piece of a volume (limits::object_bytes), the unit of placement and recovery.
struct ObjectId {
  VolumeId volume = 0;
  uint32_t index = 0;
  auto operator<=>(const ObjectId&) const = default;
  uint64_t packed() const { return uint64_t{volume} << 32 | index; }
};

// Version of a write within its set: the set's epoch in which it was ordered, then the sequence
// inside that epoch. Versions of one set are totally ordered; a later epoch is always later. Zero
// means "never written".
class Version {
 public:
  static constexpr uint64_t sequence_max = (uint64_t{1} << 40) - 1;
  static constexpr uint32_t epoch_max = (1u << 24) - 1;

  constexpr Version() = default;
  constexpr Version(uint32_t epoch, uint64_t sequence)
      : packed_(uint64_t{epoch} << 40 | sequence) {}
  static constexpr Version from_packed(uint64_t value) {
    Version version;
    version.packed_ = value;
    return version;
  }
  constexpr uint64_t packed() const { return packed_; }
  constexpr uint32_t epoch() const { return static_cast<uint32_t>(packed_ >> 40); }
  constexpr uint64_t sequence() const { return packed_ & sequence_max; }
  constexpr Version next() const { return from_packed(packed_ + 1); }
  constexpr bool is_zero() const { return packed_ == 0; }
  constexpr auto operator<=>(const Version&) const = default;

 private:
  uint64_t packed_ = 0;
};

enum class ServiceKind : uint8_t { beacon = 1, server = 2, client = 3, mgmt = 4 };

// A service of the cluster: "server 2 on node 3". Instance counts from 1; beacon, client and mgmt
// have instance 1 only.
struct ServiceId {
  ServiceKind kind = ServiceKind::beacon;
  NodeId node = 0;
  uint8_t instance = 1;
  auto operator<=>(const ServiceId&) const = default;
  uint32_t packed() const { return uint32_t(kind) << 24 | uint32_t{node} << 8 | instance; }
  static ServiceId from_packed(uint32_t v) {
    return {static_cast<ServiceKind>(v >> 24), static_cast<NodeId>(v >> 8),
            static_cast<uint8_t>(v)};
  }
};

}  // namespace sp

template <>
struct std::hash<sp::ObjectId> {
  size_t operator()(const sp::ObjectId& id) const { return sp::mix64(id.packed()); }
};
template <>
struct std::hash<sp::SetId> {
  size_t operator()(const sp::SetId& id) const { return sp::mix64(id.packed()); }
};
template <>
struct std::hash<sp::ServiceId> {
  size_t operator()(const sp::ServiceId& id) const { return sp::mix64(id.packed()); }
};
