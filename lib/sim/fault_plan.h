// The faults of a run as a list, drawn before it begins: what, when, and a seed for everything else
// that the fault draws. So any of them can be left out without a change to the others, which is how
// a failing run is made small. Plain values.
#pragma once
#include <cstdint>
#include <set>
#include <string>
#include <vector>

#include "base/result.h"
#include "io/clock.h"
#include "sim/knobs.h"

namespace sp::sim {

// In the order of their weights in knobs.def.
enum class FaultKind : uint8_t {
  service,
  node,
  all,
  cut,
  pause,
  disk,
  log,
  spoil,
  move,
  place,
  loss,
  reset,
  clog,
  slow,
  elect,
  io,
  late,
  swap,
  add,
  full,
  wipe,
  die,
  wrong,
  lie,
  super,
  rot,
  forget,
  mgmt,
  join,
  leave,
  voting,
  upgrade,
  count
};

struct Fault {
  uint32_t index = 0;
  FaultKind kind = FaultKind::service;
  io::Duration at{};  // since the faults began
  uint64_t seed = 0;
};

std::string_view fault_name(FaultKind kind);
std::vector<Fault> plan_faults(uint64_t seed, const Knobs& knobs, io::Duration time);

// "3,7-9": numbers, and back.
using FaultNumbers = std::set<uint32_t>;
Result<FaultNumbers> parse_fault_numbers(std::string_view text);
std::string fault_numbers_text(const FaultNumbers& numbers);

}  // namespace sp::sim
