// Needs: of which slots the entries have to be in memory, and are not, before something takes
// effect or is compared with what is here. They are added to `slots`. Most writes need nothing,
// being newer than anything that their object has seen; decisions, drops and removals never do.
// What is needed is looked at when a call is taken into a round, and once more before the round
// takes effect, because decisions come in between. Plain functions of State.
#pragma once
#include <cstdint>
#include <span>
#include <vector>

#include "store/calls.h"
#include "store/state.h"

namespace sp::store {

using Slots = std::vector<uint32_t>;

void need_block(const State& state, ObjectId object, uint32_t block, Slots& slots);
void need_object(const State& state, ObjectId object, Slots& slots);
// Of a call that is to be taken into a round.
void need_to_take(const State& state, const Operation& operation, Slots& slots);
// Of a round that is to take effect: of the calls in it that are effective.
void need_of_round(const State& state, std::span<Operation* const> round, Slots& slots);
void need_to_replay(const State& state, const Record& record, Slots& slots);
// The pages of the slot table that have them, ascending.
std::vector<uint32_t> pages_of(const Slots& slots);

}  // namespace sp::store
