#include "sim/linearizability.h"

#include <algorithm>
#include <array>
#include <cstring>

#include "base/assert.h"
#include "base/checksum.h"

namespace sp::sim {

namespace {

std::string time_text(uint64_t time) { return time == UINT64_MAX ? "never" : std::to_string(time); }

template <class Write>
std::string zone_text(const Write& w) {
  return "write " + std::to_string(w.stamp) + (w.discard ? " (discard)" : "") + " started " +
         std::to_string(w.started) + ", ended " + time_text(w.ended) + ", first end " +
         time_text(w.first_end) + ", last start " + std::to_string(w.last_start);
}

}  // namespace

// The calls

void Linearizability::take_time(uint64_t time) {
  SP_ASSERT_OP(time, >=, newest_);
  newest_ = time;
}

Linearizability::Write& Linearizability::add(BlockKey key, uint64_t stamp, uint64_t time,
                                             uint64_t session) {
  SP_ASSERT(stamp != 0);
  take_time(time);
  ++writes_;
  const auto [place, is_new] = blocks_[key].writes.try_emplace(stamp);
  SP_ASSERT(is_new);
  Write& write = place->second;
  write.stamp = stamp;
  write.session = session;
  write.started = write.last_start = time;
  return write;
}

void Linearizability::write_started(BlockKey key, uint64_t stamp, uint64_t time, uint64_t session) {
  add(key, stamp, time, session);
}

void Linearizability::discard_started(BlockKey key, uint64_t stamp, uint64_t time,
                                      uint64_t session) {
  add(key, stamp, time, session).discard = true;
  blocks_[key].discards.push_back(stamp);
}

void Linearizability::write_ended(BlockKey key, uint64_t stamp, uint64_t time) {
  take_time(time);
  Block& block = blocks_[key];
  Write& write = block.writes.at(stamp);
  write.ended = std::min(time, fence_of(write.session));
  seen(key, block, write, write.started, time);
}

void Linearizability::session_fenced(uint64_t session, uint64_t time) {
  take_time(time);
  if (judges_reads_) fenced_.emplace(session, time);
}

void Linearizability::read(BlockKey key, uint64_t stamp, uint64_t started, uint64_t ended) {
  take_time(ended);
  ++reads_;
  Block& block = blocks_[key];
  if (stamp == 0) {
    if (!judges_reads_) return;
    block.zero_reads.push_back({started, ended});
    return check_zeros(key, block, block.zero_reads.back());
  }
  const auto found = block.writes.find(stamp);
  if (found == block.writes.end() || found->second.discard)
    return fail(key, "read stamp " + std::to_string(stamp) + ", which nobody wrote here");
  if (judges_reads_) seen(key, block, found->second, started, ended);
}

std::vector<uint64_t> Linearizability::blocks(VolumeId volume) const {
  std::vector<uint64_t> out;
  for (auto at = blocks_.lower_bound({volume, 0});
       at != blocks_.end() && at->first.volume == volume; ++at)
    out.push_back(at->first.block);
  return out;
}

uint64_t Linearizability::fence_of(uint64_t session) const {
  const auto fence = fenced_.find(session);
  return fence == fenced_.end() ? never : fence->second;
}

void Linearizability::fail(BlockKey key, const std::string& why) {
  if (failure_) return;
  failure_ =
      "volume " + std::to_string(key.volume) + " block " + std::to_string(key.block) + ": " + why;
}

// The rules

// The write was acknowledged, or a read from `start` to `end` found it.
void Linearizability::seen(BlockKey key, Block& block, Write& write, uint64_t start, uint64_t end) {
  const bool first = write.first_end == never;
  const bool was_forward = !first && write.forward();
  const uint64_t reached = was_forward ? write.last_start : 0;
  if (first) first_seen(key, block, write, end);
  write.last_start = std::max(write.last_start, start);
  const std::pair zone(write.first_end, write.stamp);
  if (!write.forward()) {
    if (first) block.backward.insert(zone);
    return check_backward(key, block, write);
  }
  if (!was_forward) {
    block.backward.erase(zone);
    block.forward.insert(zone);
  }
  grow_forward(key, block, write, std::max(reached, write.first_end));
}

// Whatever was noticed when: a write took effect before its session was fenced, or never.
void Linearizability::first_seen(BlockKey key, Block& block, Write& write, uint64_t end) {
  const uint64_t fence = fence_of(write.session);
  if (write.started > fence)
    fail(key, "write " + std::to_string(write.stamp) + " took effect, issued at " +
                  std::to_string(write.started) + " by a client that was fenced at " +
                  std::to_string(fence));
  write.first_end = std::min(end, fence);
  if (write.discard) return;
  // What is certain to be overwritten at its first end.
  auto after = block.overwritten.upper_bound(write.first_end);
  if (after != block.overwritten.begin() && std::prev(after)->second->started >= write.started)
    return;
  after = block.overwritten.insert_or_assign(after, write.first_end, &write);
  for (++after; after != block.overwritten.end() && after->second->started <= write.started;)
    after = block.overwritten.erase(after);
  if (write.first_end == end) return;
  // It was there earlier than it was noticed: zeros that were read since have to be possible still.
  for (auto read = block.zero_reads.rbegin();
       read != block.zero_reads.rend() && read->ended > write.first_end; ++read)
    check_zeros(key, block, *read);
}

// The forward zone that begins before `from` and reaches beyond `to`. They are disjoint, so only
// the last that begins before can.
const Linearizability::Write* Linearizability::holder(const Block& block, uint64_t from,
                                                      uint64_t to) {
  const auto after = block.forward.upper_bound({from, never});
  if (after == block.forward.begin()) return nullptr;
  const Write& candidate = block.writes.at(std::prev(after)->second);
  return candidate.last_start > to ? &candidate : nullptr;
}

void Linearizability::check_backward(BlockKey key, const Block& block, const Write& write) {
  if (const Write* around = holder(block, write.last_start, write.first_end))
    fail(key,
         "seen again after it was overwritten: " + zone_text(*around) + "; by " + zone_text(write));
}

// A forward zone that is new, or reaches further than `from`, meets what lies there.
void Linearizability::grow_forward(BlockKey key, const Block& block, const Write& write,
                                   uint64_t from) {
  const auto self = block.forward.find({write.first_end, write.stamp});
  const auto overlap = [&](const Write& earlier, const Write& later) {
    if (earlier.last_start > later.first_end)
      fail(key, "both were seen after the other: " + zone_text(earlier) + "; " + zone_text(later));
  };
  if (self != block.forward.begin()) overlap(block.writes.at(std::prev(self)->second), write);
  if (const auto next = std::next(self); next != block.forward.end())
    overlap(write, block.writes.at(next->second));
  for (auto at = block.backward.lower_bound({from, 0});
       at != block.backward.end() && at->first < write.last_start; ++at) {
    const Write& within = block.writes.at(at->second);
    if (within.last_start >= write.first_end) check_backward(key, block, within);
  }
  for (auto at = std::lower_bound(block.zero_reads.begin(), block.zero_reads.end(), from,
                                  [](const Read&read, uint64_t time) { return read.ended < time; });
       at != block.zero_reads.end() && at->ended < write.last_start; ++at) {
    if (at->started >= write.first_end)
      fail(key, "zeros read from " + std::to_string(at->started) + " to " +
                    std::to_string(at->ended) + " while this was there: " + zone_text(write));
  }
}

// Who made these zeros: the beginning of time, or a discard that began before the read's end;
// nothing certainly between it and the read.
void Linearizability::check_zeros(BlockKey key, const Block& block, const Read& read) {
  const auto after = block.overwritten.lower_bound(read.started);
  if (after == block.overwritten.begin()) return;
  const Write& newest = *std::prev(after)->second;
  for (auto stamp = block.discards.rbegin(); stamp != block.discards.rend(); ++stamp) {
    const Write& discard = block.writes.at(*stamp);
    const uint64_t fence = fence_of(discard.session);
    if (discard.started < read.ended && discard.started <= fence &&
        std::min(discard.ended, fence) >= newest.started)
      return;
  }
  fail(key, "zeros read from " + std::to_string(read.started) + " to " +
                std::to_string(read.ended) + " after it was written: " + zone_text(newest));
}

namespace {

constexpr size_t stamp_block_bytes = 4096;
using StampWords = std::array<uint64_t, 3>;

StampWords stamp_words(BlockKey key, uint64_t stamp) {
  return {stamp, mix64(uint64_t{key.volume} << 40 ^ key.block), mix64(stamp ^ key.block)};
}

}  // namespace

void encode_stamp(MutableBytes block, BlockKey key, uint64_t stamp) {
  const StampWords words = stamp_words(key, stamp);
  std::memcpy(block.data(), words.data(), std::min(sizeof words, block.size()));
  for (size_t filled = sizeof words; filled < block.size(); filled *= 2)
    std::memcpy(block.data() + filled, block.data(), std::min(filled, block.size() - filled));
}

std::optional<uint64_t> decode_stamp(Bytes block, BlockKey key) {
  uint64_t stamp = 0;
  std::memcpy(&stamp, block.data(), 8);
  const StampWords words = stamp == 0 ? StampWords{} : stamp_words(key, stamp);
  // It begins with the words, and goes on as it was so many bytes before.
  const bool whole =
      block.size() == stamp_block_bytes &&
      std::memcmp(block.data(), words.data(), sizeof words) == 0 &&
      std::memcmp(block.data() + sizeof words, block.data(), block.size() - sizeof words) == 0;
  return whole ? std::optional<uint64_t>(stamp) : std::nullopt;
}

}  // namespace sp::sim
