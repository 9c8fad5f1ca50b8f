// What the administrator of a simulated cluster does about damage that is for good.
#include <algorithm>

#include "sim/cluster_faults.h"

namespace sp::sim {

using std::chrono::milliseconds;

namespace {
constexpr uint32_t looks_before_replaced = 15;
constexpr uint32_t looks_before_given_up = 200;
constexpr auto retire_interval = milliseconds(500);
// A registration that was under way when a disk was taken out has ended by then.
constexpr auto registrations_end = std::chrono::seconds(3);
}  // namespace

void ClusterFaults::put_empty_disk(const Slot& slot, DiskId id) {
  auto& disks = cluster_.world.disks();
  Cluster::Node& node = *slot.node;
  const std::string path = slot.path();
  cluster_.end_server(node, Death::power);
  ++node.server->held;
  doubted_.erase(slot.disk());
  kept_.erase(slot.disk());
  rotten_logs_.erase(slot.disk());
  missed_.erase(slot.disk());
  if (dead_.erase(slot.disk()) > 0) {
    disks.remove(path);
    const Status added = disks.add(path, cluster_.setup.disk_bytes);
    SP_ASSERT(added.ok());
  } else {
    // It may be dead by what is beyond all promises, or be about to stop in the middle of an I/O.
    disks.set_dead(path, false);
    disks.crash(path);
    disks.wipe(path);
    disks.set_options(path, cluster_.setup.world.disk);  // a full one cannot be formatted
  }
  const bool same = slot.disk() == id;
  node.server->disks[slot.position] = id;
  cluster_.format_disk(path, id, [this, &node, id, same](uint64_t uuid) {
    if (same) atlas_.replace(id, uuid);
    release(node);
  });
}

void ClusterFaults::release(Cluster::Node& node) {
  if (--node.server->held == 0) cluster_.start_server(node);
}

void ClusterFaults::replace_dead(DiskId disk) {
  const auto slot = slot_of(disk);
  const auto dead = dead_.find(disk);
  if (!slot || dead == dead_.end() || slot->node->server->held > 0) return;
  if (!dead->second) return put_empty_disk(*slot, disk);
  const DiskId id = ++disk_last_;
  for (auto& [old_id, new_id] : retired_) {
    if (new_id == disk) new_id = id;
  }
  retired_[disk] = id;
  put_empty_disk(*slot, id);
}

bool ClusterFaults::is_inside(DiskId disk) const {
  return std::any_of(cluster_.nodes.begin(), cluster_.nodes.end(), [disk](const auto& node) {
    if (!node.belongs || !node.server) return false;
    const auto& disks = node.server->disks;
    return std::find(disks.begin(), disks.end(), disk) != disks.end();
  });
}

// Null: nobody alive knows the newest one, or the last time was less than `pause` ago.
const map::Map* ClusterFaults::map_to_act_on(io::Instant& last, io::Duration pause) {
  const map::Map* const map = cluster_.newest_map();
  const io::Instant now = cluster_.world.now();
  if (map == nullptr || map->index < cluster_.newest_index() || now - last < pause) return nullptr;
  last = now;
  return map;
}

// The new disk joins the placement, then the old id is forgotten.
void ClusterFaults::retire_old_ids() {
  if (retired_.empty()) return;
  const map::Map* const map = map_to_act_on(retired_at_, retire_interval);
  if (map == nullptr) return;
  for (const auto& [old_id, new_id] : retired_) {
    // A registration that was on its way when it died may bring it back.
    if (map->disks.count(old_id) == 0) continue;
    if (outside_ == old_id) outside_ = 0;
    // The new one may have left with a node meanwhile.
    const bool there = map->disks.count(new_id) != 0;
    if (!there && is_inside(new_id)) continue;
    const auto group = map->placement_groups.find("all");
    if (there && group != map->placement_groups.end() && group->second.disks.count(new_id) == 0)
      cluster_.administrate(Management::post("PlacementGroupUpdate/all",
                                             R"({"addDisks":[)" + std::to_string(new_id) + "]}"));
    else
      cluster_.administrate(Management::post("DiskForget/" + std::to_string(old_id)));
  }
}

// The disk that stands in for another: not when what it holds by now is needed.
bool ClusterFaults::may_go_again(DiskId disk, const Shelved& right) const {
  const auto& rows = cluster_.newest_map()->disks;
  const auto row = rows.find(disk);
  const bool taken_in = row != rows.end() && row->second.uuid != right.uuid;
  return !taken_in || atlas_.may_lose(disk);
}

void ClusterFaults::bring_right_disk_back(DiskId disk) {
  const auto slot = slot_of(disk);
  const auto shelved = shelf_.find(disk);
  if (shelved == shelf_.end()) return;
  SP_ASSERT(slot.has_value());
  Cluster::Node& node = *slot->node;
  if (node.server->held > 0 || !observe() || !may_go_again(disk, shelved->second)) {
    if (running_)  // else tend() comes by
      return cluster_.world.at(milliseconds(100), [this, disk] { bring_right_disk_back(disk); });
    // What others hold of its content may be damaged for good: then it stays.
    if (observe() && !may_go_again(disk, shelved->second)) shelf_.erase(shelved);
    return;
  }
  cluster_.end_server(node, Death::power);
  auto& disks = cluster_.world.disks();
  const Status moved = disks.swap(slot->path(), shelved->second.path);
  SP_ASSERT(moved.ok());
  // What troubled it for a while has passed on the shelf, where nobody looked after it.
  disks.set_options(slot->path(), cluster_.setup.world.disk);
  const auto right = std::make_shared<const Shelved>(std::move(shelved->second));
  shelf_.erase(shelved);
  atlas_.lose(disk);
  returning_.insert(disk);
  cluster_.start_server(node);
  cluster_.world.at(registrations_end, [this, disk, right] {
    returning_.erase(disk);
    if (!slot_of(disk) || !atlas_.is_lost(disk)) return;
    atlas_.replace(disk, right->uuid);
    for (const Atlas::Mark& mark : right->marks) atlas_.spoil(disk, mark);
  });
}

void ClusterFaults::tend() {
  for (auto& node : cluster_.nodes) {
    if (node.beacon.up && atlas_.has_lost_log(node.id)) tend_beacon(node);
    if (!node.server || !node.server->server || !node.server->server->all_opened()) continue;
    const auto opened = node.server->server->disks();
    for (size_t i = 0; i < node.server->disks.size(); ++i) {
      const Slot slot{&node, i};
      const DiskId disk = slot.disk();
      const bool missing = std::find(opened.begin(), opened.end(), disk) == opened.end();
      if (!missing || !atlas_.is_lost(disk) || dead_.count(disk) != 0 || shelf_.count(disk) != 0 ||
          returning_.count(disk) != 0)
        continue;
      if (++missed_[disk] < looks_before_replaced) continue;
      put_empty_disk(slot, disk);
      break;
    }
  }
  retire_old_ids();
  place_new_disks();
  membership_.tend();
  if (running_) return;
  follow_marks();
  for (auto& node : cluster_.nodes) cluster_.start_server(node);
  const auto shelf = shelf_;
  for (const auto& [disk, shelved] : shelf) bring_right_disk_back(disk);
  const auto dead = dead_;
  for (const auto& [disk, new_id] : dead) replace_dead(disk);
}

// One that cannot make its state again says so, and comes back as a new member.
void ClusterFaults::tend_beacon(Cluster::Node& node) {
  const auto view = node.beacon.beacon->view();
  const map::Map* const map = cluster_.newest_map();
  const bool learns =
      map != nullptr && map->nodes.count(node.id) != 0 && !map->nodes.at(node.id).voting;
  if (view.started && (view.voter || learns) && !view.abstains) atlas_.log_is_back(node.id);
  if (node.beacon.failure.find("comes back as a new member") == std::string::npos) return;
  const std::string log = "/log" + std::to_string(node.id);
  cluster_.end_beacon(node, Death::process);
  if (cluster_.world.disks().exists(log)) cluster_.world.disks().remove(log);
  cluster_.start_beacon(node);
}

// A disk that forgot what it acknowledged last does not know, and alone nobody else does: sets that
// it starts by itself would serve what was before, and that is not promised. So it is replaced, or
// its server stays away until no fault can leave it alone any more; the others find it out then.
bool ClusterFaults::may_start(Cluster::Node& node) {
  for (size_t i = 0; i < node.server->disks.size(); ++i) {
    const Slot slot{&node, i};
    if (!cluster_.world.disks().forgot(slot.path()) && rotten_logs_.count(slot.disk()) == 0)
      continue;
    SP_ASSERT(atlas_.is_lost(slot.disk()));
    if (slot.disk() == liar_) continue;
    if (const auto kept = kept_.find(slot.disk()); kept != kept_.end()) {
      if (running_) return false;
      if (observe() && atlas_.has_company(slot.disk())) continue;
      // Two servers may wait for each other's disks.
      if (++kept->second < looks_before_given_up) return false;
    }
    put_empty_disk(slot, slot.disk());
    return false;
  }
  return true;
}

std::string ClusterFaults::unsettled() const {
  if (!dead_.empty()) return "a dead disk is not replaced";
  if (!shelf_.empty()) return "a disk lies on a shelf";
  const map::Map* const map = cluster_.newest_map();
  for (const auto& [old_id, new_id] : retired_)
    if (map != nullptr && map->disks.count(old_id) != 0)
      return "disk " + std::to_string(old_id) + " is not forgotten";
  if (!new_.empty()) return "disk " + std::to_string(*new_.begin()) + " is not placed";
  return membership_.unsettled();
}

}  // namespace sp::sim
