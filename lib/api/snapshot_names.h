// Names that the API gives to snapshots for which the request has none:
// "VOLUME@YYYYMMDD-hhmmss.mmm", in UTC. Pure.
#pragma once
#include <cstdint>
#include <set>
#include <string>
#include <string_view>

#include "map/map.h"

namespace sp::api {

// A name that nothing in the map and nothing in `taken` has: of that millisecond, or a later one.
std::string made_name(const map::Map& map, const map::Volume& volume, int64_t wall_ms,
                      const std::set<std::string>& taken);
// Whether a name has this form; people may choose such a name too.
bool is_made_name(std::string_view name);

}  // namespace sp::api
