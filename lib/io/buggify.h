// Buggify: points in the code where the simulator may have things go slow, partial or early, in
// ways that are allowed and rare in a real system (after FoundationDB's macro of that name).
//
//   if (SP_BUGGIFY(store_round_of_one, host_)) break;
//   if (const uint32_t draw = SP_BUGGIFY(serve_recovery_pauses, host)) pause(1 + draw % 50);
//
// 0: it goes as ever. Otherwise a number to draw an amount from. A real host says 0 always: one
// branch that is never taken. Whatever a point does has to be right without it too, and must end:
// the point is asked again each time. Thread rule: the host's reactor.
#pragma once
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <string_view>

namespace sp::io {

class Buggify {
 public:
  virtual ~Buggify() = default;
  virtual uint32_t draw(size_t point) = 0;
};

struct BuggifyPoint {
  std::string_view name;
  uint32_t percent_max = 0;  // of the times that it is asked
  std::string_view what;
};
// Those of io/buggify.def, which names each once (`make tidy` holds it to the code).
size_t buggify_points();
const BuggifyPoint& buggify_point(size_t point);  // below buggify_points()
size_t buggify_index(std::string_view name);      // an unknown name stops the process

// How often each point has been something else than 0 in this process.
inline constexpr size_t buggify_max = 128;
extern std::atomic<uint64_t> buggify_hits[buggify_max];

}  // namespace sp::io

#define SP_BUGGIFY(name, host)                                             \
  ((host).buggify == nullptr ? 0u : [](::sp::io::Buggify& sp_buggify) {    \
    static const size_t sp_buggify_index = ::sp::io::buggify_index(#name); \
    return sp_buggify.draw(sp_buggify_index);                              \
  }(*(host).buggify))
