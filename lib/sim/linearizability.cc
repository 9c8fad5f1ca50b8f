#include "sim/linearizability.h"

#include <algorithm>
#include <cstring>

#include "base/assert.h"
#include "base/checksum.h"

namespace sp::sim {

void Linearizability::write_started(BlockKey key, uint64_t stamp, uint64_t time, uint64_t session) {
  SP_ASSERT(stamp != 0);
  ++writes_;
  Write write;
  write.stamp = stamp;
  write.session = session;
  write.started = write.last_start = time;
  const bool is_new = blocks_[key].writes.emplace(stamp, write).second;
  SP_ASSERT(is_new);
}

void Linearizability::discard_started(BlockKey key, uint64_t stamp, uint64_t time,
                                      uint64_t session) {
  write_started(key, stamp, time, session);
  blocks_[key].writes.at(stamp).discard = true;
}

void Linearizability::write_ended(BlockKey key, uint64_t stamp, uint64_t time) {
  Write& write = blocks_[key].writes.at(stamp);
  write.ended = time;
  write.first_end = std::min(write.first_end, time);
}

void Linearizability::read(BlockKey key, uint64_t stamp, uint64_t started, uint64_t ended) {
  ++reads_;
  Block& block = blocks_[key];
  if (stamp == 0) return block.zero_reads.push_back({started, ended});
  const auto found = block.writes.find(stamp);
  if (found == block.writes.end() || found->second.discard) return block.unknown.push_back(stamp);
  found->second.first_end = std::min(found->second.first_end, ended);
  found->second.last_start = std::max(found->second.last_start, started);
}

std::optional<std::string> Linearizability::check() const {
  for (const auto& [key, block] : blocks_) {
    Block fenced = block;
    if (auto wrong = apply_fences(key, fenced)) return wrong;
    if (auto wrong = check_block(key, fenced)) return wrong;
  }
  return std::nullopt;
}

// A write that was seen or acknowledged took effect before its session was fenced, whenever that
// was noticed.
std::optional<std::string> Linearizability::apply_fences(BlockKey key, Block& block) const {
  for (auto at = block.writes.begin(); at != block.writes.end();) {
    const auto current = at++;
    auto& [stamp, write] = *current;
    const auto fence = fenced_.find(write.session);
    if (fence == fenced_.end()) continue;
    const bool seen = write.first_end != never;
    if (!seen && write.started > fence->second) {
      block.writes.erase(current);
      continue;
    }
    if (write.started > fence->second) {
      return "volume " + std::to_string(key.volume) + " block " + std::to_string(key.block) +
             ": write " + std::to_string(stamp) + " took effect, issued at " +
             std::to_string(write.started) + " by a client that was fenced at " +
             std::to_string(fence->second);
    }
    write.ended = std::min(write.ended, fence->second);
    if (seen) write.first_end = std::min(write.first_end, fence->second);
  }
  return std::nullopt;
}

std::optional<std::string> Linearizability::check_block(BlockKey key, const Block& block) {
  const std::string place =
      "volume " + std::to_string(key.volume) + " block " + std::to_string(key.block) + ": ";
  const auto zone = [](const Write& w) {
    return "write " + std::to_string(w.stamp) + (w.discard ? " (discard)" : "") + " started " +
           std::to_string(w.started) + ", ended " +
           (w.ended == never ? "never" : std::to_string(w.ended)) + ", first end " +
           (w.first_end == never ? "never" : std::to_string(w.first_end)) + ", last start " +
           std::to_string(w.last_start);
  };
  if (!block.unknown.empty())
    return place + "read stamp " + std::to_string(block.unknown.front()) +
           ", which nobody wrote here";

  std::vector<const Write*> forward, backward;
  for (const auto& [stamp, write] : block.writes) {
    if (write.first_end == never) continue;  // neither acknowledged nor seen
    if (write.first_end < write.started)
      return place + "read before it was written: " + zone(write);
    (write.first_end < write.last_start ? forward : backward).push_back(&write);
  }
  std::sort(forward.begin(), forward.end(),
            [](const Write* a, const Write* b) { return a->first_end < b->first_end; });
  for (size_t i = 1; i < forward.size(); ++i) {
    if (forward[i - 1]->last_start > forward[i]->first_end)
      return place + "both were seen after the other: " + zone(*forward[i - 1]) + "; " +
             zone(*forward[i]);
  }
  // Forward zones are disjoint now, so the one that may hold a point is the last that begins before
  // it.
  const auto holds = [&](uint64_t from, uint64_t to) -> const Write* {
    auto after = std::upper_bound(forward.begin(), forward.end(), from,
                                  [](uint64_t t, const Write* w) { return t < w->first_end; });
    if (after == forward.begin()) return nullptr;
    const Write* const candidate = *std::prev(after);
    return candidate->last_start > to ? candidate : nullptr;
  };
  for (const Write* write : backward) {
    if (const Write* around = holds(write->last_start, write->first_end))
      return place + "seen again after it was overwritten: " + zone(*around) + "; by " +
             zone(*write);
  }
  for (const Read& read : block.zero_reads) {
    const std::string text = place + "zeros read from " + std::to_string(read.started) + " to " +
                             std::to_string(read.ended);
    if (const Write* around = holds(read.started, read.ended))
      return text + " while this was there: " + zone(*around);
    // A possible writer: the beginning of time, or a discard that began before the read's end;
    // nothing certainly between it and the read.
    const auto overwritten = [&](uint64_t writer_end) -> const Write* {
      for (const auto& [stamp, write] : block.writes) {
        if (!write.discard && write.started > writer_end && write.first_end < read.started)
          return &write;
      }
      return nullptr;
    };
    const Write* by = overwritten(0);
    bool possible = by == nullptr;
    for (const auto& [stamp, write] : block.writes) {
      if (!possible && write.discard && write.started < read.ended &&
          overwritten(write.ended) == nullptr)
        possible = true;
    }
    if (!possible) return text + " after it was written: " + zone(*by);
  }
  return std::nullopt;
}

void encode_stamp(MutableBytes block, BlockKey key, uint64_t stamp) {
  const uint64_t words[3] = {stamp, mix64(uint64_t{key.volume} << 40 ^ key.block),
                             mix64(stamp ^ key.block)};
  for (size_t at = 0; at + 8 <= block.size(); at += 8)
    std::memcpy(block.data() + at, &words[at / 8 % 3], 8);
}

std::optional<uint64_t> decode_stamp(Bytes block, BlockKey key) {
  uint64_t stamp = 0;
  std::memcpy(&stamp, block.data(), 8);
  if (stamp == 0) {
    const bool zero =
        std::all_of(block.begin(), block.end(), [](std::byte b) { return b == std::byte{0}; });
    return zero ? std::optional<uint64_t>(0) : std::nullopt;
  }
  std::byte expected[4096];
  if (block.size() != sizeof expected) return std::nullopt;
  encode_stamp(expected, key, stamp);
  return std::memcmp(expected, block.data(), sizeof expected) == 0 ? std::optional<uint64_t>(stamp)
                                                                   : std::nullopt;
}

}  // namespace sp::sim
