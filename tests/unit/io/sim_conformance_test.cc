#include "conformance.h"
#include "io/sim_world.h"

namespace sp::io::test {

class SimRig : public Rig {
 public:
  explicit SimRig(uint64_t seed = 17, SimOptions options = {}) : world_(seed, std::move(options)) {}
  Host& host(int index) override { return hosts_[index]->host(); }
  bool run_until(const std::function<bool()>& predicate) override {
    return world_.run_until(predicate, 600s);
  }
  std::string disk_path(const std::string& name) override { return "/dev/" + name; }
  std::string ip(int index) override { return hosts_[index]->ip(); }
  std::string unix_path(const std::string& name) override { return "/run/" + name; }

 private:
  SimWorld world_;
  SimHost* hosts_[2] = {&world_.add_host("zero", "10.0.0.1"), &world_.add_host("one", "10.0.0.2")};
};

// A network and disks in a bad mood, but without errors: nothing that a service may rely on
// changes.
class SlowSimRig final : public SimRig {
 public:
  SlowSimRig() : SimRig(23, options()) {}

 private:
  static SimOptions options() {
    SimOptions options;
    options.net.loss = 0.02;
    options.net.clog = 0.01;
    options.net.short_receive = 0.7;
    options.net.window_bytes = 10'000;
    options.disk.stall = 0.01;
    options.disk.volatile_cache = false;
    return options;
  }
};

SP_CONFORMANCE(SimRig);
SP_CONFORMANCE(SlowSimRig);

}  // namespace sp::io::test
