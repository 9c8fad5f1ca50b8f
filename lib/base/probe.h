// Probes: marks on rare paths. A batch of simulations counts how often each was passed, and fails
// when one was never: a path that no fault leads to is not tested (after FoundationDB's TEST
// macro).
//
//   SP_PROBE(primary_starts_with_prepared_tail);
//
// Always compiled in, one relaxed increment: put them on paths that are rare, never on one that is
// passed for each operation. Thread rule: any thread.
#pragma once
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <string_view>

namespace sp {

enum class Probe : uint16_t {
#define SP_PROBE_ROW(name, what) name,
#include "base/probes.def"
#undef SP_PROBE_ROW
  count
};

constexpr size_t probe_count = static_cast<size_t>(Probe::count);
extern std::atomic<uint64_t> probe_hits[probe_count + 1];

struct ProbeText {
  std::string_view name, what;
};
ProbeText probe_text(size_t probe);  // below probe_count

#define SP_PROBE(name) \
  ::sp::probe_hits[static_cast<size_t>(::sp::Probe::name)].fetch_add(1, std::memory_order_relaxed)

}  // namespace sp
