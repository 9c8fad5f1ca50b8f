// SimBuggify: the points of one simulated host. Which points a run has, and how often each fires,
// follows from the seed and the point's name; when it fires on this host, from a stream of its own.
// So neither another point nor another host changes what this one does. See io/buggify.h.
#pragma once
#include <optional>
#include <string>
#include <vector>

#include "io/buggify.h"
#include "io/random.h"

namespace sp::io {

class SimBuggify final : public Buggify {
 public:
  // `on`, of the world, says whether anything fires at all.
  SimBuggify(uint64_t seed, std::string host, const bool& on);
  uint32_t draw(size_t point) override;

 private:
  struct State {
    uint32_t per_thousand;  // 0: not in this run
    SeededRandom random;
  };
  State make_state(size_t point) const;

  uint64_t seed_;
  std::string host_;
  const bool& on_;
  std::vector<std::optional<State>> states_;
};

}  // namespace sp::io
