// Snapshots: content of many blocks that was there at one moment.
//
// A write is in a snapshot that was taken at a moment t, and nothing newer, only if it started
// before t, and if nothing that certainly came after it had certainly taken effect before t. So the
// content of each block allows some moments, and there has to be one that all of them allow. That
// says all of promise 5: what was acknowledged before the snapshot was asked for is in it; what was
// issued after it was confirmed is not; and with a write there is all that was acknowledged or read
// before that one was issued, also on other volumes. Zeros have several writers: each such block is
// only asked whether any of them would do.
#include <algorithm>

#include "sim/linearizability.h"

namespace sp::sim {

struct Linearizability::Moments {
  uint64_t after = 0, before = never;  // the moment lies between
  uint64_t taken = never;
};

// Of the writer of a block that is not zeros. False: nobody wrote that.
bool Linearizability::narrow(const Block& block, uint64_t stamp, Moments& moments) {
  const auto found = block.writes.find(stamp);
  if (found == block.writes.end() || found->second.discard) return false;
  const Write& write = found->second;
  const uint64_t effect = std::min(write.first_end, moments.taken);
  moments.after = std::max(moments.after, write.started);
  for (const auto& [other, newer] : block.writes)
    if (other != stamp && newer.started > effect)
      moments.before = std::min(moments.before, newer.first_end);
  return true;
}

bool Linearizability::zeros_possible(const Block& block, const Moments& moments) {
  const auto allows = [&](uint64_t started, uint64_t effect) {
    if (started >= moments.before) return false;
    return std::none_of(block.writes.begin(), block.writes.end(), [&](const auto& entry) {
      const Write& newer = entry.second;
      return !newer.discard && newer.started > effect && newer.first_end <= moments.after;
    });
  };
  if (allows(0, 0)) return true;
  return std::any_of(block.discards.begin(), block.discards.end(), [&](uint64_t stamp) {
    const Write& discard = block.writes.at(stamp);
    return allows(discard.started, std::min(discard.first_end, moments.taken));
  });
}

std::string Linearizability::judge_cut(const std::map<BlockKey, uint64_t>& content, uint64_t asked,
                                       uint64_t taken) const {
  Moments all{asked, taken, taken};
  const auto text = [](BlockKey key) {
    return "volume " + std::to_string(key.volume) + " block " + std::to_string(key.block);
  };
  const auto about = [&](BlockKey key, const std::string& why) {
    return text(key) + ": in the snapshot asked for at " + std::to_string(asked) +
           " and taken at " + std::to_string(taken) + why;
  };
  std::string newest = "the request", oldest = "the confirmation";
  for (const auto& [key, stamp] : content) {
    const auto block = blocks_.find(key);
    if (stamp == 0) continue;
    Moments moments{0, never, taken};
    if (block == blocks_.end() || !narrow(block->second, stamp, moments))
      return about(key, " is stamp " + std::to_string(stamp) + ", which nobody wrote here");
    if (moments.after > all.after) all.after = moments.after, newest = text(key);
    if (moments.before < all.before) all.before = moments.before, oldest = text(key);
    if (all.after >= all.before)
      return about(key, " is stamp " + std::to_string(stamp) + ": " + newest + " is of after " +
                            std::to_string(all.after) + ", " + oldest + " of before " +
                            std::to_string(all.before));
  }
  for (const auto& [key, stamp] : content) {
    const auto block = blocks_.find(key);
    if (stamp != 0 || block == blocks_.end() || zeros_possible(block->second, all)) continue;
    return about(key, " are zeros, which were not there between " + std::to_string(all.after) +
                          " and " + std::to_string(all.before));
  }
  return "";
}

}  // namespace sp::sim
