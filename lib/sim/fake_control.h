// FakeControl: the agreed state of a simulated cluster without beacons: one map, changed by
// map::set_rules, handed to services with delays, with leases that are sound and can be taken away.
// For simulations of the data path alone; the whole cluster is simulated with real beacons.
//
// It keeps what Member promises (also that a live primary that is put out of its set has confirmed
// the map, or lost its lease, before the next one is activated): changes come in order, a service
// may lag; a service is declared down when its process is known to have ended, or when its last
// lease has ended for certain; nobody is put in its place before. Commands may end with an unknown
// outcome. Lives outside of all hosts. Thread rule: the world's.
#pragma once
#include <functional>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "io/sim_world.h"
#include "map/map.h"
#include "map/set_rules.h"
#include "member/member.h"

namespace sp::sim {

struct FakeControlOptions {
  io::Duration delay_mean = std::chrono::microseconds(300);  // of each message from and to a member
  double slow_change = 0.02;  // share of map changes that take up to slow_change_max
  io::Duration slow_change_max = std::chrono::milliseconds(150);
  double unknown_outcome =
      0.02;  // share of commands that are answered "transient", half of them applied
};

class FakeControl {
 public:
  FakeControl(io::SimWorld& world, FakeControlOptions options);
  ~FakeControl();

  const map::Map& map() const { return map_; }

  // configuration, applied at once
  GroupId add_group(uint8_t copies, uint8_t min_copies,
                    const std::vector<std::vector<DiskId>>& sets);
  VolumeId add_volume(GroupId group, uint64_t size_bytes);
  void resize_volume(VolumeId volume, uint64_t size_bytes);
  void remove_volume(VolumeId volume);
  // A new generation. Takes read-write away from others, unless the volume is `shared` on purpose.
  uint32_t attach(VolumeId volume, ClientId client, map::Rights rights, bool shared = false);
  void begin_detach(VolumeId volume, ClientId client);
  void detach(VolumeId volume, ClientId client);
  void retarget(SetId set, std::vector<DiskId> target);

  // faults
  void set_reachable(ServiceId service, bool reachable);  // its tie to the beacons
  void set_quorum(bool quorum);                           // without: no leases, no commands
  void process_ended(ServiceId service,
                     uint64_t start_id);  // its beacon notices that the process is gone

  // Members. Registers on start; the handle is the service's.
  std::unique_ptr<member::Member> join(io::Host& host, member::Options options,
                                       member::Member::Events events);

  // As the agreed state does it (module state); what is refused changes nothing.
  Status agree(const map::Command& command);
  // Every server has said under this map that cuts are settled at the sets that it leads.
  bool settled(uint64_t index) const;
  // Fenced everywhere: every server has put the map up to index in force, or has no lease.
  bool in_force(uint64_t index) const;
  uint64_t command_count() const { return commands_; }

 private:
  friend class FakeMember;
  struct Session;  // one member's end here

  void change(map::Change row);  // of the map, published with the next publish()
  void publish();
  void deliver(Session& session);
  bool disk_up(DiskId disk) const;
  void put_set(const map::SetEvent& event);
  bool stopped(ServiceId server, uint64_t index);
  void each_set(const std::function<map::SetEvent(const map::DiskSet&)>& rule);
  void disk_goes_down(DiskId disk);
  void disk_comes_up(const map::Disk& disk);
  void service_up(const map::Service& service, const std::vector<map::Disk>& disks);
  void service_down(ServiceId service);
  Status apply(const map::Command& command);
  void command(const std::shared_ptr<Session>& session, const map::Command& command,
               Callback<void(Result<uint64_t>)> done);
  void lease_request(const std::shared_ptr<Session>& session, io::Instant sent,
                     const member::Report& report);
  void tick();
  io::Duration delay();
  bool draw(double probability);

  io::SimWorld& world_;
  FakeControlOptions options_;
  map::Map map_;
  std::vector<map::Change> pending_;
  std::map<ServiceId, std::shared_ptr<Session>> sessions_;
  std::map<SetId, std::set<DiskId>> untold_;  // see put_set
  std::map<SetId, std::map<ServiceId, uint64_t>>
      dropped_;  // live primaries that are copies no more: until they say so, the set is not
                 // activated
  std::map<ServiceId, bool> unreachable_;
  bool quorum_ = true;
  uint64_t commands_ = 0;
  std::shared_ptr<char> alive_ = std::make_shared<char>();
};

}  // namespace sp::sim
