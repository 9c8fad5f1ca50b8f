#include "sim/beyond.h"

#include <algorithm>

#include "base/limits.h"
#include "sim/read_back.h"
#include "store/check.h"

namespace sp::sim {

namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

constexpr auto report_limit = seconds(60);
constexpr std::string_view lost_words = "lost: it held the only complete copy of ";

bool contains(const std::vector<DiskId>& disks, DiskId disk) {
  return std::find(disks.begin(), disks.end(), disk) != disks.end();
}

std::string set_name(SetId set) { return "set " + std::to_string(set.index); }

}  // namespace

Beyond::Beyond(Cluster& cluster, uint64_t seed, Advance advance)
    : cluster_(cluster), draws_(mix64(seed ^ 0xbe70dull)), advance_(std::move(advance)) {}

std::string Beyond::execute() {
  const uint64_t kind = draws_.below(3);
  cluster_.note("beyond: " + std::to_string(kind));
  return kind == 2 ? damage_block() : lose_disks(kind == 1);
}

// Disks

std::string Beyond::lose_disks(bool dead) {
  destroyed_ = true;
  const map::Map& map = *cluster_.newest_map();
  auto chosen = map.sets.begin();
  std::advance(chosen, static_cast<std::ptrdiff_t>(draws_.below(map.sets.size())));
  hit_.insert(chosen->second.target.begin(), chosen->second.target.end());
  for (const auto& [id, row] : map.sets) {
    if (std::all_of(row.base.begin(), row.base.end(), [&](DiskId d) { return hit_.contains(d); }))
      lost_.insert(id);
  }
  // The work takes damage that a client is told of for a failure.
  if (!damaged_without(hit_).empty()) {
    cluster_.stop_work();
    if (!advance_([this] { return work_ended(); }, seconds(30))) return "";
  }
  std::set<BlockKey> damaged = damaged_without(hit_);
  if (dead) {
    for (auto& node : cluster_.nodes) {
      for (size_t i = 0; node.server && i < node.server->disks.size(); ++i) {
        if (hit_.contains(node.server->disks[i]))
          cluster_.world.disks().set_dead(node.server->paths[i], true);
      }
    }
    advance_([] { return false; }, milliseconds(draws_.below(3000)));
  }
  std::erase_if(damaged,
                [this](BlockKey block) { return damaged_without(hit_).count(block) == 0; });
  // All of them are down before the first is made anew.
  for (auto& node : cluster_.nodes) {
    if (node.server && std::any_of(node.server->disks.begin(), node.server->disks.end(),
                                   [&](DiskId disk) { return hit_.contains(disk); }))
      cluster_.end_server(node, io::SimHost::Death::power);
  }
  for (const DiskId disk : hit_) replace(disk, dead);
  advance_([this] { return unreported().empty(); }, report_limit);
  if (auto wrong = unreported(); !wrong.empty()) return "report: " + wrong;
  return read_back(false, damaged, true);
}

const map::DiskSet& Beyond::set_of(BlockKey block) const {
  const map::Map& map = *cluster_.newest_map();
  const auto object = static_cast<uint32_t>(block.block / limits::blocks_per_object);
  return map.sets.at(map::set_of(map, map.volumes.at(block.volume), object));
}

bool Beyond::is_sound(DiskId disk, BlockKey block) const {
  const ObjectId object{block.volume,
                        static_cast<uint32_t>(block.block / limits::blocks_per_object)};
  for (auto& node : cluster_.nodes) {
    for (size_t i = 0; node.server && i < node.server->disks.size(); ++i) {
      if (node.server->disks[i] != disk || !node.server->server) continue;
      store::Store* const store = node.server->server->store(disk);
      if (store == nullptr) return false;
      const auto found = store::locate(
          *store, object, static_cast<uint16_t>(block.block % limits::blocks_per_object));
      return !found || (!found->lost &&
                        !cluster_.world.disks().harmed(node.server->paths[i], found->device_offset,
                                                       limits::block_bytes));
    }
  }
  return false;
}

