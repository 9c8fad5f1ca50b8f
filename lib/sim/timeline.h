// Timeline: what happened to one block of one volume, in order, one line each, for people who want
// to know why a run failed there. It picks from the debug lines of all services, and from the
// simulation's own, those that concern the block: by their fields (volume, object, first, count),
// or its set, the disks that hold it, or the nodes that these are in. Plain values.
//
// Only a run that watches a block has one: debug lines cost as much as all else.
#pragma once
#include <deque>
#include <optional>
#include <set>
#include <string>
#include <string_view>

#include "base/result.h"
#include "map/map.h"
#include "sim/linearizability.h"

namespace sp::sim {

// The block that a failure is about: "... volume 2 block 17 ...".
std::optional<BlockKey> block_of(std::string_view failure);
Result<BlockKey> parse_block(std::string_view text);  // "2:17"

class Timeline {
 public:
  static constexpr size_t lines_max = 60;   // of text(), and when there are more, among them:
  static constexpr size_t reads_max = 20;   // of reads
  static constexpr size_t around_max = 25;  // of set, disks and nodes

  explicit Timeline(BlockKey block) : block_(block) {}
  // A line of the log: time, address, name, event, fields.
  void take(std::string_view line);
  // The newest map, with the time before it. Says what has changed about the block's set.
  void see(const map::Map& map, std::string_view time);
  std::string text() const;

 private:
  enum class Kind : uint8_t { none, change, read, around };
  struct Line {
    std::string text;
    Kind kind = Kind::none;
  };
  Kind kind_of(std::string_view line) const;  // none: it does not concern the block
  void add(std::string text, Kind kind);

  BlockKey block_;
  std::optional<SetId> set_;
  std::string row_;  // of the set, as said last
  uint64_t revision_ = 0;
  std::set<DiskId> disks_;
  std::set<VolumeId> layers_;  // that the volume stands on, or has stood on
  std::set<NodeId> nodes_;
  std::deque<Line> lines_;
  uint64_t count_ = 0;
};

}  // namespace sp::sim
