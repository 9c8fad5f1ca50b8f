#include "sim/atlas.h"

#include <algorithm>

namespace sp::sim {

void Atlas::observe(const map::Map& map) {
  if (map.index <= index_) return;
  index_ = map.index;
  for (const auto& [id, set] : map.sets) {
    const auto before = sets_.find(id);
    if (before == sets_.end()) continue;
    std::vector<DiskId> filled = set.base;
    std::erase_if(filled, [&](DiskId disk) {
      const auto lost = lost_.find(disk);
      const auto row = map.disks.find(disk);
      const bool anew = lost != lost_.end() && lost->second != 0 && row != map.disks.end() &&
                        row->second.uuid == lost->second;
      const auto& base = before->second.base;
      return !anew && std::find(base.begin(), base.end(), disk) != base.end();
    });
    doubt_newcomers(filled, id);
  }
  sets_ = map.sets;
  min_copies_.clear();
  for (const auto& [id, group] : map.groups) min_copies_[id] = group.min_copies;
  uuids_.clear();
  for (const auto& [id, disk] : map.disks) {
    known_.insert(id);
    uuids_[id] = disk.uuid;
  }
  // What is deleted nobody reads any more.
  for (auto& [disk, marks] : marks_) {
    std::erase_if(marks, [&](const Mark& mark) {
      const VolumeId layer = map::layer_of_holes(mark.object.volume);
      return map.volumes.count(layer) == 0 && map.layers.count(layer) == 0;
    });
  }
  voters_ = 0;
  for (const auto& [id, node] : map.nodes) voters_ += node.voting ? 1 : 0;
  for (auto lost = lost_.begin(); lost != lost_.end();) {
    const auto row = map.disks.find(lost->first);
    // One that has never been there may have been hit before it was registered.
    if (row == map.disks.end() && !known_.contains(lost->first)) {
      ++lost;
      continue;
    }
    const bool forgotten = row == map.disks.end();
    if (!forgotten && (lost->second == 0 || row->second.uuid != lost->second)) {
      ++lost;
      continue;
    }
    if (forgotten) marks_.erase(lost->first);
    lost = lost_.erase(lost);
  }
}

// A copy that was filled while others were damaged may have got those blocks without content.
void Atlas::doubt_newcomers(const std::vector<DiskId>& newcomers, SetId set) {
  for (const DiskId disk : newcomers) {
    std::set<Mark> doubts;
    for (const auto& [other, marks] : marks_) {
      for (Mark mark : marks) {
        mark.device_offset = 0;
        if (other != disk && mark.set == set) doubts.insert(mark);
      }
    }
    if (!doubts.empty()) marks_[disk].merge(doubts);
  }
}

void Atlas::replace(DiskId disk, uint64_t uuid) {
  const auto known = uuids_.find(disk);
  if (known != uuids_.end() && known->second == uuid)
    lost_.erase(disk);
  else
    lost_[disk] = uuid;
  marks_.erase(disk);
}

std::vector<DiskId> Atlas::sound(const map::DiskSet& set, DiskId but) const {
  // The activation that cuts base down to those that act may be on its way.
  const auto least = min_copies_.find(set.id.group);
  const bool changes =
      !set.activated && least != min_copies_.end() && set.acting.size() >= least->second;
  std::vector<DiskId> disks;
  for (const DiskId disk : set.base) {
    const bool stays =
        !changes || std::find(set.acting.begin(), set.acting.end(), disk) != set.acting.end();
    if (disk != but && !is_lost(disk) && stays) disks.push_back(disk);
  }
  return disks;
}

bool Atlas::spoiled(DiskId disk, SetId set, const Block& block) const {
  const auto marks = marks_.find(disk);
  if (marks == marks_.end()) return false;
  return std::any_of(marks->second.begin(), marks->second.end(), [&](const Mark& mark) {
    return mark.set == set && Block(mark.object, mark.block) == block;
  });
}

bool Atlas::may_spoil(DiskId disk, SetId set, ObjectId object, uint16_t block) const {
  const auto row = sets_.find(set);
  if (row == sets_.end()) return false;
  const auto others = sound(row->second, disk);
  return std::any_of(others.begin(), others.end(), [&](DiskId other) {
    return !spoiled(other, set, {object, block});
  });
}

bool Atlas::may_lose(DiskId disk) const {
  for (const auto& [id, set] : sets_) {
    const bool complete = std::find(set.base.begin(), set.base.end(), disk) != set.base.end();
    const auto others = sound(set, disk);
    if (complete && others.empty()) return false;
    // Also one that left: it may have the only valid copy of a block, and the others ask it.
    for (const DiskId other : others) {
      const auto marks = marks_.find(other);
      if (marks == marks_.end()) continue;
      for (const Mark& mark : marks->second) {
        if (mark.set == id && !may_spoil(disk, id, mark.object, mark.block)) return false;
      }
    }
  }
  return true;
}

bool Atlas::some_block_is_bare() const {
  for (const auto& [disk, marks] : marks_) {
    for (const Mark& mark : marks) {
      if (sets_.contains(mark.set) && !may_spoil(0, mark.set, mark.object, mark.block)) return true;
    }
  }
  return false;
}

bool Atlas::may_doubt(DiskId disk) const {
  return may_lose(disk) && std::all_of(sets_.begin(), sets_.end(), [&](const auto& entry) {
           const map::DiskSet& set = entry.second;
           std::set<DiskId> members;
           for (const auto* list : {&set.acting, &set.recovering, &set.base, &set.target})
             members.insert(list->begin(), list->end());
           if (!members.contains(disk)) return true;
           const auto doubted = std::count_if(members.begin(), members.end(), [&](DiskId other) {
             return other == disk || is_lost(other);
           });
           return static_cast<uint32_t>(doubted) < min_copies_.at(set.id.group);
         });
}

bool Atlas::is_only_copy(DiskId disk) const {
  return std::any_of(sets_.begin(), sets_.end(), [disk](const auto& entry) {
    return entry.second.base == std::vector<DiskId>{disk};
  });
}

bool Atlas::has_company(DiskId disk) const {
  return std::all_of(sets_.begin(), sets_.end(), [&](const auto& entry) {
    const map::DiskSet& set = entry.second;
    if (std::find(set.base.begin(), set.base.end(), disk) == set.base.end()) return true;
    const DiskId first = set.acting.front();
    return set.activated && first != disk && !is_lost(first);
  });
}

bool Atlas::may_lose_log(NodeId node) const {
  return !logs_.contains(node) && 2 * (logs_.size() + 1) < voters_;
}

}  // namespace sp::sim
