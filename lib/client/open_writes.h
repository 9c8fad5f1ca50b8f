// OpenWrites: the writes of one volume that are not answered yet, so that two that touch the same
// block are never on their way at once.
//
// Why: a write whose answer was lost is sent again, and a server that has forgotten it applies it a
// second time. That shows nothing new, and so does no harm, as long as its blocks still hold what
// it wrote: no later write of the same client may come in between. Writes of others that hold the
// volume at the same time may (sp-guarantees(7)).
//
// Writes are started in the order of arrival where they overlap, in any order otherwise. Plain
// values; costs a look at the open writes of one object per write.
#pragma once
#include <cstdint>
#include <map>
#include <vector>

namespace sp::client {

class OpenWrites {
 public:
  struct Range {
    uint32_t object = 0;  // index within the volume
    uint16_t first_block = 0, block_count = 0;
  };

  // `id` was never given before. True: it may start now. False: remove() of another will name it.
  bool add(uint64_t id, const Range& range);
  // It is answered, or given up. Those that may start now, in order of arrival.
  std::vector<uint64_t> remove(uint64_t id, const Range& range);

 private:
  struct Entry {
    uint64_t id = 0;
    uint16_t first_block = 0, block_count = 0;
    uint32_t waits_for = 0;  // earlier ones that overlap
  };
  static bool overlap(const Entry& entry, const Range& range);
  std::map<uint32_t, std::vector<Entry>> by_object_;  // in order of arrival
};

}  // namespace sp::client
