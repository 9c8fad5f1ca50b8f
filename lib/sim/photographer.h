// Photographer: takes snapshots of the volumes that others work on, while things fail, of one or of
// several volumes at one moment; looks at them, at once and later again; makes a clone of one, and
// works on that: writes, discards, reads, a snapshot of the clone, back to it; deletes snapshots
// that clones stand on; and deletes everything again.
//
// What a snapshot holds is judged by Linearizability::judge_cut. Whatever is looked at later has to
// be as it was, and a clone exactly what was made of it. A process of its own, which no fault ends;
// its commands and its requests go through the cluster as everybody's. Thread rule: the world's.
#pragma once
#include <cstdint>
#include <memory>
#include <string>

#include "sim/cluster.h"

namespace sp::sim {

class Photographer {
 public:
  struct Options {
    uint32_t count = 0;  // at work at a time
    io::Duration pause_mean = std::chrono::seconds(1);
    uint64_t seed = 0;
  };
  Photographer(Cluster& cluster, Options options);
  ~Photographer();

  void start();  // once the cluster is there
  // They finish what they are about; then nothing of theirs is left. `cleared` says when.
  void clear();
  bool cleared() const;
  std::string waits_for() const;       // while it is not
  const std::string& failure() const;  // what is wrong, first
  uint64_t taken() const;              // snapshots, so far

 private:
  class Lane;
  std::vector<std::unique_ptr<Lane>> lanes_;
};

}  // namespace sp::sim
