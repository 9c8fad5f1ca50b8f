// SimDisks: the disks of a simulated world, by path. They outlive the hosts that open them, keep
// what was flushed, and lose, tear or spoil the rest at a crash. Every fault of SimDiskOptions can
// be drawn, and the injections below place one exactly. A path belongs to the world, not to a node:
// moving a disk is opening it elsewhere. Only one live opener at a time when one of the two asked
// for exclusive; a killed host holds nothing.
#pragma once
#include <cstdint>
#include <memory>
#include <string>

#include "io/disk.h"
#include "io/sim_core.h"
#include "io/sim_options.h"

namespace sp::io {

class SimDisks {
 public:
  SimDisks(SimCore& core, const SimDiskOptions& defaults);
  ~SimDisks();

  enum class Kind { read, write, flush, discard };

  // A disk as found in the rack: exists without anybody having made it. Code::exists.
  Status add(const std::string& path, uint64_t size_bytes);
  bool exists(const std::string& path) const;
  void remove(const std::string& path);  // pulled out: operations in flight and later ones fail
  Status swap(const std::string& a,
              const std::string& b);   // the two media change places (both must be closed), crash
                                       // points to come are off
  void wipe(const std::string& path);  // as new
  void set_options(const std::string& path, const SimDiskOptions& options);

  // From the n-th operation from now on (1: the next) nothing issued has an effect and nothing
  // completes any more, until the disk's crash. The n-th itself is in flight then: at the crash it
  // may be there in part.
  void fail_after(const std::string& path, uint64_t operation_count);
  bool crash_point_reached(const std::string& path) const;
  uint64_t operation_count(const std::string& path) const;  // issued since the disk was made
  // Power fails for this disk: writes that are not durable meet their fate, all openers are cut off
  // (their operations never complete).
  void crash(const std::string& path);

  void set_dead(const std::string& path, bool dead);       // every operation fails with Code::io
  void stall(const std::string& path, Duration duration);  // nothing completes for so long
  void fail_next(const std::string& path, Kind kind, uint32_t operation_count = 1);
  void misdirect_next_write(const std::string& path);  // acknowledged, lands elsewhere
  void lose_next_write(const std::string& path);       // acknowledged, never lands
  void lie_on_next_flush(const std::string& path);     // acknowledged, makes nothing durable
  void misdirect_next_read(const std::string& path);   // says what lies elsewhere
  // Damages every 512-byte sector that the range touches, for good: a retry sees the same.
  void corrupt(const std::string& path, uint64_t offset, uint64_t size);
  // Reads of these sectors fail, until they are written anew.
  void make_unreadable(const std::string& path, uint64_t offset, uint64_t size);
  // Whether anything there is not what was last written to it, by any of these faults or those of
  // SimDiskOptions. Without a range: anywhere.
  bool harmed(const std::string& path, uint64_t offset, uint64_t size) const;
  bool harmed(const std::string& path) const;
  // A write or flush that the disk lied about, or is going to, may be the newest of its user: until
  // two more flushes have come through, one of them at least 100 ms later.
  bool may_have_lied(const std::string& path) const;
  // Its user ended while a lie was fresh: what it acknowledged last may be gone without a trace.
  // Until it is wiped.
  bool forgot(const std::string& path) const;
  // Whether it works as the world's options say: alive, not stalled, as fast and as roomy.
  bool hampered(const std::string& path) const;
  // What is on the medium now, cache included, without an operation of its own. For checkers.
  void peek(const std::string& path, uint64_t offset, MutableBytes into) const;
  // Puts these bytes there behind everybody's back.
  void poke(const std::string& path, uint64_t offset, Bytes bytes);

  // For SimWorld. `keep_completed`: the process died, not the power; what the drive's cache holds
  // stays there.
  std::unique_ptr<DiskOpener> opener_for(uint32_t host);
  void host_killed(uint32_t host, bool keep_completed);

  struct Medium;
  struct State;

 private:
  std::unique_ptr<State> state_;
};

}  // namespace sp::io
