// Saved index of StoreImpl: when it is saved, and how the log is told.
#include <utility>

#include "base/probe.h"
#include "store/store_impl.h"

namespace sp::store {

// It is good as long as the log has what came after it, and is the better the less that is. A
// quarter of the log: the index is written once for each.
void StoreImpl::save_index_after_round() {
  if (std::exchange(round_has_index_, false)) {
    std::vector<Done> finished = std::move(saves_active_);
    saves_active_.clear();
    for (Done& done : finished) {
      auto* waiting = new_operation(Operation::Kind::checkpoint, std::move(done));
      round_operations_.push_back(waiting);  // completes with this round
    }
  }
  if (failure_ || !saver_.has_region() || saver_.active() || saved_) return;
  const bool due = next_lsn_ - saved_lsn_ > log_pages_ / 4 ||
                   (next_lsn_ - saved_lsn_ > 4 && SP_BUGGIFY(store_index_saved_early, host_));
  if (!due && saves_waiting_.empty()) return;
  saves_active_ = std::move(saves_waiting_);
  saves_waiting_.clear();
  if (!state_.is_plain()) {
    SP_PROBE(store_index_not_plain);
    if (!saves_active_.empty()) index_saved(Error(Code::transient, "in the middle of something"));
    return;
  }
  saver_.begin(*disk_, next_lsn_, 1 - saved_home_,
               [this](Result<IndexBody> saved) { index_saved(std::move(saved)); });
}

void StoreImpl::index_saved(Result<IndexBody> saved) {
  if (failure_) return;
  want_round_ = true;
  if (saved.ok()) {
    saved_ = *saved;
    saved_lsn_ = saved->lsn;
  } else if (saved.error().code() == Code::no_space) {
    SP_PROBE(store_index_too_large);
    host_.log.debug("the index was not saved", {{"error", saved.error().message()}});
    saved_lsn_ = next_lsn_;  // not again too soon
    round_has_index_ = true;
  } else if (saved.error().code() == Code::transient) {
    round_has_index_ = true;
  } else {
    return fail(std::move(saved).error());
  }
  wake();
}

// Behind the decisions that it knows of.
void StoreImpl::log_saved_index() {
  if (!saved_) return;
  builder_.append(RecordKind::index, 0, {struct_bytes(*saved_)});
  saved_home_ = saved_->home;
  saved_.reset();
  round_has_index_ = true;
}

}  // namespace sp::store
