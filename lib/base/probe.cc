#include "base/probe.h"

#include <iterator>

#include "base/assert.h"

namespace sp {

namespace {

constexpr ProbeText texts[] = {
#define SP_PROBE_ROW(name, what) {#name, what},
#include "base/probes.def"
#undef SP_PROBE_ROW
    {"", ""},
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
