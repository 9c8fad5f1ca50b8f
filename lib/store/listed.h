// Listed: a bit for each block of an object, as the record `applied` carries it: the blocks that
// the source of a recovery has. Pure values.
#pragma once
#include <array>
#include <span>

#include "store/records.h"
#include "store/store.h"

namespace sp::store {

using Listed = std::array<std::byte, listed_bytes>;

inline Listed listed_of(const ObjectState& source) {
  Listed listed{};
  for (const BlockState& state : source.blocks)
    listed[state.block / 8] |= std::byte(1u << (state.block % 8));
  return listed;
}

inline bool is_listed(std::span<const std::byte, listed_bytes> listed, uint32_t block) {
  return (std::to_integer<uint32_t>(listed[block / 8]) >> (block % 8) & 1) != 0;
}

}  // namespace sp::store
