// LookUp: what the slot table says of a slot, at once, as if all of it were in memory. For
// checkers.
#pragma once
#include <cstdint>
#include <optional>

#include "store/table_pages.h"

namespace sp::store {

class StoreImpl;

// Nothing where the entry is not in memory, and the disk cannot be looked into (io::Disk::peek).
std::optional<Descriptor> look_up(const StoreImpl& store, uint32_t slot);

}  // namespace sp::store
