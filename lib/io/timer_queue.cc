#include "io/timer_queue.h"

#include <algorithm>
#include <functional>

#include "base/assert.h"

namespace sp::io {

uint64_t TimerQueue::add(int64_t time_ns, Tag tag, Callback<void()> work) {
  uint32_t slot = 0;
  if (free_.empty()) {
    slot = static_cast<uint32_t>(slots_.size());
    SP_ASSERT_OP(slot, <, (1u << slot_bits));
    slots_.emplace_back();
  } else {
    slot = free_.back();
    free_.pop_back();
  }
  const uint64_t sequence = ++sequence_;
  slots_[slot].work = std::move(work);
  slots_[slot].sequence = sequence;
  slots_[slot].tag = tag;
  ++live_count_;
  if (time_ns <= now_ns_) {
    present_.push_back({now_ns_, sequence, sequence, slot});
  } else {
    heap_.push_back({time_ns, sequence, sequence, slot});
    std::push_heap(heap_.begin(), heap_.end(), std::greater<>());
  }
  return sequence << slot_bits | slot;
}

Callback<void()> TimerQueue::release(uint32_t slot) {
  slots_[slot].sequence = 0;
  free_.push_back(slot);
  --live_count_;
  return std::move(slots_[slot].work);
}

bool TimerQueue::cancel(uint64_t id) {
  const auto slot = static_cast<uint32_t>(id & ((1u << slot_bits) - 1));
  const uint64_t sequence = id >> slot_bits;
  if (sequence == 0 || slot >= slots_.size() || slots_[slot].sequence != sequence) return false;
  const Callback<void()> dropped = release(slot);
  ++dead_in_heap_;  // or in present_, which empties itself: the count only steers rebuilding
  rebuild_if_mostly_dead();
  return true;
}

void TimerQueue::cancel_owner(uint32_t owner) {
  for (uint32_t slot = 0; slot < slots_.size(); ++slot) {
    if (slots_[slot].sequence == 0 || slots_[slot].tag.owner != owner) continue;
    const Callback<void()> dropped = release(slot);
    ++dead_in_heap_;
  }
  rebuild_if_mostly_dead();
}

void TimerQueue::rebuild_if_mostly_dead() {
  if (dead_in_heap_ < rebuild_dead_min || dead_in_heap_ * 2 < heap_.size()) return;
  std::erase_if(heap_, [this](const Place& place) { return !is_live(place); });
  std::make_heap(heap_.begin(), heap_.end(), std::greater<>());
  dead_in_heap_ = 0;
}

void TimerQueue::drop_dead() {
  while (present_head_ < present_.size() && !is_live(present_[present_head_])) ++present_head_;
  if (present_head_ == present_.size() || present_head_ >= present_compact_min) {
    present_.erase(present_.begin(), present_.begin() + static_cast<ptrdiff_t>(present_head_));
    present_head_ = 0;
  }
  while (!heap_.empty() && !is_live(heap_.front())) {
    std::pop_heap(heap_.begin(), heap_.end(), std::greater<>());
    heap_.pop_back();
    if (dead_in_heap_ > 0) --dead_in_heap_;
  }
}

int64_t TimerQueue::next_time_ns() {
  drop_dead();
  const int64_t present = present_.empty() ? INT64_MAX : present_[present_head_].time_ns;
  return heap_.empty() ? present : std::min(present, heap_.front().time_ns);
}

TimerQueue::Place TimerQueue::pop_next() {
  if (next_is_present()) return present_[present_head_++];
  const Place place = heap_.front();
  std::pop_heap(heap_.begin(), heap_.end(), std::greater<>());
  heap_.pop_back();
  return place;
}

bool TimerQueue::take(int64_t until_ns, Entry& entry) {
  if (next_time_ns() > until_ns || (present_.empty() && heap_.empty())) return false;
  const Place place = pop_next();
  now_ns_ = std::max(now_ns_, place.time_ns);
  entry.time_ns = place.time_ns;
  entry.tag = slots_[place.slot].tag;
  entry.work = release(place.slot);
  return true;
}

TimerQueue::Tag TimerQueue::next_tag() {
  const Place& place = next_is_present() ? present_[present_head_] : heap_.front();
  return slots_[place.slot].tag;
}

void TimerQueue::hold_next() {
  const Place place = pop_next();
  now_ns_ = std::max(now_ns_, place.time_ns);
  held_.push_back(place);
}

void TimerQueue::resume(uint32_t owner) {
  std::vector<Place> kept;
  for (Place place : held_) {
    if (!is_live(place)) continue;
    if (slots_[place.slot].tag.owner != owner) {
      kept.push_back(place);
      continue;
    }
    place.time_ns = now_ns_;
    place.order = ++sequence_;
    present_.push_back(place);
  }
  held_ = std::move(kept);
}

void TimerQueue::advance(int64_t now_ns) {
  SP_ASSERT_OP(now_ns, >=, now_ns_);
  now_ns_ = now_ns;
}

}  // namespace sp::io