std::set<BlockKey> Beyond::damaged_without(const std::set<DiskId>& gone) const {
  std::set<BlockKey> damaged;
  for (const VolumeId volume : cluster_.volumes) {
    for (const uint64_t block : cluster_.history.blocks(volume)) {
      std::vector<DiskId> left = set_of({volume, block}).base;
      std::erase_if(left, [&](DiskId disk) { return gone.contains(disk); });
      if (!left.empty() && std::none_of(left.begin(), left.end(), [&](DiskId disk) {
            return is_sound(disk, {volume, block});
          }))
        damaged.insert({volume, block});
    }
  }
  return damaged;
}

bool Beyond::work_ended() const {
  return std::all_of(cluster_.clients.begin(), cluster_.clients.end(),
                     [](const auto& process) { return !process.work || process.work->idle(); });
}

void Beyond::replace(DiskId disk, bool dead) {
  auto& disks = cluster_.world.disks();
  for (auto& node : cluster_.nodes) {
    if (!node.server) continue;
    for (size_t i = 0; i < node.server->disks.size(); ++i) {
      if (node.server->disks[i] != disk) continue;
      const std::string path = node.server->paths[i];
      ++node.server->held;
      if (dead) {
        disks.remove(path);
        const Status added = disks.add(path, cluster_.setup.disk_bytes);
        SP_ASSERT(added.ok());
      } else {
        disks.wipe(path);
      }
      cluster_.format_disk(path, disk, [this, &node](uint64_t) {
        if (--node.server->held == 0) cluster_.start_server(node);
      });
    }
  }
}

// What is not said as it has to be, or not done.
std::string Beyond::unreported() const {
  const map::Map* const map = cluster_.newest_map();
  if (map == nullptr) return "no beacon runs";
  for (const auto& [id, row] : map->sets) {
    if (auto wrong = unreported(*map, row); !wrong.empty()) return wrong;
  }
  for (const auto& [id, disk] : map->disks) {
    if (auto wrong = unreported_disk(*map, id); !wrong.empty()) return wrong;
  }
  return "";
}

std::string Beyond::unreported(const map::Map& map, const map::DiskSet& row) const {
  const std::string name = set_name(row.id);
  bool served = false;
  for (const auto& node : cluster_.nodes) {
    if (node.server && node.server->server)
      node.server->server->each_served([&](SetId one) { served = served || one == row.id; });
  }
  if (lost_.contains(row.id)) {
    if (served) return name + " is served, and all of its copies are gone";
    const bool named =
        row.base.size() == 1 && map.disks.at(row.base[0]).failure.starts_with(lost_words);
    return named ? "" : name + " is lost, and no disk is named for it";
  }
  if (!served || !row.activated) return name + " is not served, and a copy of it is there";
  for (const DiskId disk : row.target) {
    if (map.disk_serves(disk) && !contains(row.acting, disk))
      return name + " does not get its copy on disk " + std::to_string(disk) + " back";
  }
  return "";
}

std::string Beyond::unreported_disk(const map::Map& map, DiskId disk) const {
  const std::string name = "disk " + std::to_string(disk), &failure = map.disks.at(disk).failure;
  uint64_t count = 0;
  SetId first;
  for (const auto& [id, row] : map.sets) {
    if (row.base == std::vector<DiskId>{disk} && lost_.contains(id) && count++ == 0) first = id;
  }
  if (count == 0) return map.disk_serves(disk) ? "" : name + " is not up: " + failure;
  if (map.disk_serves(disk)) return name + " is up, and lost the last copy of " + set_name(first);
  const std::string more = count > 1 ? " and " + std::to_string(count - 1) + " more," : ",";
  const bool exact = failure.starts_with(lost_words) &&
                     failure.find(std::to_string(first.index) + more) != std::string::npos;
  return exact ? ""
               : name + " lost " + std::to_string(count) + " sets, the first " + set_name(first) +
                     ", and says: " + failure;
}

// Blocks

