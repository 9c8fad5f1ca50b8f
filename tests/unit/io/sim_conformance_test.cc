#include "conformance.h"
#include "io/sim_world.h"

namespace sp::io::test {

class SimRig : public Rig {
 public:
  Host& host(int index) override { return hosts_[index]->host(); }
  bool run_until(const std::function<bool()>& predicate) override { return world_.run_until(predicate, 60s); }
  std::string disk_path(const std::string& name) override { return "/dev/" + name; }
  std::string ip(int index) override { return hosts_[index]->ip(); }
  std::string unix_path(const std::string& name) override { return "/run/" + name; }

 private:
  SimWorld world_{17};
  SimHost* hosts_[2] = {&world_.add_host("zero", "10.0.0.1"), &world_.add_host("one", "10.0.0.2")};
};

SP_CONFORMANCE(SimRig);

}  // namespace sp::io::test
