// Taking snapshots through the API: from the command that opens the cut to the moment at which they
// can be used, or are known not to be.
#pragma once
#include <functional>
#include <vector>

#include "api/calls.h"

namespace sp::api {

// Proposes `open` and runs `then` with the ids of the snapshots, in the order of the items, when
// the cut was closed as taken; else fails the request. Ends the turn as soon as the cut is open.
// `then` must not own the Context.
void take_snapshots(Context& context, const map::OpenCut& open,
                    std::function<void(Context&, const std::vector<VolumeId>&)> then);

}  // namespace sp::api
