// Success: whether what management answers is true. A change that was answered with success is in
// every later answer, whoever gives it and whatever was restarted; one that was refused never is;
// one without an answer may come at any time, or not at all.
//
// Everything that callers change is a register: a size, a tag, a name, whether a volume is there.
// Every change of a register writes a value that no other change of it writes, never 0, which is
// what it was in the beginning; so Linearizability judges it, as it judges a block. Buckets have
// versions besides, which only grow, and which changes may be bound to. Calls come in the order of
// their times. Plain values.
#pragma once
#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "sim/linearizability.h"

namespace sp::sim {

class Success {
 public:
  using Register = uint32_t;
  enum class Outcome : uint8_t { success, refused, unknown };

  Register add(std::string name);
  uint64_t now() { return history_.next(); }  // of a request that is sent

  void started(Register reg, uint64_t value);
  void removal_started(Register reg, uint64_t value);  // back to what it was in the beginning
  void ended(Register reg, uint64_t value, Outcome outcome);
  void found(Register reg, uint64_t value, uint64_t sent);  // by a request sent then

  // Every success names the generation of the configuration that it knows: it is not below that of
  // an answer that had come before the request was sent.
  void generation(uint64_t generation, uint64_t sent);

  // A bucket of which all callers change one key, each time to a value of its own.
  void set_ended(uint64_t value, std::optional<uint64_t> if_version, Outcome outcome);
  void bucket_found(uint64_t version, uint64_t value, uint64_t sent);
  // Refused, because the version was another; the caller had found it by then, and finds it still.
  void mismatch_confirmed(uint64_t if_version, uint64_t version_now);

  void fail(const std::string& why);
  const std::string& failure() const { return failure_; }
  uint64_t changes() const { return changes_; }  // answered with success

 private:
  // The highest that an answer showed, by when it came.
  struct Floor {
    std::map<uint64_t, uint64_t> at;
    uint64_t before(uint64_t sent) const;
    void raise(uint64_t time, uint64_t value);
  };

  Linearizability history_;
  std::vector<std::string> names_;
  std::set<std::pair<Register, uint64_t>> refused_;
  Floor generations_, versions_;
  std::map<uint64_t, uint64_t> by_version_;  // what the bucket held then
  std::map<uint64_t, uint64_t> bound_;       // versions that successes were bound to
  std::map<uint64_t, uint64_t> condition_;   // value -> version it was bound to
  std::set<uint64_t> bucket_refused_;
  uint64_t changes_ = 0;
  std::string failure_;
};

}  // namespace sp::sim
