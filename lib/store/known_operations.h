// KnownOperations: the client operations that a store knows of one set, so that a retry is answered
// and not applied again. In the order of versions, and in that of the log records that hold them:
// what is to leave the log is found without a look at the rest. Plain values.
#pragma once
#include <cstdint>
#include <deque>
#include <vector>

#include "store/store.h"

namespace sp::store {

struct KnownOperation {
  OperationId id;
  Version version;
  uint64_t lsn = 0;  // of the newest record that holds it
};

class KnownOperations {
 public:
  // Known already: `lsn` is that of a further record. Beyond `kept_max` the lowest versions go.
  void add(const OperationId& id, Version version, uint64_t lsn, size_t kept_max);
  void forget_after(Version version);
  void clear();

  const std::deque<KnownOperation>& all() const { return known_; }  // ascending by version
  const KnownOperation* find(Version version) const;
  bool any_logged_before(uint64_t lsn) const;
  // The oldest of them by their records, `count_max` at most. Good until the next change.
  std::vector<KnownOperation*> logged_before(uint64_t lsn, size_t count_max);
  // What logged_before() has named was logged once more.
  void logged_again(const std::vector<KnownOperation*>& operations, uint64_t lsn);
  uint64_t memory_bytes() const;

 private:
  struct Logged {
    Version version;
    uint64_t lsn = 0;
  };
  std::deque<KnownOperation>::iterator place_of(Version version);  // or of the next one
  const KnownOperation* counted(const Logged& logged) const;
  void log(Logged logged);

  std::deque<KnownOperation> known_;
  std::deque<Logged> log_;  // ascending by lsn; what is gone, or was logged again, does not count
};

}  // namespace sp::store
