// Administrators: what people and integrations do with a cluster while things fail: they create,
// change and delete volumes, templates and pairs of a bucket through the API, several at a time,
// each at the management service that it likes best, and look at what is there. Everything that
// they are told goes to a Success.
//
// Runs in the world, outside of any host. Volumes of theirs carry the tag "made"; nobody works on
// them, and the last thing that they do is to delete them.
#pragma once
#include <memory>
#include <string>
#include <vector>

#include "sim/cluster.h"
#include "sim/success.h"

namespace sp::sim {

class Administrators {
 public:
  // `pause_mean`: between two calls of one of them.
  Administrators(Cluster& cluster, uint32_t count, io::Duration pause_mean);
  ~Administrators();

  void start();
  // They finish what they are about and look at everything once more; then nothing of theirs is
  // left. `cleared` says when.
  void clear();
  bool cleared() const;
  std::string waits_for() const;  // while it is not
  const Success& success() const;

 private:
  class Impl;
  std::shared_ptr<Impl> impl_;
};

}  // namespace sp::sim
