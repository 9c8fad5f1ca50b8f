// SimWorld: a whole cluster in one thread, from one seed, in virtual time. It makes SimHosts (one
// per simulated process; several may share a node, that is an IP address) and runs their events in
// the order of (time, order of scheduling). Same seed and same calls: same trace_hash().
//
// Life of a host: kill() drops everything of it that is pending without running it, then its owner
// destroys the service's objects (or before: both orders are safe), then restart() and make a new
// service. Objects of an earlier life are inert: their operations do nothing and never complete.
// The world must outlive all objects made through its hosts. Disks survive by path, see sim_disk.h.
//
// Faults: world.disks(), world.net(), and kill, pause, restart of hosts. Thread rule: one thread;
// many worlds may live side by side.
#pragma once
#include <array>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "io/host.h"
#include "io/sim_buggify.h"
#include "io/sim_core.h"
#include "io/sim_disk.h"
#include "io/sim_net.h"
#include "io/sim_options.h"

namespace sp::io {

class SimWorld;

class SimHost final : public Reactor, private Clock {
 public:
  enum class Death {
    process,  // kill -9: the drive's cache survives, the kernel resets the connections, or still
              // delivers what was sent
    power,    // as process, and its disks lose what was not flushed (in the ways of SimDiskOptions)
    silent,   // as power, and nobody is told: peers see nothing until they time out or the node
              // answers again
  };

  SimHost(SimWorld& world, uint32_t index, std::string name, std::string ip);

  Host& host() { return host_; }
  const std::string& name() const { return name_; }
  const std::string& ip() const { return ip_; }
  bool alive() const { return alive_; }

  void kill(Death death = Death::power);
  void restart();
  void pause(
      Duration duration);  // its events are held, then run in their order; pausing again prolongs
  bool paused() const { return paused_; }
  // What its connections have under way to other nodes, and send, comes so much later; also once it
  // is killed as a process.
  void hold_sends(Duration duration);
  // Its connections to other nodes break at its end, as when its kernel gave them up: what is under
  // way still arrives, and the peers know nothing of it until they answer.
  void give_connections_up();
  // Events of it that have run. As long as that stays, nothing of it has changed but by time.
  uint64_t events_run() const { return events_run_; }
  Instant now() const override;
  void set_wall_offset_ms(int64_t offset_ms) { wall_offset_ms_ = offset_ms; }

  void post(Callback<void()> work) override;

 private:
  friend class SimWorld;
  uint64_t timer_start(Duration delay, Callback<void()> fire) override;
  void timer_cancel(uint64_t id) override;
  int64_t wall_ms() const override;
  int64_t world_time_of(int64_t local_ns) const;
  void log_line(LogLevel level, std::string_view line);

  SimWorld& world_;
  uint32_t index_;
  std::string name_;
  std::string ip_;
  bool alive_ = true;
  bool paused_ = false;
  uint64_t events_run_ = 0;
  uint64_t resume_event_ = 0;
  int64_t paused_until_ns_ = 0;
  int64_t clock_offset_ns_ = 0;
  int64_t clock_drift_ppb_ = 0;
  int64_t wall_offset_ms_ = 0;
  SeededRandom random_;
  std::unique_ptr<DiskOpener> disks_;
  std::unique_ptr<Net> net_;
  Log log_;
  SimBuggify buggify_;
  Host host_;
};

class SimWorld {
 public:
  explicit SimWorld(uint64_t seed, SimOptions options = {});
  ~SimWorld();
  SimWorld(const SimWorld&) = delete;
  SimWorld& operator=(const SimWorld&) = delete;

  // A process on the node of this IP, alive at once. Names are for logs and need not differ. The
  // reference stays good as long as the world.
  SimHost& add_host(std::string name, std::string ip);

  SimDisks& disks() { return disks_; }
  SimNet& net() { return net_; }
  // Draws for the test itself (workloads, fault schedules), from the same seed.
  Random& random() { return random_; }
  // Whether the points of io/buggify.def fire; off at first.
  void set_buggify(bool on) { buggify_ = on; }
  // Runs work of the test in `delay` of world time, outside of any host.
  void at(Duration delay, Callback<void()> work);

  // Runs events until the predicate holds (asked before the first and after each event): true; or
  // until `limit` of virtual time has passed.
  bool run_until(const std::function<bool()>& predicate, Duration limit);
  void run_for(Duration duration);
  // One event; false when there is none.
  bool step();

  Instant now() const { return {core_.now_ns()}; }  // world time: starts at 0, no host's clock
  uint64_t trace_hash() const { return trace_hash_; }
  uint64_t event_count() const { return event_count_; }
  const std::array<uint64_t, sim_event_kinds>& events_by_kind() const { return events_by_kind_; }
  uint64_t seed() const { return seed_; }
  const SimOptions& options() const { return options_; }

 private:
  friend class SimHost;
  // Events without progress of time: more of them are a loop of posts that would never end.
  static constexpr uint64_t events_per_instant_max = 10'000'000;
  bool run_next(int64_t until_ns);

  uint64_t seed_;
  SimOptions options_;
  bool buggify_ = false;
  SimCore core_;
  SeededRandom random_;
  SimDisks disks_;
  SimNet net_;
  std::vector<std::unique_ptr<SimHost>> hosts_;
  uint64_t trace_hash_ = 0;
  uint64_t event_count_ = 0;
  std::array<uint64_t, sim_event_kinds> events_by_kind_{};
  uint64_t events_at_instant_ = 0;
};

}  // namespace sp::io
