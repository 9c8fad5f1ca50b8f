// Expiry: deletes snapshots whose time has come (map::Lineage::delete_at_s), where this service is
// the active one. Looks about once a second, and only while there are snapshots with such a time;
// one that is attached, or not taken yet, stays until it can go. Thread rule: one reactor.
#pragma once
#include <memory>

#include "base/ids.h"
#include "io/reactor.h"

namespace sp::api {

struct Core;

class Expiry {
 public:
  explicit Expiry(std::shared_ptr<Core> core);
  void map_changed();

 private:
  void look();
  void remove(VolumeId snapshot);
  std::shared_ptr<Core> core_;
  io::Timer timer_;
};

}  // namespace sp::api
