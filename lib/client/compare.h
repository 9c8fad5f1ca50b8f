// Compare: asks every acting copy of every disk set for the digest of all that it holds decided,
// and says where copies differ. Meaningful at rest only: while writes go on, copies are a few
// milliseconds apart, so a set that differs is asked again a few times before it is named. Thread
// rule: one reactor; the callback runs in a later turn.
#pragma once
#include <memory>
#include <string>
#include <vector>

#include "client/volume.h"
#include "map/map.h"

namespace sp::client {

struct Comparison {
  uint64_t sets = 0, copies = 0, blocks = 0;  // compared; blocks counts one copy of each set
  uint64_t degraded = 0;                      // sets with fewer copies than their template wants
  struct Difference {
    SetId set;
    std::string what;  // "disk 3: 17 blocks, disk 5: 16 blocks", or why a copy does not answer
  };
  std::vector<Difference> differences;
};

class Comparing {
 public:
  virtual ~Comparing() = default;  // gives up
  [[nodiscard]] static std::unique_ptr<Comparing> start(io::Host& host, member::Member& member,
                                                        std::shared_ptr<Servers> servers,
                                                        Callback<void(Comparison)> done);
};

}  // namespace sp::client
