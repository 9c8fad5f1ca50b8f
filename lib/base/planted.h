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
#include <optional>
#include <span>
#include <string_view>

namespace sp {

struct PlantedBugRow {
  std::string_view name;
  std::string_view what;  // one line: what the careless version does
};

// Those of base/planted_bugs.def, which names each once (`make tidy` holds it to the code).
std::span<const PlantedBugRow> planted_bugs();
std::optional<std::string_view> planted_bug_of(std::string_view name);

#ifdef SP_PLANTED
constexpr bool has_planted_bugs = true;
extern std::string_view planted_bug;  // the one that is there in this run
#define SP_PLANTED_BUG(name) (::sp::planted_bug == #name)
#else
constexpr bool has_planted_bugs = false;
#define SP_PLANTED_BUG(name) false
#endif

}  // namespace sp
