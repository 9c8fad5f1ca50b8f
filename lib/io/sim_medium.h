// SimMedium: the content of one simulated disk: what reads see, and beside it how to go back to
// what is durable. Writes are applied in order of completion; a flush makes a prefix of them
// durable; a crash undoes the rest and lets each meet its own fate. Sparse: pages of 4 KiB come
// into being when written. A write of whole pages moves references, no bytes (sim_page.h).
#pragma once
#include <array>
#include <deque>
#include <memory>
#include <set>
#include <vector>

#include "io/random.h"
#include "io/sim_options.h"
#include "io/sim_page.h"

namespace sp::io {

class SimMedium {
 public:
  static constexpr uint32_t sector_bytes = 512;
  using Write = SimWrite;

  SimMedium(uint64_t size_bytes, uint64_t salt) : size_bytes_(size_bytes), salt_(salt) {}

  uint64_t size_bytes() const { return size_bytes_; }
  uint64_t used_bytes() const { return page_count_ * page_bytes; }
  uint64_t bytes_needed(uint64_t offset,
                        uint64_t size) const;  // of pages that a write would bring into being

  void set_noise(bool unwritten_is_noise) { noise_ = unwritten_is_noise; }
  void read(uint64_t offset, MutableBytes into) const;
  void write_through(const Write& write);
  void write_cached(Write write, uint64_t cache_bytes);
  uint64_t mark() const { return applied_; }  // every write completed so far
  void make_durable(uint64_t mark);
  // The range holds something undefined now: what it did, or zeros, or noise.
  void discard(uint64_t offset, uint64_t size, Random& random);
  // Damages each sector touched, as a pure function of the sector.
  void corrupt(uint64_t offset, uint64_t size);
  // Its sectors do not hold what was last written to them: known until they are written again.
  void note_harm(uint64_t offset, uint64_t size);
  bool harmed(uint64_t offset, uint64_t size) const;
  bool harmed() const { return !harmed_.empty(); }
  // Reads of these sectors fail until they are written again. Harm, too.
  void make_unreadable(uint64_t offset, uint64_t size);
  bool readable(uint64_t offset, uint64_t size) const;
  void flip_bit(uint64_t offset, uint64_t bit);
  void wipe();

  // Undoes what is not durable, then lets it and `in_flight` (issued, not completed) meet their
  // fate.
  void crash(const SimDiskOptions& options, std::vector<Write> in_flight, Random& random);
  // The fate of writes in flight alone; nothing completed is touched.
  void end_in_flight(const SimDiskOptions& options, std::vector<Write> in_flight, Random& random);

 private:
  static constexpr uint64_t page_bytes = SimPage::size_bytes;
  static constexpr uint64_t pages_per_group = 512;
  using Group = std::array<SimPage, pages_per_group>;
  struct Applied {
    uint64_t mark;
    Write write;
    std::vector<SimPage> before;  // the pages that it touched, as they were
    std::vector<uint64_t> harmed_before;
  };

  std::vector<uint64_t> mend(uint64_t offset, uint64_t size);  // the sectors that were harmed
  const SimPage* find(uint64_t page) const;                    // nullptr: never written
  SimPage& place(uint64_t page);
  void set(uint64_t page, SimPage content);
  std::byte* make(uint64_t page);  // to be changed
  void write_part(uint64_t page, uint64_t within, uint64_t length, const SimPage& content);
  void undo(const Applied& applied);
  void fill_noise(uint64_t offset, MutableBytes into) const;
  void meet_fate(const SimDiskOptions& options, std::vector<Write>& writes, Random& random,
                 bool cached);
  void write_in_part(const Write& write, Random& random, bool garbage, bool cached);
  void put(Write write, bool cached);

  uint64_t size_bytes_;
  uint64_t salt_;
  bool noise_ = true;
  std::vector<std::unique_ptr<Group>> groups_;
  uint64_t page_count_ = 0;
  std::deque<Applied> cached_;
  uint64_t cached_bytes_ = 0;
  uint64_t applied_ = 0;
  std::set<uint64_t> harmed_, unreadable_;  // sectors
};

}  // namespace sp::io
