// Explorer: sequences of verbs as a tree, each crashed at every I/O of its last verb and of what
// follows it when nothing else comes; those of the verbs before are in the shorter sequences. Each
// crash meets every fate of the unflushed writes, and a second crash while it is opened again.
// Without SP_CRASH_WHOLE=1 the longest sequences are sampled; second crashes always are.
#pragma once
#include <string>
#include <vector>

#include "base/checksum.h"
#include "crash/fates.h"

namespace sp::test {

struct CrashCounts {
  uint64_t sequences = 0, crashes = 0, cases = 0, second_crashes = 0;
  std::string text() const {
    return std::to_string(sequences) + " sequences, " + std::to_string(crashes) + " crashes, " +
           std::to_string(cases) + " fates of them, " + std::to_string(second_crashes) +
           " second crashes";
  }
};

struct CrashLimits {
  size_t fates;                  // of a crash: all combinations while they are no more than these
  uint64_t ios_of_opening;       // where a second crash may come, and one beyond
  uint64_t second_crashes_each;  // of so many fates one is opened and crashed again
};

// Ways: what may be left of a medium's unflushed writes.
template <class Medium, class World, class Verb, class Ways = Fates<Medium>>
class Explorer {
 public:
  // A sequence begins with copies of `medium` and `world`, which outlive the Explorer.
  Explorer(std::string scene, const Medium& medium, const World& world, const CrashLimits& limits,
           uint64_t seed)
      : random_(seed), scene_(std::move(scene)), medium_(medium), world_(world), limits_(limits) {}
  virtual ~Explorer() = default;

  // All sequences that begin with `verbs`, up to `length_max`; one of `sample` of the longest.
  void explore(std::vector<Verb> verbs, size_t length_max, uint64_t sample) {
    if (!verbs.empty() && wanted(verbs.size(), length_max, sample)) crash_everywhere(verbs);
    if (verbs.size() == length_max) return;
    for (int verb = 0; verb < static_cast<int>(Verb::count); verb++) {
      verbs.push_back(static_cast<Verb>(verb));
      explore(verbs, length_max, sample);
      verbs.pop_back();
    }
  }
  const CrashCounts& counts() const { return counts_; }

 protected:
  virtual bool wanted(size_t length, size_t length_max, uint64_t sample) {
    return length < length_max || drawn(sample);
  }
  bool drawn(uint64_t sample) { return sample == 1 || mix64(number_++) % sample == 0; }
  // From one I/O at which the last verb is stopped to the next.
  virtual uint64_t step(Verb) { return 1; }
  virtual std::string name(Verb verb) const = 0;
  // False: the sequence ends before its I/O number `stop`.
  virtual bool run_until(Medium& medium, World& world, const std::vector<Verb>& verbs,
                         uint64_t stop) = 0;
  virtual void open_until(Medium& medium, uint64_t stop) = 0;  // and no further
  // Right, and able to go on.
  virtual void verify(Medium medium, const World& world) = 0;

  io::SeededRandom random_;
  std::string story_, fate_;   // where it is, for people
  bool process_died_ = false;  // and nothing else: what is verified lies in the device's cache
  uint64_t verified_ = 0;

 private:
  void crash_everywhere(const std::vector<Verb>& verbs) {
    counts_.sequences++;
    std::string names;
    for (const Verb verb : verbs) names += " " + name(verb);
    for (uint64_t stop = 0;; stop += step(verbs.back())) {
      story_ = scene_ + ":" + names + ", stopped at I/O " + std::to_string(stop);
      Medium medium = medium_;
      World world = world_;
      if (!run_until(medium, world, verbs, stop)) return;
      counts_.crashes++;
      crash_all_ways(medium, world);
    }
  }

  void crash_all_ways(const Medium& at_crash, const World& world) {
    Ways ways(at_crash.unflushed.size(), limits_.fates, random_);
    for (size_t way = 0; way < ways.count(); way++) {
      counts_.cases++;
      fate_ = ", fate " + std::to_string(way);
      const Medium medium = ways.medium_after(at_crash, way);
      if (counts_.cases % limits_.second_crashes_each == 0) crash_again(medium, world);
      verify(medium, world);
    }
    // Only the process died: what was written is in the cache of the device, and meets its fate
    // with what the opening writes.
    fate_ = ", process died";
    Medium cached = at_crash;
    cached.stop_at = ~uint64_t{0};
    crash_again(cached, world);
    process_died_ = true;
    verify(cached, world);
    process_died_ = false;
  }

  // Crashes at an I/O of the opening, in turn.
  void crash_again(const Medium& first, const World& world) {
    const std::string fate = fate_;
    const uint64_t stop = counts_.second_crashes % limits_.ios_of_opening;
    Medium medium = first;
    open_until(medium, stop);
    Ways ways(medium.unflushed.size(), 2, random_);
    for (size_t way = 0; way < ways.count(); way++) {
      counts_.second_crashes++;
      fate_ = fate + ", then stopped at I/O " + std::to_string(stop) + " of the opening, fate " +
              std::to_string(way);
      verify(ways.medium_after(medium, way), world);
    }
    fate_ = fate;
  }

  std::string scene_;
  const Medium& medium_;
  const World& world_;
  CrashLimits limits_;
  CrashCounts counts_;
  uint64_t number_ = 0;
};

}  // namespace sp::test
