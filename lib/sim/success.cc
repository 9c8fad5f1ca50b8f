#include "sim/success.h"

#include "base/assert.h"

namespace sp::sim {

uint64_t Success::Floor::before(uint64_t sent) const {
  const auto after = at.lower_bound(sent);
  return after == at.begin() ? 0 : std::prev(after)->second;
}

void Success::Floor::raise(uint64_t time, uint64_t value) {
  if (at.empty() || value > at.rbegin()->second) at[time] = value;
}

Success::Register Success::add(std::string name) {
  names_.push_back(std::move(name));
  return static_cast<Register>(names_.size() - 1);
}

void Success::fail(const std::string& why) {
  if (failure_.empty()) failure_ = why;
}

void Success::started(Register reg, uint64_t value) {
  history_.write_started({reg, 0}, value, now());
}

void Success::removal_started(Register reg, uint64_t value) {
  history_.discard_started({reg, 0}, value, now());
}

void Success::ended(Register reg, uint64_t value, Outcome outcome) {
  if (outcome == Outcome::refused) refused_.emplace(reg, value);
  if (outcome != Outcome::success) return;
  ++changes_;
  history_.write_ended({reg, 0}, value, now());
  if (const auto& wrong = history_.check()) fail(names_[reg] + ": " + *wrong);
}

void Success::found(Register reg, uint64_t value, uint64_t sent) {
  if (refused_.count({reg, value}) != 0)
    return fail(names_[reg] + " is " + std::to_string(value) + ", and that change was refused");
  history_.read({reg, 0}, value, sent, now());
  if (const auto& wrong = history_.check()) fail(names_[reg] + ": " + *wrong);
}

void Success::generation(uint64_t generation, uint64_t sent) {
  const uint64_t least = generations_.before(sent);
  if (generation < least)
    fail("an answer is of generation " + std::to_string(generation) + ", one before it was of " +
         std::to_string(least));
  generations_.raise(now(), generation);
}

// Buckets

void Success::set_ended(uint64_t value, std::optional<uint64_t> if_version, Outcome outcome) {
  if (if_version) condition_[value] = *if_version;
  if (outcome == Outcome::refused) bucket_refused_.insert(value);
  if (outcome != Outcome::success) return;
  ++changes_;
  if (!if_version) return;
  const auto [other, first] = bound_.emplace(*if_version, value);
  if (!first)
    fail("values " + std::to_string(other->second) + " and " + std::to_string(value) +
         " were both set on condition of version " + std::to_string(*if_version));
  const auto found = by_version_.find(*if_version + 1);
  if (found != by_version_.end() && found->second != value)
    fail("value " + std::to_string(value) + " was set on condition of version " +
         std::to_string(*if_version) + ", and the next version holds " +
         std::to_string(found->second));
  versions_.raise(now(), *if_version + 1);
}

void Success::bucket_found(uint64_t version, uint64_t value, uint64_t sent) {
  const std::string text = "version " + std::to_string(version) + " holds " + std::to_string(value);
  if (version < versions_.before(sent))
    fail(text + ", after version " + std::to_string(versions_.before(sent)) + " was seen");
  if (bucket_refused_.count(value) != 0) fail(text + ", and that change was refused");
  const auto [known, first] = by_version_.emplace(version, value);
  if (!first && known->second != value)
    fail(text + ", and held " + std::to_string(known->second) + " before");
  const auto bound = version == 0 ? bound_.end() : bound_.find(version - 1);
  if (bound != bound_.end() && bound->second != value)
    fail(text + ", but the change of version " + std::to_string(version - 1) + " was to " +
         std::to_string(bound->second));
  const auto condition = condition_.find(value);
  if (condition != condition_.end() && version <= condition->second)
    fail(text + ", which was set on condition of version " + std::to_string(condition->second));
  versions_.raise(now(), version);
}

void Success::mismatch_confirmed(uint64_t if_version, uint64_t version_now) {
  if (if_version == version_now)
    fail("a change on condition of version " + std::to_string(if_version) +
         " was refused, and that is the version");
}

}  // namespace sp::sim
