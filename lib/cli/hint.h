// Hints for misspelt words: " (did you mean 'address'?)", or the words that exist when none is
// near.
#pragma once
#include <string>
#include <string_view>
#include <vector>

namespace sp::cli {

std::string hint_for(std::string_view wrong, const std::vector<std::string>& known);

}  // namespace sp::cli
