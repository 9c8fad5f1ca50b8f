// What damages a simulated cluster for good, within what the Atlas allows.
#include <algorithm>
#include <cstring>

#include "base/probe.h"
#include "beacon/raft_log_format.h"
#include "disk/superblock.h"
#include "sim/cluster_faults.h"
#include "store/check.h"

namespace sp::sim {

using std::chrono::milliseconds;

namespace {
constexpr uint32_t places_tried = 8;  // before nothing is damaged
}  // namespace

bool ClusterFaults::observe() {
  const map::Map* const map = cluster_.newest_map();
  if (map == nullptr || map->index < cluster_.newest_index()) return false;
  atlas_.observe(*map);
  return true;
}

ClusterFaults::Slot ClusterFaults::any_slot(const Draws& draws) {
  Cluster::Node& node = any_storage_node(draws);
  return {&node, draws->below(node.server->disks.size())};
}

std::optional<ClusterFaults::Slot> ClusterFaults::slot_of(DiskId disk) {
  for (auto& node : cluster_.nodes) {
    if (!node.server) continue;
    const auto& disks = node.server->disks;
    const auto found = std::find(disks.begin(), disks.end(), disk);
    if (found != disks.end()) return Slot{&node, static_cast<size_t>(found - disks.begin())};
  }
  return std::nullopt;
}

// Nothing else is wrong with it for good, and nobody has it on the table.
bool ClusterFaults::is_untouched(const Slot& slot) const {
  const DiskId disk = slot.disk();
  return slot.node->server->held == 0 && !atlas_.is_lost(disk) && dead_.count(disk) == 0 &&
         shelf_.count(disk) == 0;
}

// Of a volume, or of whatever stands on the same layers: its newest content, what it stands on, or
// where it keeps which blocks were discarded.
void ClusterFaults::spoil_block(const Draws& draws) {
  const VolumeId worked_on = cluster_.volumes[draws->below(cluster_.volumes.size())];
  const Slot slot = any_slot(draws);
  const uint64_t sector = 512 * draws->below(8);
  const bool unreadable = draws->below(3) == 0, any_volume = draws->below(2) == 0;
  if (!observe()) return;
  follow_marks();
  const map::Map& map = *cluster_.newest_map();
  for (uint32_t tries = 0; tries < places_tried; ++tries) {
    auto row = map.volumes.find(worked_on);
    const uint64_t other = draws->below(std::max<size_t>(map.volumes.size(), 1));
    if (any_volume && !map.volumes.empty())
      row = std::next(map.volumes.begin(), static_cast<std::ptrdiff_t>(other));
    const uint64_t block =
        cluster_.block_in_use(worked_on, draws->below(cluster_.setup.work.blocks));
    const uint64_t depth = draws->below(8);
    const bool holes = draws->below(6) == 0;
    if (row == map.volumes.end()) return;
    const auto chain = map::chain_of(map, map::layer_of(map, row->first));
    const VolumeId layer = depth < 4 ? chain.front() : chain[depth % chain.size()];
    const auto index = static_cast<uint32_t>(block / limits::blocks_per_object);
    const auto within =
        holes ? uint16_t{0} : static_cast<uint16_t>(block % limits::blocks_per_object);
    const ObjectId object{holes ? layer | map::hole_bit : layer, index};
    if (spoil(slot, map::set_of(map, row->second, index), object, within, sector, unreadable))
      return;
  }
}

bool ClusterFaults::spoil(const Slot& slot, SetId set, ObjectId object, uint16_t within,
                          uint64_t sector, bool unreadable) {
  auto& process = *slot.node->server;
  store::Store* const store = process.server ? process.server->store(slot.disk()) : nullptr;
  if (store == nullptr) return false;
  const auto location = store::locate(*store, object, within);
  // Not in the blink before the block's round is proven: damage there, then a crash, cannot be told
  // from a torn write that was never acknowledged (sp-disk-format(5)).
  if (!location || !location->proven || !atlas_.may_spoil(slot.disk(), set, object, within))
    return false;
  atlas_.spoil(slot.disk(), {set, object, within, location->device_offset});
  const bool holes = (object.volume & map::hole_bit) != 0;
  const VolumeId layer = map::layer_of_holes(object.volume);
  if (holes) {
    SP_PROBE(sim_holes_spoiled);
  } else if (map::parent_of(*cluster_.newest_map(), layer) != 0) {
    SP_PROBE(sim_layer_spoiled);
  }
  const uint64_t first = uint64_t{object.index} * limits::blocks_per_object + within;
  cluster_.note((holes ? "block of holes is " : "block is ") +
                std::string(unreadable ? "made unreadable" : "damaged") +
                " volume=" + std::to_string(layer) + " first=" + std::to_string(first) +
                " count=1 disk=" + std::to_string(slot.disk()));
  if (unreadable)
    cluster_.world.disks().make_unreadable(slot.path(), location->device_offset + sector, 512);
  else
    cluster_.world.disks().corrupt(slot.path(), location->device_offset + sector, 512);
  return true;
}

// A spoiled block that was written or repaired since lies elsewhere; a doubted disk whose every
// sector was written since is sound.
void ClusterFaults::follow_marks() {
  auto& disks = cluster_.world.disks();
  for (auto& node : cluster_.nodes) {
    if (!node.server || !node.server->server) continue;
    for (size_t i = 0; i < node.server->disks.size(); ++i) {
      const DiskId disk = node.server->disks[i];
      const std::string& path = node.server->paths[i];
      store::Store* const store = node.server->server->store(disk);
      if (store == nullptr) continue;
      const auto marks = atlas_.marks(disk);
      for (const Atlas::Mark& mark : marks) {
        const auto location = store::locate(*store, mark.object, mark.block);
        if (!location || !location->proven || location->device_offset == mark.device_offset)
          continue;
        if (!location->lost && !disks.harmed(path, location->device_offset, limits::block_bytes))
          atlas_.mend(disk, mark);
      }
    }
  }
  for (auto doubted = doubted_.begin(); doubted != doubted_.end();) {
    const auto slot = slot_of(*doubted);
    if (slot && (disks.harmed(slot->path()) || disks.may_have_lied(slot->path()))) {
      ++doubted;
      continue;
    }
    if (slot) atlas_.find_sound(*doubted);
    rotten_logs_.erase(*doubted);
    doubted = doubted_.erase(doubted);
  }
}

void ClusterFaults::wipe_disk(const Draws& draws) {
  const Slot slot = any_slot(draws);
  if (!is_untouched(slot) || !observe() || !atlas_.may_lose(slot.disk())) return;
  atlas_.lose(slot.disk());
  put_empty_disk(slot, slot.disk());
}

void ClusterFaults::kill_disk(const Draws& draws) {
  const Slot slot = any_slot(draws);
  const bool new_id = draws->below(2) == 0;
  if (!is_untouched(slot) || !observe() || !atlas_.may_lose(slot.disk())) return;
  const DiskId disk = slot.disk();
  atlas_.lose(disk);
  cluster_.world.disks().set_dead(slot.path(), true);
  dead_.emplace(disk, new_id);
  after(draws, 4000, [this, disk] { replace_dead(disk); });
}

// An empty disk that was given the same id is taken for it, until somebody notices. While it stands
// in, the right one is safe on a shelf.
void ClusterFaults::mistake_disk(const Draws& draws) {
  Slot slot = any_slot(draws);
  if (!observe()) return;
  for (auto& node : cluster_.nodes) {
    for (size_t i = 0; node.server && i < node.server->disks.size(); ++i)
      if (atlas_.is_only_copy(node.server->disks[i])) slot = {&node, i};
  }
  const DiskId disk = slot.disk();
  const map::Map& map = *cluster_.newest_map();
  const auto row = map.disks.find(disk);
  if (!is_untouched(slot) || row == map.disks.end() || retired_.count(disk) != 0) return;
  const bool refused = atlas_.is_only_copy(disk);
  if (!refused && !atlas_.may_lose(disk)) return;
  auto& disks = cluster_.world.disks();
  cluster_.end_server(*slot.node, Death::power);
  if (disks.forgot(slot.path())) return;
  const std::string shelf = "/shelf" + std::to_string(++shelves_);
  Status moved = disks.add(shelf, cluster_.setup.disk_bytes);
  if (moved.ok()) moved = disks.swap(slot.path(), shelf);
  SP_ASSERT(moved.ok());
  atlas_.lose(disk);
  shelf_[disk] = {shelf, row->second.uuid, atlas_.marks(disk)};
  put_empty_disk(slot, disk);
  after(draws, 4000, [this, disk] { bring_right_disk_back(disk); });
}

void ClusterFaults::make_disk_lie(const Draws& draws) {
  const Slot slot = any_slot(draws);
  const auto& process = *slot.node->server;
  auto& disks = cluster_.world.disks();
  const uint64_t kind = draws->below(4);
  if (!is_untouched(slot) || !process.server || process.server->store(slot.disk()) == nullptr)
    return;
  if (kind == 3) return disks.misdirect_next_read(slot.path());
  if (!observe() || !atlas_.may_doubt(slot.disk())) return;
  atlas_.lose(slot.disk());
  doubted_.insert(slot.disk());
  if (kind == 0) disks.lose_next_write(slot.path());
  if (kind == 1) disks.misdirect_next_write(slot.path());
  if (kind == 2) disks.lie_on_next_flush(slot.path());
  if (draws->below(2) == 0) kept_[slot.disk()] = 0;
}

// Once everything is well: one disk makes nothing durable any more.
void ClusterFaults::begin_to_lie(uint64_t seed) {
  const Draws draws = std::make_shared<io::SeededRandom>(seed);
  const Slot slot = any_slot(draws);
  if (!cluster_.setup.world.disk.volatile_cache || !is_untouched(slot) || !observe() ||
      !atlas_.may_doubt(slot.disk()))
    return;
  atlas_.lose(slot.disk());
  liar_ = slot.disk();
  io::SimDiskOptions lying = cluster_.setup.world.disk;
  lying.lying_flush = 1;
  cluster_.world.disks().set_options(slot.path(), lying);
}

void ClusterFaults::end_of_lies() {
  const auto slot = slot_of(liar_);
  SP_ASSERT(slot.has_value());
  cluster_.world.disks().set_options(slot->path(), cluster_.setup.world.disk);
  for (auto& node : cluster_.nodes) cluster_.start_node(node);
}

// One of the two, which is survived; or the second one is of another formatting, and the disk is
// not believed any more.
void ClusterFaults::damage_superblock(const Draws& draws) {
  const Slot slot = any_slot(draws);
  auto& disks = cluster_.world.disks();
  const uint64_t second = cluster_.setup.disk_bytes - limits::block_bytes;
  const bool differ = draws->below(2) == 0;
  const uint64_t at = draws->below(2) == 0 ? 0 : second;
  if (!is_untouched(slot)) return;
  if (!differ) {
    if (!disks.harmed(slot.path(), second - at, limits::block_bytes))
      disks.corrupt(slot.path(), at, 512);
    return;
  }
  const Slot other = any_slot(draws);
  // With the first one gone as well nothing would tell it from the other disk.
  const bool whole = !disks.harmed(slot.path(), 0, limits::block_bytes) &&
                     !disks.harmed(other.path(), second, limits::block_bytes);
  if (other.path() == slot.path() || !whole || !observe() || !atlas_.may_lose(slot.disk())) return;
  atlas_.lose(slot.disk());
  cluster_.end_server(*slot.node, Death::power);
  Buffer page = Buffer::allocate(limits::block_bytes);
  disks.peek(other.path(), second, page.mutable_bytes());
  disks.poke(slot.path(), second, page.bytes());
  cluster_.start_server(*slot.node);
}

// The group follows the map by a while.
bool ClusterFaults::vote_as_agreed() const {
  const map::Map& map = *cluster_.newest_map();
  const auto votes = static_cast<uint32_t>(std::count_if(
      map.nodes.begin(), map.nodes.end(), [](const auto& row) { return row.second.voting; }));
  return std::all_of(cluster_.nodes.begin(), cluster_.nodes.end(), [votes](const auto& node) {
    if (!node.belongs || !node.beacon.up) return true;
    const auto view = node.beacon.beacon->view();
    return !view.started || view.voters == votes;
  });
}

// Its log is gone, or everything that it keeps, or a page of the log that was acknowledged lately.
void ClusterFaults::damage_beacon(const Draws& draws) {
  Cluster::Node& node = any_node(draws);
  const uint64_t kind = draws->below(4);
  const uint64_t back = 1 + draws->below(6);
  const std::string number = std::to_string(node.id), log = "/log" + number;
  auto& disks = cluster_.world.disks();
  if (!disks.exists(log) || !node.beacon.up || !node.beacon.beacon->view().started) return;
  if (!observe() || !vote_as_agreed() || !atlas_.may_lose_log(node.id)) return;
  cluster_.end_beacon(node, Death::process);
  atlas_.lose_log(node.id);
  if (kind == 0 || kind == 1) disks.remove(log);
  if (kind == 1 && disks.exists("/snapshot" + number)) disks.remove("/snapshot" + number);
  if (kind >= 2) {
    const uint64_t newest = last_log_page(log);
    if (newest > back) disks.corrupt(log, (newest - back) * limits::block_bytes, 512);
  }
  after(draws, 1500, [this, id = node.id] { cluster_.start_node(cluster_.node(id)); });
}

// Frames are written one after the other, and no run fills the ring.
uint64_t ClusterFaults::last_log_page(const std::string& log) const {
  beacon::RaftLogIdentity identity;
  identity.frames_bytes = beacon_log_bytes;
  Buffer page = Buffer::allocate(limits::block_bytes);
  const uint64_t first = identity.frames_offset() / limits::block_bytes;
  uint64_t last = 0;
  for (uint64_t at = first; at < first + beacon_log_bytes / limits::block_bytes; ++at) {
    cluster_.world.disks().peek(log, at * limits::block_bytes, page.mutable_bytes());
    if (std::memcmp(page.data(), "RAFRAME1", 8) == 0) last = at;
    if (last != 0 && at > last + 16) break;
  }
  return last;
}

// Sectors of what a disk keeps beside content: of its log, of the homes of its slot table or of its
// saved index. Its server meets them when it starts, or later.
void ClusterFaults::rot_disk(const Draws& draws) {
  const Slot slot = any_slot(draws);
  const uint64_t kind = draws->below(3), sectors = 1 + draws->below(4);
  auto& disks = cluster_.world.disks();
  Buffer page = Buffer::allocate(disk::superblock_bytes);
  disks.peek(slot.path(), 0, page.mutable_bytes());
  const auto superblock = disk::decode_superblock(page.bytes());
  if (!is_untouched(slot) || !superblock.ok() || !observe() || !atlas_.may_doubt(slot.disk()))
    return;
  const disk::Layout& layout = superblock->layout;
  const std::pair<uint64_t, uint64_t> regions[] = {{layout.log_offset, layout.log_bytes},
                                                   {layout.table_offset, layout.table_bytes},
                                                   {layout.index_offset, layout.index_bytes}};
  const auto [offset, bytes] = regions[kind];
  if (bytes == 0) return;
  atlas_.lose(slot.disk());
  doubted_.insert(slot.disk());
  // Its newest pages may go, and nothing tells that from writes that never ended.
  if (kind == 0) kept_[slot.disk()] = 0;
  if (kind == 0) rotten_logs_.insert(slot.disk());
  cluster_.end_server(*slot.node, Death::power);
  for (uint64_t i = 0; i < sectors; ++i) {
    const uint64_t within = draws->below(2) == 0 ? bytes : bytes / 16;  // disks fill from the front
    const uint64_t at = offset + draws->below(within / 512) * 512;
    if (draws->below(4) == 0)
      disks.make_unreadable(slot.path(), at, 512);
    else
      disks.corrupt(slot.path(), at, 512);
  }
  after(draws, 1500, [this, id = slot.node->id] { cluster_.start_node(cluster_.node(id)); });
}

}  // namespace sp::sim
