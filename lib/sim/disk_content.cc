#include "sim/disk_content.h"

#include <algorithm>

#include "base/limits.h"

namespace sp::sim {

namespace {

std::string version_text(const StoredBlock& block) {
  return "version " + std::to_string(block.version.epoch()) + ":" +
         std::to_string(block.version.sequence()) + " of content " + std::to_string(block.crc);
}

std::string place_text(SetId set, const StoredBlock& block) {
  const uint64_t in_volume = uint64_t{block.object.index} * limits::blocks_per_object + block.block;
  return "volume " + std::to_string(block.object.volume) + " block " + std::to_string(in_volume) +
         " (set " + std::to_string(set.index) + "): ";
}

bool is_before(const StoredBlock& a, const StoredBlock& b) {
  return std::pair(a.object, a.block) < std::pair(b.object, b.block);
}

const std::vector<StoredBlock>& blocks_of(const DiskContent& content, SetId set) {
  static const std::vector<StoredBlock> none;
  const auto found = content.sets.find(set);
  return found == content.sets.end() ? none : found->second;
}

}  // namespace

uint64_t DiskContent::blocks() const {
  uint64_t sum = 0;
  for (const auto& [set, blocks] : sets) sum += blocks.size();
  return sum;
}

DiskContent content_of(const store::Store& store) {
  constexpr size_t objects_at_a_time = 256;
  DiskContent content;
  for (const auto& record : store.sets()) {
    auto& blocks = content.sets[record.set];
    ObjectId cursor;
    for (;;) {
      const auto objects = store.changed_objects(record.set, {}, cursor, objects_at_a_time);
      if (objects.empty()) break;
      cursor = objects.back();
      for (const ObjectId object : objects) {
        for (const auto& state : store::state_of(store, object).blocks)
          blocks.push_back({object, state.block, state.version, state.crc});
      }
    }
    const uint64_t undecided = store.undecided(record.set).size();
    if (undecided > 0) content.undecided.emplace(record.set, undecided);
  }
  content.accounts = store::accounts_of(store);
  return content;
}

std::string difference(SetId set, const std::vector<StoredBlock>& a, const std::string& name_a,
                       const std::vector<StoredBlock>& b, const std::string& name_b) {
  const auto [at_a, at_b] = std::mismatch(a.begin(), a.end(), b.begin(), b.end());
  if (at_a == a.end() && at_b == b.end()) return "";
  const bool only_b = at_a == a.end() || (at_b != b.end() && is_before(*at_b, *at_a));
  const bool only_a = !only_b && (at_b == b.end() || is_before(*at_a, *at_b));
  return place_text(set, only_b ? *at_b : *at_a) + name_a + " holds " +
         (only_b ? "nothing" : version_text(*at_a)) + ", " + name_b + " " +
         (only_a ? "nothing" : version_text(*at_b)) + "; " + std::to_string(a.size()) + " and " +
         std::to_string(b.size()) + " blocks of the set";
}

std::string space_difference(const DiskContent& content, const std::vector<SetId>& sets) {
  if (auto wrong = content.accounts.difference(); !wrong.empty()) return wrong;
  for (const auto& [set, blocks] : content.sets) {
    if (!blocks.empty() && std::find(sets.begin(), sets.end(), set) == sets.end())
      return "set " + std::to_string(set.index) + " is not placed on it, and " +
             std::to_string(blocks.size()) + " blocks of it are there";
  }
  for (const auto& [set, writes] : content.undecided)
    return "set " + std::to_string(set.index) + ": " + std::to_string(writes) +
           " writes are still undecided";
  if (content.accounts.decided != content.blocks())
    return std::to_string(content.accounts.decided) + " slots hold blocks, but its sets have " +
           std::to_string(content.blocks());
  return "";
}

std::string difference_over_stop(const DiskContent& before, const DiskContent& found) {
  std::vector<SetId> sets;
  for (const auto* content : {&before, &found}) {
    for (const auto& [set, blocks] : content->sets) sets.push_back(set);
  }
  for (const SetId set : sets) {
    if (before.sets.count(set) != found.sets.count(set))
      return "set " + std::to_string(set.index) + " was known only " +
             (before.sets.count(set) != 0 ? "before it stopped" : "after it stopped");
    auto wrong = difference(set, blocks_of(before, set), "before it stopped it",
                            blocks_of(found, set), "afterwards it");
    if (!wrong.empty()) return wrong;
  }
  if (auto wrong = found.accounts.difference(); !wrong.empty()) return "afterwards " + wrong;
  if (before.accounts.free != found.accounts.free)
    return "free slots before it stopped: " + std::to_string(before.accounts.free) +
           ", afterwards: " + std::to_string(found.accounts.free);
  return "";
}

}  // namespace sp::sim
