// ReadBack: reads every block that the history knows of once more, through the client that has the
// volume, one at a time of each volume, and tells the history. What cannot be read because all its
// copies are damaged is listed. With `writes`, stamped blocks are written anew after that. To be
// kept until done(), or until the clients have ended. Thread rule: the world's.
#pragma once
#include <functional>
#include <memory>
#include <set>
#include <string>

#include "sim/cluster.h"

namespace sp::sim {

class ReadBack {
 public:
  struct Options {
    std::function<bool(BlockKey)> wanted;  // none: all
    bool writes = false;
  };
  ReadBack(Cluster& cluster, Options options);
  ~ReadBack();

  bool done() const;
  const std::set<BlockKey>& damaged() const;
  const std::string& failure() const;  // "volume 2 block 17: WHY"
  std::string waits_for() const;

 private:
  struct State;
  std::shared_ptr<State> state_;
};

}  // namespace sp::sim
