// Probes: marks on rare paths. A batch of simulations counts how often each was passed, and fails
// when one was never though the batch is large enough for it: a path that no fault leads to is not
// tested (after FoundationDB's TEST macro).
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

inline constexpr size_t probe_max = 512;
extern std::atomic<uint64_t> probe_hits[probe_max];

struct ProbeText {
  std::string_view name, what;
  uint64_t runs;  // so large a batch of simulations has to pass it
};
// Those of base/probes.def, which names each once (`make tidy` holds it to the code).
size_t probes_known();
ProbeText probe_text(size_t probe);         // below probes_known()
size_t probe_index(std::string_view name);  // an unknown name stops the process

#define SP_PROBE(name)                                                        \
  do {                                                                        \
    static const size_t sp_probe_index = ::sp::probe_index(#name);            \
    ::sp::probe_hits[sp_probe_index].fetch_add(1, std::memory_order_relaxed); \
  } while (false)

}  // namespace sp
