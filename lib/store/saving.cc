// Saved index of StoreImpl: when it is saved, and how the log is told.
#include <utility>

#include "base/probe.h"
#include "store/store_impl.h"

namespace sp::store {

// It is good as long as the log has what came after it, and is the better the less that is. A
// quarter of the log: the index is written once for each.
void StoreImpl::save_index_after_round() {
  if (std::exchange(saved_.in_round, false)) {
    std::vector<Done> finished = std::move(saved_.active);
    saved_.active.clear();
    for (Done& done : finished) {
      auto* waiting = new_operation(Operation::Kind::checkpoint, std::move(done));
      round_operations_.push_back(waiting);  // completes with this round
    }
  }
  if (failure_ || !saver_.has_region() || saver_.active() || saved_.whole) return;
  const bool due = next_lsn_ - saved_.lsn > log_pages_ / 4 ||
                   (next_lsn_ - saved_.lsn > 4 && SP_BUGGIFY(store_index_saved_early, host_));
  if (!due && saved_.waiting.empty()) return;
  saved_.active = std::move(saved_.waiting);
  saved_.waiting.clear();
  if (!state_.is_plain()) {
    SP_PROBE(store_index_not_plain);
    if (!saved_.active.empty()) index_saved(Error(Code::transient, "in the middle of something"));
    return;
  }
  saver_.begin(*disk_, {next_lsn_, 1 - saved_.home, 0, session_, 0},
               [this](Result<IndexBody> saved) { index_saved(std::move(saved)); });
}

void StoreImpl::index_saved(Result<IndexBody> saved) {
  if (failure_) return;
  want_round_ = true;
  if (saved.ok()) {
    saved_.whole = *saved;
    saved_.lsn = saved->lsn;
  } else if (saved.error().code() == Code::no_space) {
    SP_PROBE(store_index_too_large);
    host_.log.debug("the index was not saved", {{"error", saved.error().message()}});
    saved_.lsn = next_lsn_;  // not again too soon
    saved_.in_round = true;
  } else if (saved.error().code() == Code::transient) {
    saved_.in_round = true;
  } else {
    return fail(std::move(saved).error());
  }
  wake();
}

// Behind the decisions that it knows of.
void StoreImpl::log_saved_index() {
  if (!saved_.whole) return;
  builder_.append(RecordKind::index, 0, {struct_bytes(*saved_.whole)});
  saved_.home = saved_.whole->home;
  saved_.whole.reset();
  saved_.in_round = true;
}

}  // namespace sp::store
