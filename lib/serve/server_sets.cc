// What a server makes of the map: peers, leaderships, fences.
#include <algorithm>

#include "base/probe.h"
#include "serve/joiner.h"
#include "serve/server_impl.h"

namespace sp::serve {

void ServerImpl::map_changed(const std::vector<map::Change>& changes) {
  bool peers = changes.empty(), all_sets = changes.empty(), fences = changes.empty();
  bool layers = changes.empty();
  std::vector<SetId> sets;
  for (const map::Change& change : changes) {
    switch (change.table) {
      case map::Table::service:
      case map::Table::disk: peers = all_sets = true; break;
      case map::Table::group: all_sets = true; break;
      case map::Table::cluster:
      case map::Table::volume:
      case map::Table::attachment: fences = true; break;
      case map::Table::set: all_sets = true; break;
      case map::Table::layer:
      case map::Table::lineage:
      case map::Table::cut: layers = true; break;
      default: break;
    }
  }
  if (layers) context_.stands.map_changed();
  if (peers) update_peers();
  if (all_sets) {
    std::vector<SetId> gone;
    for (const auto& [set, primary] : primaries_) {
      if (context_.row(set) == nullptr) gone.push_back(set);
    }
    for (const SetId set : gone) update_set(set);
    for (const auto& [set, row] : context_.map().sets) update_set(set);
  }
  if (fences) fence();
  if (layers)
    for (auto& [set, primary] : primaries_) primary->layers_changed();
  fenced_index_ = context_.map().index;
}

// From the return on no write of an attachment that is gone is taken, and none that was taken is
// seen to appear. The index says so at once, whatever state the sets are in: leases and activations
// elsewhere wait for it.
void ServerImpl::fence() {
  std::map<std::pair<VolumeId, ClientId>, std::pair<uint32_t, bool>> seen;
  std::set<uint32_t> newer;  // generations
  for (const auto& [key, row] : context_.map().attachments) {
    seen[key] = {row.generation, row.rights == map::Rights::read_write};
    if (row.generation > generation_seen_) newer.insert(row.generation);
  }
  // Some came and went between two maps: who they were, and what they wrote, is not known here.
  const uint32_t newest = context_.map().cluster.generation_last;
  if (newest - std::exchange(generation_seen_, newest) != newer.size()) {
    SP_PROBE(serve_fence_not_seen);
    for (auto& [set, primary] : primaries_) primary->fence_unknown();
    for (auto& [set, memory] : memory_) memory.knows_fences = false;
  }
  for (const auto& [key, before] : attachments_) {
    const auto now = seen.find(key);
    // Also one that was being detached: whether its client had ended all its writes, or was lost
    // meanwhile, nobody says.
    const bool lost = before.second && (now == seen.end() || now->second.first != before.first);
    if (!lost) continue;
    for (auto& [set, primary] : primaries_) primary->fence(key.first);
    for (auto& [set, memory] : memory_) {
      if (memory.knows_fences) memory.fenced.insert(key.first);
    }
  }
  attachments_ = std::move(seen);
  for (auto& [set, primary] : primaries_) primary->attachments_changed();
}

// The newest map of which all cuts are settled at the sets that are led here, as far as is known.
uint64_t ServerImpl::settled_index() {
  const map::Map& map = context_.map();
  for (const auto& [id, cut] : map.cuts) {
    for (const VolumeId volume : cut.volumes) {
      const GroupId group = map.volumes.at(volume).group;
      for (auto at = map.sets.lower_bound({group, 0});
           at != map.sets.end() && at->first.group == group; ++at) {
        const map::Service* const leader = map.server_of(at->second.acting.front());
        if (leader == nullptr || leader->id != options_.self.service) continue;
        const auto primary = primaries_.find(at->first);
        if (primary == primaries_.end() || !primary->second->is_settled(volume))
          return settled_index_;
      }
    }
  }
  return settled_index_ = fenced_index_;
}

void ServerImpl::update_peers() {
  for (const auto& [id, service] : context_.map().services) {
    if (id.kind != ServiceKind::server || id == options_.self.service) continue;
    context_.peers.set_address(id, service.address, service.start_id);
  }
}

void ServerImpl::update_set(SetId set) {
  const map::DiskSet* row = context_.row(set);
  const auto found = primaries_.find(set);
  SetMemory& memory = memory_[set];
  const auto group = context_.map().groups.find(set.group);
  const uint32_t min_copies = group == context_.map().groups.end() ? 2 : group->second.min_copies;
  if (found != primaries_.end()) {
    const bool over = row == nullptr || row->epoch != found->second->epoch() ||
                      row->acting.empty() || row->acting.front() != found->second->disk();
    if (!over) {
      const auto keep = found->second;
      keep->update_row(*row, min_copies);
      return;
    }
    const auto ended = found->second;
    primaries_.erase(found);
    memory = ended->stop();
  }
  if (row == nullptr) {
    memory_.erase(set);
    return;
  }
  const DiskId first = row->acting.empty() ? DiskId{0} : row->acting.front();
  LocalDisk* const disk = context_.disk(first);
  // An epoch that is activated already was led by somebody who is no more; the map will move on.
  if (disk != nullptr && !row->activated && context_.holds(first) && primaries_.count(set) == 0) {
    auto primary =
        std::make_shared<Primary>(context_, *disk, *row, min_copies, std::exchange(memory, {}));
    primaries_.emplace(set, primary);
    primary->start();
  }
}

void ServerImpl::each_served(const std::function<void(SetId)>& visit) const {
  for (const auto& [set, primary] : primaries_) {
    if (primary->may_serve()) visit(set);
  }
}

}  // namespace sp::serve
