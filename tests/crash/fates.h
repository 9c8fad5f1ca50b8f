// What becomes of writes that were not flushed when the power failed. SP_CRASH_WHOLE=1 in the
// environment asks crash tests to leave no sequence out.
#pragma once
#include <cstdlib>

#include "crash/fake_machine.h"
#include "io/random.h"

namespace sp::test {

inline bool whole_run() { return std::getenv("SP_CRASH_WHOLE") != nullptr; }

enum class Fate : uint8_t { lost, whole, torn, garbage };
constexpr size_t fates = 4;

template <class Medium>
void meet(Medium& medium, const typename Medium::Unflushed& write, Fate fate, io::Random& random) {
  const size_t sectors = write.bytes.size() / 512;
  switch (fate) {
    case Fate::lost: break;
    case Fate::whole: medium.apply(write, 0, write.bytes.size()); break;
    case Fate::torn: medium.apply(write, 0, (1 + random.below(sectors - 1)) * 512); break;
    case Fate::garbage: {
      // One sector, or all of it.
      medium.apply(write, 0, write.bytes.size());
      const bool all = random.below(2) == 0;
      std::vector<std::byte> noise(all ? write.bytes.size() : 512);
      random.fill(noise);
      const size_t at = all ? 0 : random.below(sectors) * 512;
      copy_in(medium.bytes, write.offset + at, noise);
      break;
    }
  }
}

// All combinations of fates while they are few, else each fate for all, and draws; only draws where
// there is not even room for those.
template <class Medium>
class Fates {
 public:
  Fates(size_t writes, size_t cases_max, io::Random& random) : writes_(writes), random_(random) {
    size_t all = 1;
    while (exhaustive_ && writes-- > 0) exhaustive_ = (all *= fates) <= cases_max;
    count_ = exhaustive_ ? all : cases_max;
  }
  size_t count() const { return count_; }
  Medium medium_after(const Medium& at_crash, size_t way) {
    Medium medium = at_crash;
    medium.unflushed.clear();
    medium.stop_at = ~uint64_t{0};
    size_t left = way;
    for (size_t i = 0; i < writes_; i++, left /= fates) {
      size_t fate = exhaustive_ ? left % fates : way;
      if (!exhaustive_ && (way >= fates || count_ < fates)) fate = random_.below(fates);
      meet(medium, at_crash.unflushed[i], static_cast<Fate>(fate), random_);
    }
    return medium;
  }

 private:
  size_t writes_;
  io::Random& random_;
  bool exhaustive_ = true;
  size_t count_ = 1;
};

}  // namespace sp::test
