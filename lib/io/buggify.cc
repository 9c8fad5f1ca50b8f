#include "io/buggify.h"

#include <iterator>

#include "base/assert.h"

namespace sp::io {

namespace {

constexpr BuggifyPoint points[] = {
#define SP_POINT(name, percent_max, what) {#name, percent_max, what},
#include "io/buggify.def"
#undef SP_POINT
};
static_assert(std::size(points) <= buggify_max);

}  // namespace

std::atomic<uint64_t> buggify_hits[buggify_max];

size_t buggify_points() { return std::size(points); }

const BuggifyPoint& buggify_point(size_t point) { return points[point]; }

size_t buggify_index(std::string_view name) {
  size_t index = 0;
  while (index < std::size(points) && points[index].name != name) ++index;
  SP_ASSERT(index < std::size(points));
  return index;
}

}  // namespace sp::io
