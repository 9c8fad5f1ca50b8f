#include "cli/hint.h"

#include <algorithm>
#include <cstddef>

namespace sp::cli {

namespace {

// Edits (insert, delete, replace) between two words: Wagner and Fischer, 1974.
size_t distance(std::string_view a, std::string_view b) {
  std::vector<size_t> row(b.size() + 1);
  for (size_t j = 0; j <= b.size(); ++j) row[j] = j;
  for (size_t i = 1; i <= a.size(); ++i) {
    size_t diagonal = row[0];
    row[0] = i;
    for (size_t j = 1; j <= b.size(); ++j) {
      const size_t above = row[j];
      row[j] = std::min({row[j] + 1, row[j - 1] + 1, diagonal + (a[i - 1] == b[j - 1] ? 0 : 1)});
      diagonal = above;
    }
  }
  return row[b.size()];
}

}  // namespace

std::string hint_for(std::string_view wrong, const std::vector<std::string>& known) {
  constexpr size_t word_bytes_max = 64;  // longer words are no slip of the finger
  if (known.empty()) return "";
  if (wrong.size() <= word_bytes_max) {
    const auto nearest = std::min_element(known.begin(), known.end(),
                                          [&](const std::string& a, const std::string& b) {
                                            return distance(wrong, a) < distance(wrong, b);
                                          });
    if (distance(wrong, *nearest) <= std::max<size_t>(1, nearest->size() / 3))
      return " (did you mean '" + *nearest + "'?)";
  }
  std::string all;
  for (const auto& word : known) all += (all.empty() ? "" : ", ") + word;
  return " (there are: " + all + ")";
}

}  // namespace sp::cli
