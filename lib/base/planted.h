// Planted bugs: mistakes that a careless version of this store would make, each behind a switch, so
// that the simulator can prove that it would notice (`make planted`, sp-guarantees(7)).
//
// Only a build with -DSP_PLANTED=ON has them; `sp-sim --plant NAME` chooses one before anything
// runs, and it stays. In all other builds SP_PLANTED_BUG(name) is the constant false: no code, no
// data. Each bug is one small change at the place where the real code is right:
//
//   if (!durable && !SP_PLANTED_BUG(ack_before_flush)) return;
//
// Thread rule: chosen before the first thread, read-only afterwards.
#pragma once
#include <cstdint>
#include <optional>
#include <span>
#include <string_view>

namespace sp {

enum class PlantedBug : uint8_t {
  none,
#define SP_BUG(name, what) name,
#include "base/planted_bugs.def"
#undef SP_BUG
};

struct PlantedBugRow {
  PlantedBug bug;
  std::string_view name;
  std::string_view what;  // one line: what the careless version does
};

std::span<const PlantedBugRow> planted_bugs();
std::optional<PlantedBug> planted_bug_of(std::string_view name);

#ifdef SP_PLANTED
constexpr bool has_planted_bugs = true;
extern PlantedBug planted_bug;  // the one that is there in this run
#define SP_PLANTED_BUG(name) (::sp::planted_bug == ::sp::PlantedBug::name)
#else
constexpr bool has_planted_bugs = false;
#define SP_PLANTED_BUG(name) false
#endif

}  // namespace sp
