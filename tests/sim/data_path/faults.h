// Faults: draws what goes wrong, when, and for how long. At most `copies - 1` copies are ever
// spoiled for good: bit rot falls on one disk of the run only.
#pragma once
#include <string>
#include <vector>

#include "cluster.h"

namespace sp::sim {

class Faults {
 public:
  explicit Faults(DataCluster& cluster);
  ~Faults();
  void start();
  void stop();  // no new ones; those that are there end by themselves or by heal()
  void heal();  // everything is well again, processes run
  const std::vector<std::string>& spoiled() const { return spoiled_; }

 private:
  void schedule();
  void one();
  void end_one_server();
  void disturb_return(ServerProcess& returning);
  void end_all();
  void cut_off();
  void spoil_block();
  void move_set();
  void hide_demotion();
  void freeze_with_prepares();
  void take_over_in_flight();
  void steal_volume();
  void watch_fence(uint64_t session, uint64_t index);
  void after(int64_t ms_max, std::function<void()> work, int64_t ms_min = 1);
  uint64_t below(uint64_t bound) { return cluster_.world.random().below(bound); }
  ServerProcess& any_server() { return cluster_.servers[below(cluster_.servers.size())]; }

  DataCluster& cluster_;
  bool running_ = false;
  std::vector<std::string> spoiled_;
  DiskId spoiled_disk_ = 0;
  std::shared_ptr<char> alive_ = std::make_shared<char>();
};

}  // namespace sp::sim
