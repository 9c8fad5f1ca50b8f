// Where StoreImpl waits for pages of the slot table: before a call is taken, before a round takes
// effect, and to tell the state of an object. What they need: needs.h. When that changed while they
// waited they wait again, and keep what they have.
#include "base/probe.h"
#include "store/needs.h"
#include "store/store_impl.h"

namespace sp::store {

// Whether the call at the front of the queue can be taken now; else its pages are on their way.
bool StoreImpl::is_ready(const Operation& operation) {
  if (front_loading_) return false;
  if (state_.table().pages().has_all()) return true;
  Slots slots;
  need_to_take(state_, operation, slots);
  if (slots.empty()) return true;
  SP_PROBE(store_call_waits_for_table_pages);
  front_loading_ = true;
  loader_.load(*disk_, pages_of(slots), [this](Result<PagePins> loaded) {
    front_loading_ = false;
    if (!loaded.ok()) return fail(std::move(loaded).error());
    front_pins_.push_back(std::move(loaded).value());
    pump();
  });
  return false;
}

void StoreImpl::settle_round() {
  if (state_.table().pages().has_all()) return round_durable();
  Slots slots;
  need_of_round(state_, round_operations_, slots);
  if (slots.empty()) return round_durable();
  SP_PROBE(store_round_waits_for_table_pages);
  loader_.load(*disk_, pages_of(slots), [this](Result<PagePins> loaded) {
    if (failure_) return;
    if (!loaded.ok()) return fail(std::move(loaded).error());
    round_pins_.push_back(std::move(loaded).value());
    settle_round();
  });
}

void StoreImpl::object_state(ObjectId id, Callback<void(Result<ObjectState>)> done) {
  auto call = std::make_unique<StateCall>();
  call->id = id;
  call->done = std::move(done);
  tell_state(std::move(call));
}

void StoreImpl::tell_state(std::unique_ptr<StateCall> call) {
  Slots slots;
  need_object(state_, call->id, slots);
  loader_.load(*disk_, pages_of(slots),
               [this, call = std::move(call)](Result<PagePins> loaded) mutable {
                 if (!loaded.ok() && !failure_) {
                   const auto alive = alive_;
                   fail(loaded.error());
                   if (!*alive) return;
                 }
                 if (failure_) return call->done.call_once(*failure_);
                 call->pins.push_back(std::move(loaded).value());
                 Slots missing;
                 need_object(state_, call->id, missing);
                 if (!missing.empty()) return tell_state(std::move(call));
                 call->done.call_once(state_.object_state(
                     call->id, [this](uint32_t slot) { return state_.table().descriptor(slot); }));
               });
}

}  // namespace sp::store
