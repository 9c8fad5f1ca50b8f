// TimerQueue: work ordered by (time, order of adding), with cancellation. It is the event list of
// the simulator and the timer list of the real reactor. Records live in a pool and are named by ids
// that are never reused. They know their place in the heap, so a cancelled one leaves it at once:
// most timers are re-armed long before they would fire. Work added for the present moment goes to a
// plain queue, in the order that the heap would have given it. Thread rule: one
// thread. Callbacks are destroyed outside of the structure's own steps, so their destructors may
// add and cancel.
#pragma once
#include <cstdint>
#include <vector>

#include "base/callback.h"

namespace sp::io {

class TimerQueue {
 public:
  // What the owner wants to know of an entry besides its work.
  struct Tag {
    uint32_t owner = 0;
    uint32_t kind = 0;
  };
  struct Entry {
    int64_t time_ns = 0;
    Tag tag;
    Callback<void()> work;
  };

  // An id, never 0. A time before now() counts as now().
  uint64_t add(int64_t time_ns, Tag tag, Callback<void()> work);
  // False when it ran or was cancelled before.
  bool cancel(uint64_t id);
  // Cancels everything of this owner.
  void cancel_owner(uint32_t owner);

  // The time of the next entry, INT64_MAX when there is none.
  int64_t next_time_ns();
  // Takes the next entry if it is due at or before `until_ns`, and moves now() to its time.
  bool take(int64_t until_ns, Entry& entry);
  void advance(int64_t now_ns);
  // The owner of the next entry; only after next_time_ns() said that there is one.
  Tag next_tag();
  // Puts the next entry aside, still cancellable; resume() makes all of that owner due now, in the
  // order in which they were put aside.
  void hold_next();
  void resume(uint32_t owner);

  int64_t now_ns() const { return now_ns_; }
  size_t size() const { return live_count_; }

 private:
  struct Slot {
    Callback<void()> work;
    uint64_t sequence = 0;  // 0: free
    Tag tag;
    uint32_t position = nowhere;  // in the heap
  };
  struct Node {
    int64_t time_ns;
    uint64_t order;
    uint32_t slot;
    bool before(const Node& other) const {
      return time_ns != other.time_ns ? time_ns < other.time_ns : order < other.order;
    }
  };
  // Outside of the heap: its slot may have been cancelled since.
  struct Place {
    Node node;
    uint64_t sequence;
  };
  static constexpr uint32_t slot_bits = 24;
  static constexpr uint32_t nowhere = UINT32_MAX;
  static constexpr size_t present_compact_min = 4096;

  bool is_live(const Place& place) const {
    return slots_[place.node.slot].sequence == place.sequence;
  }
  uint32_t free_slot();
  void release(uint32_t slot);
  void set_node(size_t position, const Node& node) {
    heap_[position] = node;
    slots_[node.slot].position = static_cast<uint32_t>(position);
  }
  void sift_up(size_t position, Node node);
  void sift_down(size_t position, Node node);
  void remove_from_heap(size_t position);
  void drop_dead();
  bool next_is_present() const {
    return present_head_ < present_.size() &&
           (heap_.empty() || present_[present_head_].node.before(heap_.front()));
  }
  Node pop_next();

  std::vector<Slot> slots_;
  std::vector<uint32_t> free_;
  std::vector<Node> heap_;      // of four children each, smallest first
  std::vector<Place> present_;  // time == now when added; from present_head_ on
  size_t present_head_ = 0;
  std::vector<Place> held_;
  size_t live_count_ = 0;
  uint64_t sequence_ = 0;
  int64_t now_ns_ = 0;
};

}  // namespace sp::io
