// ClusterFaults: carries out the faults of a plan on a Cluster: processes and nodes that end, power
// that fails everywhere, links that break in all ways, pauses, slow, broken and full disks,
// decaying blocks, disks swapped and replaced, volumes attached elsewhere by force, disks taken out
// of placement, nodes that join, leave, vote or not, and are upgraded.
//
// What damages for good stays within promise 2: the Atlas says what may be hit.
#pragma once
#include <functional>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "sim/atlas.h"
#include "sim/cluster.h"
#include "sim/fault_plan.h"
#include "sim/membership.h"

namespace sp::sim {

class ClusterFaults {
 public:
  ClusterFaults(Cluster& cluster, std::vector<Fault> plan);
  // Carries out the faults of the plan between these times of it, the first of them at once.
  void start(io::Duration from, io::Duration until);
  // What is broken stays so until the hold is over, but for what passes by itself: repairs wait.
  void hold(bool on);
  // No new faults, and everything is well again: links, disks, processes.
  void heal();
  // What an administrator does now and then about disks that are lost: they are replaced. Also
  // follows which damage is mended.
  void tend();
  // At rest, after heal: some disk makes nothing durable any more, where others have all that it
  // holds; until, after a loss of power, it is honest again and everything is started.
  void begin_to_lie(uint64_t seed);
  bool lies_at_rest() const { return liar_ != 0; }
  void end_of_lies();
  // After heal: what is lost and not replaced yet, or nothing.
  std::string unsettled() const;
  // Whether a block that is reported as damaged on every copy may rightly be so.
  bool some_block_is_bare() { return observe() && atlas_.some_block_is_bare(); }
  // Blocks, by disk; not all that are mended are taken out at once.
  const std::map<DiskId, std::set<Atlas::Mark>>& spoiled() const { return atlas_.all_marks(); }
  // To be called often: a copy that leaves its set and is back between two calls is not seen to be
  // filled anew. What must not be said of nodes, versions and levels, or nothing.
  std::string check() {
    if (cluster_.newest_index() > atlas_.observed_index()) observe();
    return membership_.check();
  }

 private:
  using Death = io::SimHost::Death;
  // What one fault draws, whatever the others do.
  using Draws = std::shared_ptr<io::SeededRandom>;

