// What a server makes of the map: peers, leaderships, fences.
#include <algorithm>

#include "serve/joiner.h"
#include "serve/server_impl.h"

namespace sp::serve {

void ServerImpl::map_changed(const std::vector<map::Change>& changes) {
  bool peers = changes.empty(), all_sets = changes.empty(), fences = changes.empty();
  std::vector<SetId> sets;
  for (const map::Change& change : changes) {
    switch (change.table) {
      case map::Table::service:
      case map::Table::disk: peers = all_sets = true; break;
      case map::Table::cluster: break;
      case map::Table::group: all_sets = true; break;
      case map::Table::volume:
      case map::Table::attachment: fences = true; break;
      case map::Table::set: all_sets = true; break;
      default: break;
    }
  }
  if (peers) update_peers();
  if (all_sets) {
    std::vector<SetId> gone;
    for (const auto& [set, primary] : primaries_) {
      if (context_.row(set) == nullptr) gone.push_back(set);
    }
    for (const SetId set : gone) update_set(set);
    for (const auto& [set, row] : context_.map().sets) update_set(set);
  }
  if (fences) {
    for (auto& [set, primary] : primaries_) primary->attachments_changed();
  }
  fences_open_ = fences_open_ || fences;
  update_fenced_index();
}

// A fence is in force when no write from before it can appear any more: refused here, or decided before anything is read. A set that may not decide can
// still be given such a write by a copy that comes back, so it holds the fence up.
void ServerImpl::update_fenced_index() {
  const bool all_fence = std::all_of(primaries_.begin(), primaries_.end(), [](const auto& entry) { return entry.second->fences(); });
  if (fences_open_ && !all_fence) return;
  fences_open_ = false;
  fenced_index_ = context_.map().index;
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
    const bool over = row == nullptr || row->epoch != found->second->epoch() || row->acting.empty() || row->acting.front() != found->second->disk();
    if (!over) {
      const auto keep = found->second;
      keep->update_row(*row, min_copies);
      return;
    }
    const auto ended = found->second;
    primaries_.erase(found);
    memory.operations = ended->stop();
  }
  if (row == nullptr) {
    memory_.erase(set);
    return;
  }
  const DiskId first = row->acting.empty() ? DiskId{0} : row->acting.front();
  LocalDisk* const disk = context_.disk(first);
  // An epoch that is activated already was led by somebody who is no more; the map will move on.
  if (disk != nullptr && !row->activated && context_.holds(first) && primaries_.count(set) == 0) {
    auto primary = std::make_shared<Primary>(context_, *disk, *row, min_copies, std::move(memory.operations), must_confirm(*row, memory));
    memory.operations = {};
    primaries_.emplace(set, primary);
    primary->start();
  }
  if (row->epoch > memory.epoch) {
    memory.epoch = row->epoch;
    memory.primary = first;
  }
}

void ServerImpl::each_served(const std::function<void(SetId)>& visit) const {
  for (const auto& [set, primary] : primaries_) {
    if (primary->may_serve()) visit(set);
  }
}

// Whether some live server may still believe that it leads an earlier epoch, without being asked in the activation of this one.
bool ServerImpl::must_confirm(const map::DiskSet& row, const SetMemory& memory) const {
  if (row.epoch <= 1) return false;
  if (memory.epoch == 0 || memory.epoch + 1 < row.epoch) return true;
  if (std::find(row.acting.begin(), row.acting.end(), memory.primary) != row.acting.end()) return false;
  return context_.map().disk_serves(memory.primary);
}

void ServerImpl::confirm() {
  if (confirming_) return;
  confirming_ = true;
  const uint64_t index = context_.map().index;
  context_.member.confirm(index, limits::copy_timeout, [this, index, weak = std::weak_ptr<char>(alive_)](Status status) {
    if (!weak.lock()) return;
    confirming_ = false;
    if (status.ok()) context_.confirmed_index = std::max(context_.confirmed_index, index);
    for (auto& [set, primary] : primaries_) primary->tick();
  });
}

}  // namespace sp::serve
