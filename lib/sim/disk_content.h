// DiskContent: what one disk holds decided, block by block, and where its slots are; and in words
// what two disks, or one disk at two times, do not have in common. For comparing copies at rest,
// and a disk that was stopped with what its server said before.
//
// The content itself is compared by its CRC-64, which store::check has verified against the data.
// Plain values.
#pragma once
#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "store/accounts.h"
#include "store/store.h"

namespace sp::sim {

struct StoredBlock {
  ObjectId object;
  uint16_t block = 0;
  Version version;
  uint64_t crc = 0;
  auto operator<=>(const StoredBlock&) const = default;
};

struct DiskContent {
  std::map<SetId, std::vector<StoredBlock>> sets;  // ascending; those with a record or blocks
  std::map<SetId, uint64_t> undecided;             // writes; sets with none are left out
  store::Accounts accounts;

  uint64_t blocks() const;
};

DiskContent content_of(const store::Store& store);

// Where the first two differ: "volume 2 block 1030 (set 4): disk 1 holds version 3:17, disk 2
// nothing". Nothing when they are equal.
std::string difference(SetId set, const std::vector<StoredBlock>& a, const std::string& name_a,
                       const std::vector<StoredBlock>& b, const std::string& name_b);

// What does not fit in the slots of a disk at rest that has to hold these sets and nothing else.
std::string space_difference(const DiskContent& content, const std::vector<SetId>& sets);

// Of one disk before it was stopped, and as it was found.
std::string difference_over_stop(const DiskContent& before, const DiskContent& found);

}  // namespace sp::sim
