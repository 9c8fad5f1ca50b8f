#include "base/probe.h"

#include <iterator>

#include "base/assert.h"

namespace sp {

namespace {

constexpr uint64_t runs_ordinary = 200;

constexpr ProbeText texts[] = {
#define SP_PROBE_ROW(name, what) {#name, what, runs_ordinary},
#define SP_PROBE_RARE(name, what, runs) {#name, what, runs},
#include "base/probes.def"
#undef SP_PROBE_ROW
#undef SP_PROBE_RARE
    {"", "", 0},
};
static_assert(std::size(texts) <= probe_max);

}  // namespace

std::atomic<uint64_t> probe_hits[probe_max];

size_t probes_known() { return std::size(texts) - 1; }

ProbeText probe_text(size_t probe) { return texts[probe]; }

size_t probe_index(std::string_view name) {
  size_t index = 0;
  while (index < probes_known() && texts[index].name != name) ++index;
  SP_ASSERT(index < probes_known());
  return index;
}

}  // namespace sp
