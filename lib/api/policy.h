// Policy: what a request says of how a volume's data are kept. The policy of a volume is that of
// its template, so a request can only agree with it. Plain values.
#pragma once
#include <cstdint>
#include <optional>
#include <string>

#include "api/fields.h"

namespace sp::api {

struct Policy {
  std::optional<std::string> template_name, place_all, place_tail, place_head;
  std::optional<uint64_t> copies;

  explicit Policy(Fields& fields);
  bool agrees(const map::Template& row) const;
  bool empty() const;
};

// The template to use: the one named, else the first by name that agrees with what is asked for.
// nullptr: a fault says why.
const map::Template* choose_template(Fields& fields, const map::Map& map, const Policy& policy);
// A fault unless the policy is that of this volume or snapshot.
void check_policy_of(Fields& fields, const map::Map& map, const Policy& policy,
                     const map::Volume& volume);

}  // namespace sp::api
