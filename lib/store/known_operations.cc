#include "store/known_operations.h"

#include <algorithm>

namespace sp::store {

namespace {
constexpr size_t uncounted_least = 64;  // are no reason to make the list anew
}  // namespace

std::deque<KnownOperation>::iterator KnownOperations::place_of(Version version) {
  return std::lower_bound(
      known_.begin(), known_.end(), version,
      [](const KnownOperation& entry, Version wanted) { return entry.version < wanted; });
}

const KnownOperation* KnownOperations::find(Version version) const {
  auto& known = const_cast<KnownOperations&>(*this);
  const auto at = known.place_of(version);
  return at != known_.end() && at->version == version ? &*at : nullptr;
}

// The operation that the entry stands for.
const KnownOperation* KnownOperations::counted(const Logged& logged) const {
  if (known_.empty() || logged.version < known_.front().version) return nullptr;
  const KnownOperation* const operation = find(logged.version);
  return operation != nullptr && operation->lsn == logged.lsn ? operation : nullptr;
}

void KnownOperations::add(const OperationId& id, Version version, uint64_t lsn, size_t kept_max) {
  // Mostly the newest; a replay tells again of all of them.
  auto place = known_.end();
  if (!known_.empty() && known_.back().version >= version) place = place_of(version);
  if (place != known_.end() && place->version == version) {
    if (place->lsn >= lsn) return;
    place->lsn = lsn;
  } else {
    known_.insert(place, {id, version, lsn});
  }
  while (known_.size() > kept_max) known_.pop_front();
  if (!known_.empty()) log({version, lsn});
}

void KnownOperations::log(Logged logged) {
  auto place = log_.end();
  while (place != log_.begin() && std::prev(place)->lsn > logged.lsn) --place;
  log_.insert(place, logged);
  // Mostly what was first here goes first.
  while (log_.front().version < known_.front().version) log_.pop_front();
  if (log_.size() > 2 * known_.size() + uncounted_least)
    std::erase_if(log_, [this](const Logged& item) { return counted(item) == nullptr; });
}

void KnownOperations::forget_after(Version version) {
  while (!known_.empty() && known_.back().version > version) known_.pop_back();
}

void KnownOperations::clear() {
  known_.clear();
  log_.clear();
}

bool KnownOperations::any_logged_before(uint64_t lsn) const {
  for (const Logged& item : log_) {
    if (item.lsn >= lsn) return false;
    if (counted(item) != nullptr) return true;
  }
  return false;
}

std::vector<KnownOperation*> KnownOperations::logged_before(uint64_t lsn, size_t count_max) {
  std::vector<KnownOperation*> operations;
  auto next = known_.end();  // mostly the one after the one before
  for (const Logged& item : log_) {
    if (item.lsn >= lsn || operations.size() == count_max) break;
    if (known_.empty() || item.version < known_.front().version) continue;
    if (next == known_.end() || next->version != item.version) next = place_of(item.version);
    if (next == known_.end() || next->version != item.version || next->lsn != item.lsn) continue;
    operations.push_back(&*next++);
  }
  return operations;
}

void KnownOperations::logged_again(const std::vector<KnownOperation*>& operations, uint64_t lsn) {
  for (size_t i = 0; i < operations.size(); log_.pop_front()) {
    const Logged& item = log_.front();
    if (item.version == operations[i]->version && item.lsn == operations[i]->lsn) ++i;
  }
  for (KnownOperation* const operation : operations) {
    operation->lsn = lsn;
    log({operation->version, lsn});
  }
}

uint64_t KnownOperations::memory_bytes() const {
  return known_.size() * sizeof(KnownOperation) + log_.size() * sizeof(Logged);
}

}  // namespace sp::store
