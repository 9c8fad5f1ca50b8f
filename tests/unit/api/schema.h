// Shapes of what the control API answers, in a small language, and a checker. These are facts of
// the API that integrations are written against, so a shape here changes only when that API does.
//
//   KIND;member=type;member?=type;+OTHER       an object: its members, optional ones with '?', all
//   members of OTHER type: a | b, [element], {key:value}, 'word', 1..63 (also as text, for keys),
//   int, bool, str, true, null, a form, or a KIND
#pragma once
#include <string>
#include <string_view>

#include "api/value.h"

namespace sp::api::test {

// Empty, or where and how `value` differs from `type`.
std::string differs(const Value& value, std::string_view type, const std::string& where = "data");

}  // namespace sp::api::test
