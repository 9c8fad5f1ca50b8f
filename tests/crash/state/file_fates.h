// What becomes of writes to files that were never flushed when the power failed, and there are
// many: all combinations while they are few; else each fate for all, then draws, in turn of these
// kinds. A write of the directory is lost or whole: file systems keep a journal of those.
#pragma once
#include <array>
#include <vector>

#include "crash/fates.h"
#include "crash/state/sqlite_vfs.h"

namespace sp::test {

class FileFates {
 public:
  FileFates(size_t writes, size_t cases_max, io::Random& random)
      : writes_(writes), random_(random), count_(cases_max) {
    exhaustive_ = writes <= 8 && uint64_t{1} << (2 * writes) <= cases_max;
    if (exhaustive_) count_ = uint64_t{1} << (2 * writes);
    if (!exhaustive_ && count_ < fates) shift_ = random_.below(fates + kinds);
  }
  size_t count() const { return count_; }

  PagedMedium medium_after(const PagedMedium& at_crash, size_t way) {
    PagedMedium medium = at_crash;
    medium.unflushed.clear();
    medium.stop_at = ~uint64_t{0};
    draw_all(at_crash, way + shift_);
    for (size_t i = 0; i < writes_; ++i) {
      const auto& write = at_crash.unflushed[i];
      Fate fate = drawn_[i];
      if (SqliteVfs::is_directory(write.offset))
        fate = fate == Fate::lost || fate == Fate::torn ? Fate::lost : Fate::whole;
      meet(medium, write, fate, random_);
    }
    return medium;
  }

 private:
  static constexpr size_t kinds = 6;
  Fate any() { return static_cast<Fate>(random_.below(fates)); }

  void draw_all(const PagedMedium& at_crash, size_t way) {
    drawn_.assign(writes_, Fate::whole);
    if (writes_ == 0) return;
    if (exhaustive_) {
      for (size_t i = 0; i < writes_; ++i, way /= fates) drawn_[i] = static_cast<Fate>(way % fates);
      return;
    }
    if (way < fates) return drawn_.assign(writes_, static_cast<Fate>(way));
    switch (way % kinds) {
      case 0:  // written back in order
        cut(random_.below(writes_ + 1));
        break;
      case 1:  // all but one
        drawn_[random_.below(writes_)] = any();
        break;
      case 2:  // files and their metadata each as a whole
        by_place(at_crash, false);
        break;
      case 3:  // the same, and one that is torn within
        by_place(at_crash, false);
        drawn_[random_.below(writes_)] = any();
        break;
      case 4:  // each of them written back in order, so far
        by_place(at_crash, true);
        break;
      default:
        for (Fate& fate : drawn_) fate = any();
    }
  }
  void cut(size_t kept) {
    for (size_t i = kept; i < writes_; ++i) drawn_[i] = i == kept ? any() : Fate::lost;
  }
  // Each place keeps the first of its writes: all or none of them, or any number.
  void by_place(const PagedMedium& at_crash, bool in_part) {
    std::array<size_t, SqliteVfs::places> count{}, seen{};
    for (const auto& write : at_crash.unflushed) ++count[SqliteVfs::place_of(write.offset)];
    for (size_t& kept : count) kept = in_part ? random_.below(kept + 1) : kept * random_.below(2);
    for (size_t i = 0; i < writes_; ++i) {
      const uint64_t place = SqliteVfs::place_of(at_crash.unflushed[i].offset);
      if (seen[place]++ >= count[place]) drawn_[i] = Fate::lost;
    }
  }

  size_t writes_;
  io::Random& random_;
  bool exhaustive_ = false;
  size_t count_, shift_ = 0;
  std::vector<Fate> drawn_;
};

}  // namespace sp::test
