#include "base/planted.h"

namespace sp {

namespace {

constexpr PlantedBugRow rows[] = {
    {PlantedBug::none, "none", "no bug"},
#define SP_BUG(name, what) {PlantedBug::name, #name, what},
#include "base/planted_bugs.def"
#undef SP_BUG
};

}  // namespace

#ifdef SP_PLANTED
PlantedBug planted_bug = PlantedBug::none;
#endif

std::span<const PlantedBugRow> planted_bugs() { return std::span(rows).subspan(1); }

std::optional<PlantedBug> planted_bug_of(std::string_view name) {
  for (const PlantedBugRow& row : rows)
    if (row.name == name) return row.bug;
  return std::nullopt;
}

}  // namespace sp