  void one(const Fault& fault);
  void end_service(const Draws& draws);
  void end_node(const Draws& draws);
  void end_everything(const Draws& draws);
  void cut_links(const Draws& draws);
  void cut_both(const Cluster::Node& a, const Cluster::Node& b, bool up);
  void heal_swizzled(const Draws& draws, int64_t ms);
  void pause(const Draws& draws);
  void lose_segments(const Draws& draws);
  void reset_connections(const Draws& draws);
  void clog(const Draws& draws);
  void move_volume(const Draws& draws);
  void trouble_management(const Draws& draws);
  void change_placement(const Draws& draws);
  // Moments, in cluster_faults_moments.cc.
  struct Armed {  // a disk that stands still at an operation to come, and its user with it
    NodeId node = 0;
    std::string path;
    bool beacon = false;  // its user; or else the server
    uint32_t watches = 0;
    std::function<void()> fallen;
  };
  void fail_at_io(const Draws& draws);
  void arm(Cluster::Node& node, const std::string& path, bool beacon, uint64_t count,
           std::function<void()> fallen);
  void watch_armed();
  void disarm(const Armed& armed);
  void disarm_all();
  void swap_majorities(const Draws& draws);
  void swap_now(const Draws& draws, Cluster::Node& leader,
                const std::vector<Cluster::Node*>& others, size_t outside);
  void at(io::Duration delay, std::function<void()> work);  // unless all is healed by then
  void slow_links(const Draws& draws);
  // At times a client ends with it, so that nobody asks again for what was under way.
  void end_server(const Draws& draws, Cluster::Node& node, Death death);
  void delay_sends(const Draws& draws);
  // Ends a process; at times what it sends has been late for a while, and comes after its end.
  void end_late(const Draws& draws, io::SimHost& host, std::function<void()> end);
  // Who belongs to the cluster, in cluster_faults_nodes.cc.
  void join(const Draws& draws);
  void leave(const Draws& draws);
  void change_voting(const Draws& draws);
  void upgrade(const Draws& draws);
  // Disks, in cluster_faults_disks.cc.
  void trouble_disk(const Draws& draws);
  void trouble_log(const Draws& draws);
  void swap_disks(const Draws& draws);
  void add_disk(const Draws& draws);
  void place_new_disks();
  void fill_disk(const Draws& draws);
  // What damages for good, in cluster_faults_lasting.cc.
  struct Slot {  // of a disk in a server
    Cluster::Node* node;
    size_t position;
    DiskId disk() const { return node->server->disks[position]; }
    const std::string& path() const { return node->server->paths[position]; }
  };
  bool observe();  // false: nobody alive knows the newest map
  Slot any_slot(const Draws& draws);
  void spoil_block(const Draws& draws);
  bool spoil(const Slot& slot, SetId set, ObjectId object, uint16_t within, uint64_t sector,
             bool unreadable);
  void wipe_disk(const Draws& draws);
  void kill_disk(const Draws& draws);
  struct Shelved {  // a right disk
    std::string path;
    uint64_t uuid = 0;
    std::set<Atlas::Mark> marks;
  };
  void mistake_disk(const Draws& draws);
  bool may_go_again(DiskId disk, const Shelved& right) const;
  void bring_right_disk_back(DiskId disk);
  void make_disk_lie(const Draws& draws);
  void damage_superblock(const Draws& draws);
  void rot_disk(const Draws& draws);
  void damage_beacon(const Draws& draws);
  std::optional<Slot> slot_of(DiskId disk);
  bool is_untouched(const Slot& slot) const;
  bool is_untouched(Cluster::Node& node) const;
  void put_empty_disk(const Slot& slot, DiskId id);
  void release(Cluster::Node& node);
  void replace_dead(DiskId disk);
  uint64_t last_log_page(const std::string& log) const;
  void tend_beacon(Cluster::Node& node);
  bool may_start(Cluster::Node& node);
  bool vote_as_agreed() const;
  bool is_inside(DiskId disk) const;  // in a node of the cluster
  const map::Map* map_to_act_on(io::Instant& last, io::Duration pause);
  void retire_old_ids();
  void follow_marks();

  void after(const Draws& draws, int64_t ms_max, std::function<void()> work);
  Death any_death(const Draws& draws);
  Cluster::Node& any_node(const Draws& draws);
  std::vector<Cluster::Node*> storage();  // nodes with disks that neither come nor go
  Cluster::Node& any_storage_node(const Draws& draws) {
    const auto nodes = storage();
    return *nodes[draws->below(nodes.size())];
  }
  std::string any_disk(const Draws& draws) {
    const auto& paths = any_storage_node(draws).server->paths;
    return paths[draws->below(paths.size())];
  }

  Cluster& cluster_;
  Membership membership_{cluster_};
  std::vector<Fault> plan_;
  bool running_ = false, holding_ = false;
  std::vector<std::function<void()>> held_;  // repairs that wait
  std::vector<Armed> armed_;
  Atlas atlas_;
  std::map<DiskId, bool> dead_;       // and whether the new one gets another id
  std::map<DiskId, DiskId> retired_;  // and who came in its stead
  std::set<DiskId> new_;              // that servers got, and that are to join the placement
  std::map<DiskId, Shelved> shelf_;
  std::set<DiskId> returning_;  // the right ones, just back: not opened at once, they may be later
  std::set<DiskId> doubted_;
  // Of the doubted, those that are not replaced when they forget, and how often one could not
  // start.
  std::map<DiskId, uint32_t> kept_;
  std::set<DiskId> rotten_logs_;  // of the doubted: they may have forgotten
  DiskId liar_ = 0;
  std::map<DiskId, uint32_t> missed_;  // looks at which a lost disk was not opened by its server
  uint32_t shelves_ = 0;
  DiskId disk_last_ = 0;
  io::Instant retired_at_{}, placed_at_{};
  DiskId outside_ = 0;  // of placement
  std::shared_ptr<char> alive_ = std::make_shared<char>();
};

}  // namespace sp::sim