std::string Beyond::read_back(bool all, const std::set<BlockKey>& damaged, bool writes) {
  ReadBack::Options options;
  options.writes = writes;
  // A lost disk stays down. Where writes need more copies than there are without it, nothing is
  // decided, and what a new primary does not know to be decided is not read.
  const auto wanted = [this, all, &damaged](BlockKey block) {
    const map::Map& map = *cluster_.newest_map();
    const map::DiskSet& row = set_of(block);
    const auto serving = std::count_if(row.target.begin(), row.target.end(),
                                       [&map](DiskId disk) { return map.disk_serves(disk); });
    const bool complete = serving == std::ssize(row.target);
    const bool decides = serving >= map.groups.at(row.id.group).min_copies;
    return all || (!lost_.contains(row.id) && decides && (complete || !damaged.contains(block)));
  };
  options.wanted = wanted;
  ReadBack back(cluster_, std::move(options));
  advance_([&back] { return back.done(); }, seconds(30));
  if (!back.failure().empty()) return "report: " + back.failure();
  if (!back.done()) return "report: " + back.waits_for() + ", and is not lost";
  for (const BlockKey& block : back.damaged()) {
    if (!damaged.contains(block))
      return "report: volume " + std::to_string(block.volume) + " block " +
             std::to_string(block.block) + ": says that it is damaged, and is not";
  }
  for (const BlockKey& block : damaged) {
    if (wanted(block) && !back.damaged().contains(block))
      return "report: volume " + std::to_string(block.volume) + " block " +
             std::to_string(block.block) + ": is damaged everywhere, and was read";
  }
  return "";
}

bool Beyond::damage_copies(BlockKey block) {
  const map::Map& map = *cluster_.newest_map();
  const ObjectId object{block.volume,
                        static_cast<uint32_t>(block.block / limits::blocks_per_object)};
  const auto within = static_cast<uint16_t>(block.block % limits::blocks_per_object);
  const auto& row = map.sets.at(map::set_of(map, map.volumes.at(block.volume), object.index));
  std::vector<std::pair<std::string, uint64_t>> places;
  for (auto& node : cluster_.nodes) {
    for (size_t i = 0; node.server && i < node.server->disks.size(); ++i) {
      if (!contains(row.acting, node.server->disks[i]) || !node.server->server) continue;
      store::Store* const store = node.server->server->store(node.server->disks[i]);
      if (store == nullptr) continue;
      const auto location = store::locate(*store, object, within);
      if (location && location->proven)
        places.emplace_back(node.server->paths[i], location->device_offset);
    }
  }
  if (places.size() != row.acting.size()) return false;
  for (const auto& [path, offset] : places)
    cluster_.world.disks().corrupt(path, offset + 512 * draws_.below(8), 512);
  cluster_.note("block is damaged on every copy volume=" + std::to_string(block.volume) +
                " first=" + std::to_string(block.block) + " count=1");
  return true;
}

std::string Beyond::damage_block() {
  cluster_.stop_work();
  if (!advance_([this] { return work_ended(); }, seconds(30)))
    return "";  // what was wrong is known, or the end of the run says
  advance_([] { return false; }, seconds(1));
  std::vector<BlockKey> blocks;
  for (const VolumeId volume : cluster_.volumes) {
    for (const uint64_t block : cluster_.history.blocks(volume)) blocks.push_back({volume, block});
  }
  std::set<BlockKey> damaged;
  for (int attempt = 0; attempt < 50 && damaged.empty() && !blocks.empty(); ++attempt) {
    const BlockKey block = blocks[draws_.below(blocks.size())];
    if (damage_copies(block)) damaged.insert(block);
  }
  if (auto wrong = read_back(true, damaged, false); !wrong.empty()) return wrong;
  auto& node = cluster_.nodes[draws_.below(cluster_.setup.storage_nodes)];
  const DiskId disk = node.server->disks[draws_.below(node.server->disks.size())];
  damaged = damaged_without({disk});
  cluster_.end_server(node, io::SimHost::Death::power);
  replace(disk, false);
  advance_([] { return false; }, seconds(1));
  advance_([this] { return cluster_.unsettled().empty(); }, report_limit);
  if (auto wrong = cluster_.unsettled(); !wrong.empty()) return "report: not healed: " + wrong;
  if (auto wrong = read_back(true, damaged, false); !wrong.empty()) return wrong;
  // Written anew they are whole.
  if (auto wrong = read_back(true, damaged, true); !wrong.empty()) return wrong;
  return read_back(true, {}, false);
}

}  // namespace sp::sim
