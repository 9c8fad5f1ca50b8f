#include "base/probe.h"

namespace sp {

std::atomic<uint64_t> probe_hits[probe_count + 1];

ProbeText probe_text(size_t probe) {
  static constexpr ProbeText texts[] = {
#define SP_PROBE_ROW(name, what) {#name, what},
#include "base/probes.def"
#undef SP_PROBE_ROW
      {"", ""},
  };
  return texts[probe];
}

}  // namespace sp
