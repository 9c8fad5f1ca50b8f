#include "base/planted.h"

namespace sp {

namespace {

constexpr PlantedBugRow rows[] = {
#define SP_BUG(name, what) {#name, what},
#include "base/planted_bugs.def"
#undef SP_BUG
    {"", ""},
};

}  // namespace

#ifdef SP_PLANTED
std::string_view planted_bug;
#endif

std::span<const PlantedBugRow> planted_bugs() { return std::span(rows).first(std::size(rows) - 1); }

std::optional<std::string_view> planted_bug_of(std::string_view name) {
  for (const PlantedBugRow& row : planted_bugs())
    if (row.name == name) return row.name;
  return std::nullopt;
}

}  // namespace sp
