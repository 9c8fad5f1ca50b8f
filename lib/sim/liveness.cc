#include "sim/liveness.h"

#include <algorithm>

#include "sim/recoverable.h"

namespace sp::sim {

namespace {
constexpr auto flows_within = std::chrono::seconds(1);
}

std::string Liveness::look(const std::map<DiskId, std::set<Atlas::Mark>>& spoiled) {
  const io::Instant now = cluster_.world.now();
  Situation situation = cluster_.situation();
  situation.spoiled = spoiled;
  if (!situation.same_as(judged_) || verdicts_.empty()) {
    verdicts_ = recoverable(situation);
    judged_ = std::move(situation);
  }
  for (const Verdict& verdict : verdicts_) {
    Volume& volume = volumes_[verdict.volume];
    const bool must = verdict.excuse.empty();
    if (!must || !volume.must || verdict.grounds != volume.grounds) volume.since = now;
    volume.must = must;
    volume.grounds = verdict.grounds;
    const io::Duration age = cluster_.wait_of(verdict.volume);
    const io::Duration stuck = std::min<io::Duration>(age, now - volume.since);
    volume.flows = must && now - volume.since > flows_within && age < flows_within;
    if (must && stuck > deadline)
      return "nothing excuses a standstill of volume " + std::to_string(verdict.volume) + " (" +
             volume.grounds + "), but " + cluster_.wait_text(verdict.volume) + cluster_.waiting();
  }
  return "";
}

bool Liveness::at_ease() const {
  return std::all_of(volumes_.begin(), volumes_.end(),
                     [](const auto& entry) { return entry.second.flows; });
}

}  // namespace sp::sim
