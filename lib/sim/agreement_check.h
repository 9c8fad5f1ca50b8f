// AgreementCheck: what must hold of the agreement among beacons at every moment, by what each of
// them says of itself:
//  - one leader: a term has one;
//  - committed: two beacons never commit different entries at one index, and who leads has
//    everything that was committed in earlier terms (Raft paper, 5.4: leader completeness);
//  - leader lease: nobody is in charge while a lease that an earlier leader may have handed out is
//    alive, whatever became of that leader;
//  - state hash: the same at the same applied index.
// It remembers what was seen before, so a beacon may end and come back in between. Plain values.
#pragma once
#include <cstdint>
#include <map>
#include <string>

#include "beacon/beacon.h"
#include "io/clock.h"

namespace sp::sim {

class AgreementCheck {
 public:
  // How the beacon of a node stands at this time of the world: what is wrong, with the checker's
  // name before it, or nothing.
  std::string look(NodeId node, const beacon::Beacon& beacon, io::Instant now);

 private:
  std::string committed(NodeId node, const beacon::Beacon& beacon, const beacon::View& view);
  std::string leases(NodeId node, const beacon::View& view, io::Instant now);

  struct Reign {
    NodeId node = 0;
    io::Instant leases_end{INT64_MIN};  // of all that it may have handed out, by the world's clock
  };
  std::map<uint64_t, Reign> reigns_;           // by term
  std::map<uint64_t, uint64_t> entries_;       // committed: the term by index
  std::map<uint64_t, uint64_t> state_hashes_;  // by applied index
};

}  // namespace sp::sim
