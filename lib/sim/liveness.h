// Liveness: whatever need not wait must not. For each volume: whenever recoverable() has said
// without interruption, on the same grounds, for `deadline` that it must make progress, no request
// of it that is as old may be open. Otherwise the request says what it waits for. Thread rule: the
// world's.
#pragma once
#include <map>
#include <string>

#include "sim/atlas.h"
#include "sim/cluster.h"

namespace sp::sim {

class Liveness {
 public:
  // Longer than everything that a request may have to go through one after the other: a silent node
  // found out, an election, leases, activation, recovery, with their timeouts and pauses.
  static constexpr io::Duration deadline = std::chrono::seconds(10);

  explicit Liveness(Cluster& cluster) : cluster_(cluster) {}
  // To be asked every now and then, with the blocks that are spoiled. What is stuck, or nothing.
  std::string look(const std::map<DiskId, std::set<Atlas::Mark>>& spoiled);
  // Every volume makes progress, and has had time to show it.
  bool at_ease() const;

 private:
  struct Volume {
    std::string grounds;
    io::Instant since;  // must make progress on these grounds
    bool must = false, flows = false;
  };
  Cluster& cluster_;
  std::map<VolumeId, Volume> volumes_;
  Situation judged_;  // what the verdicts are of: it seldom changes. Its map may be gone
  std::vector<Verdict> verdicts_;
};

}  // namespace sp::sim
