#include "io/timer_queue.h"

#include <algorithm>

#include "base/assert.h"

namespace sp::io {

uint32_t TimerQueue::free_slot() {
  if (!free_.empty()) {
    const uint32_t slot = free_.back();
    free_.pop_back();
    return slot;
  }
  SP_ASSERT_OP(slots_.size(), <, (1u << slot_bits));
  slots_.emplace_back();
  return static_cast<uint32_t>(slots_.size() - 1);
}

uint64_t TimerQueue::add(int64_t time_ns, Tag tag, Callback<void()> work) {
  const uint32_t slot = free_slot();
  const uint64_t sequence = ++sequence_;
  Slot& record = slots_[slot];
  record.work = std::move(work);
  record.sequence = sequence;
  record.tag = tag;
  record.position = nowhere;
  ++live_count_;
  if (time_ns <= now_ns_) {
    present_.push_back({{now_ns_, sequence, slot}, sequence});
  } else {
    heap_.emplace_back();
    sift_up(heap_.size() - 1, {time_ns, sequence, slot});
  }
  return sequence << slot_bits | slot;
}

// The hole at `position` goes up until the node fits.
void TimerQueue::sift_up(size_t position, Node node) {
  while (position > 0) {
    const size_t parent = (position - 1) / 4;
    if (!node.before(heap_[parent])) break;
    set_node(position, heap_[parent]);
    position = parent;
  }
  set_node(position, node);
}

void TimerQueue::sift_down(size_t position, Node node) {
  for (;;) {
    const size_t first = position * 4 + 1;
    if (first >= heap_.size()) break;
    const size_t end = std::min(first + 4, heap_.size());
    size_t least = first;
    for (size_t child = first + 1; child < end; ++child) {
      if (heap_[child].before(heap_[least])) least = child;
    }
    if (!heap_[least].before(node)) break;
    set_node(position, heap_[least]);
    position = least;
  }
  set_node(position, node);
}

void TimerQueue::remove_from_heap(size_t position) {
  slots_[heap_[position].slot].position = nowhere;
  const Node last = heap_.back();
  heap_.pop_back();
  if (position == heap_.size()) return;
  if (position > 0 && last.before(heap_[(position - 1) / 4]))
    sift_up(position, last);
  else
    sift_down(position, last);
}

// Its work stays in the slot, to be taken or dropped by the caller before anything else is added.
void TimerQueue::release(uint32_t slot) {
  if (slots_[slot].position != nowhere) remove_from_heap(slots_[slot].position);
  slots_[slot].sequence = 0;
  free_.push_back(slot);
  --live_count_;
}

bool TimerQueue::cancel(uint64_t id) {
  const auto slot = static_cast<uint32_t>(id & ((1u << slot_bits) - 1));
  const uint64_t sequence = id >> slot_bits;
  if (sequence == 0 || slot >= slots_.size() || slots_[slot].sequence != sequence) return false;
  release(slot);
  const Callback<void()> dropped = std::move(slots_[slot].work);
  return true;
}

void TimerQueue::cancel_owner(uint32_t owner) {
  for (uint32_t slot = 0; slot < slots_.size(); ++slot) {
    if (slots_[slot].sequence == 0 || slots_[slot].tag.owner != owner) continue;
    release(slot);
    const Callback<void()> dropped = std::move(slots_[slot].work);
  }
}

void TimerQueue::drop_dead() {
  while (present_head_ < present_.size() && !is_live(present_[present_head_])) ++present_head_;
  if (present_head_ == present_.size()) {
    present_.clear();
    present_head_ = 0;
  } else if (present_head_ >= present_compact_min) {
    present_.erase(present_.begin(), present_.begin() + static_cast<ptrdiff_t>(present_head_));
    present_head_ = 0;
  }
}

int64_t TimerQueue::next_time_ns() {
  drop_dead();
  const int64_t present = present_.empty() ? INT64_MAX : present_[present_head_].node.time_ns;
  return heap_.empty() ? present : std::min(present, heap_.front().time_ns);
}

TimerQueue::Node TimerQueue::pop_next() {
  if (next_is_present()) return present_[present_head_++].node;
  const Node node = heap_.front();
  remove_from_heap(0);
  return node;
}

bool TimerQueue::take(int64_t until_ns, Entry& entry) {
  if (next_time_ns() > until_ns || (present_.empty() && heap_.empty())) return false;
  const Node node = pop_next();
  now_ns_ = std::max(now_ns_, node.time_ns);
  entry.time_ns = node.time_ns;
  entry.tag = slots_[node.slot].tag;
  release(node.slot);
  entry.work = std::move(slots_[node.slot].work);
  return true;
}

TimerQueue::Tag TimerQueue::next_tag() {
  const Node& node = next_is_present() ? present_[present_head_].node : heap_.front();
  return slots_[node.slot].tag;
}

void TimerQueue::hold_next() {
  const Node node = pop_next();
  now_ns_ = std::max(now_ns_, node.time_ns);
  held_.push_back({node, slots_[node.slot].sequence});
}

void TimerQueue::resume(uint32_t owner) {
  std::vector<Place> kept;
  for (Place place : held_) {
    if (!is_live(place)) continue;
    if (slots_[place.node.slot].tag.owner != owner) {
      kept.push_back(place);
      continue;
    }
    place.node.time_ns = now_ns_;
    place.node.order = ++sequence_;
    present_.push_back(place);
  }
  held_ = std::move(kept);
}

void TimerQueue::advance(int64_t now_ns) {
  SP_ASSERT_OP(now_ns, >=, now_ns_);
  now_ns_ = now_ns;
}

}  // namespace sp::io
