// Quotas first, then sets. Positions with equal candidates form a class; each disk gets a whole
// number of places per class (its share by weight, held down where a fault set would need more than
// one copy of a set), what is there now is kept up to the quota, and vacancies go to whoever has
// most left, by exchange where fault sets stand in the way. The primary is chosen last, among the
// members of its class: that moves no data. Integers only, so every machine agrees.
#include "map/placement.h"

#include <algorithm>
#include <map>
#include <numeric>
#include <tuple>
#include <utility>

#include "base/assert.h"
#include "base/checksum.h"
#include "base/limits.h"

namespace sp::map {
namespace {

constexpr int none = -1;
constexpr uint64_t one = uint64_t{1} << 40;  // a share of 1 in fixed point

uint64_t scaled(uint64_t value, uint64_t numerator, uint64_t denominator) {
  __extension__ using Wide = unsigned __int128;
  return static_cast<uint64_t>(Wide{value} * numerator / denominator);
}

struct Candidate {
  DiskId id = 0;
  uint64_t weight = 0;
  int node = 0, fault_set = 0;
};

// Positions that draw from the same disks.
struct Class {
  std::vector<int> positions;
  std::vector<int> disks;       // indices of candidates
  std::vector<uint64_t> share;  // by index in `disks`: part of each position, of `one`
  std::vector<int> left;  // by candidate: places of its quota not used yet; negative when over
  std::vector<int> left_of_set;  // by fault set: the same summed
  std::vector<bool> has;         // by candidate
};

// How near two disks are: no conflict, same fault set, same node, same disk.
int conflict(const Candidate& a, const Candidate& b) {
  if (a.id == b.id) return 3;
  if (a.node == b.node) return 2;
  return a.fault_set == b.fault_set ? 1 : 0;
}

class Placer {
 public:
  explicit Placer(const PlacementRequest& request) : request_(request) {}
  PlacementResult run();

 private:
  void collect();
  void limit_fault_sets();
  void set_quotas(Class& c);
  void keep_current();
  bool fill(uint32_t set, int position);
  bool fill_by_exchange(uint32_t set, int position);
  int best(uint32_t set, int position, int level, bool within_quota) const;
  int worst_conflict(uint32_t set, int position, int disk) const;
  void put(uint32_t set, int position, int disk);
  void take(uint32_t set, int position);
  void level_out();
  void choose_primaries();
  bool shift_primary(int over);
  std::string warning() const;
  uint64_t hash(uint32_t set, int disk) const {
    return mix64(mix64(uint64_t{request_.group} << 32 | set) ^ candidates_[disk].id);
  }
  Class& class_of(int position) { return classes_[class_of_[position]]; }
  const Class& class_of(int position) const { return classes_[class_of_[position]]; }

  const PlacementRequest& request_;
  int copies_ = 0;
  std::vector<Candidate> candidates_;
  std::vector<Class> classes_;
  std::vector<int> class_of_;           // by position
  std::vector<std::vector<int>> sets_;  // by set, by position: candidate or none
  std::vector<int> primaries_left_;     // by candidate
  int fault_sets_ = 0;
  int worst_level_ = 0;
  uint32_t unfilled_ = 0;
  uint64_t unusable_percent_ = 0;
};

void Placer::collect() {
  copies_ = static_cast<int>(request_.copies);
  std::map<DiskId, PlacementDisk> all;
  for (const auto* list : {&request_.all, &request_.tail, &request_.head})
    for (const PlacementDisk& disk : *list)
      if (disk.weight > 0) all.emplace(disk.id, disk);
  std::map<DiskId, int> index;
  std::map<std::string, int> fault_sets;
  for (const auto& [id, disk] : all) {
    index.emplace(id, static_cast<int>(candidates_.size()));
    const int fault_set =
        fault_sets.emplace(disk.fault_set, static_cast<int>(fault_sets.size())).first->second;
    candidates_.push_back({id, disk.weight, disk.node, fault_set});
  }
  fault_sets_ = static_cast<int>(fault_sets.size());
  for (int position = 0; position < copies_; ++position) {
    const auto& list = position == 0             ? request_.tail
                       : position == copies_ - 1 ? request_.head
                                                 : request_.all;
    Class c;
    for (const PlacementDisk& disk : list)
      if (disk.weight > 0) c.disks.push_back(index.at(disk.id));
    std::sort(c.disks.begin(), c.disks.end());
    c.disks.erase(std::unique(c.disks.begin(), c.disks.end()), c.disks.end());
    const auto same = std::find_if(classes_.begin(), classes_.end(),
                                   [&c](const Class& other) { return other.disks == c.disks; });
    class_of_.push_back(static_cast<int>(same - classes_.begin()));
    if (same == classes_.end()) classes_.push_back(std::move(c));
    class_of(position).positions.push_back(position);
  }
}

// Shares by weight; then, while some fault set would hold more than one copy of every set, it is
// held to one and the others of the same class take the rest.
void Placer::limit_fault_sets() {
  for (Class& c : classes_) {
    uint64_t total = 0;
    for (const int disk : c.disks) total += candidates_[disk].weight;
    for (const int disk : c.disks) c.share.push_back(scaled(one, candidates_[disk].weight, total));
  }
  if (fault_sets_ < copies_) return;
  uint64_t moved = 0;
  std::vector<bool> held(static_cast<size_t>(fault_sets_));
  for (int round = 0; round < fault_sets_; ++round) {
    std::vector<uint64_t> load(static_cast<size_t>(fault_sets_));
    for (const Class& c : classes_)
      for (size_t i = 0; i < c.disks.size(); ++i)
        load[candidates_[c.disks[i]].fault_set] += c.share[i] * c.positions.size();
    bool changed = false;
    const std::vector<bool> held_before = held;
    for (int f = 0; f < fault_sets_; ++f)
      if (load[f] > one + one / 4096) held[f] = changed = true;
    if (!changed) break;
    for (Class& c : classes_) {
      uint64_t fixed = 0, open = 0;
      for (size_t i = 0; i < c.disks.size(); ++i) {
        const int f = candidates_[c.disks[i]].fault_set;
        if (held[f] && load[f] > one) {
          const uint64_t less = scaled(c.share[i], one, load[f]);
          moved += held_before[f] ? 0 : (c.share[i] - less) * c.positions.size();
          c.share[i] = less;
        }
        (held[f] ? fixed : open) += c.share[i];
      }
      if (open == 0 || fixed >= one) continue;
      for (size_t i = 0; i < c.disks.size(); ++i)
        if (!held[candidates_[c.disks[i]].fault_set])
          c.share[i] = scaled(c.share[i], one - fixed, open);
    }
  }
  unusable_percent_ = moved * 100 / (one * static_cast<uint64_t>(copies_));
}

// Whole places by largest remainder.
std::vector<int> apportion(const std::vector<uint64_t>& share, uint64_t places) {
  std::vector<int> whole(share.size());
  std::vector<std::pair<uint64_t, size_t>> rest;
  const uint64_t total = std::accumulate(share.begin(), share.end(), uint64_t{0});
  uint64_t given = 0;
  for (size_t i = 0; i < share.size(); ++i) {
    whole[i] = static_cast<int>(scaled(places, share[i], total));
    given += static_cast<uint64_t>(whole[i]);
    const uint64_t exact = scaled(places << 16, share[i], total);
    rest.emplace_back(exact - (static_cast<uint64_t>(whole[i]) << 16), i);
  }
  std::stable_sort(rest.begin(), rest.end(),
                   [](const auto& a, const auto& b) { return a.first > b.first; });
  for (size_t i = 0; given < places; ++given, ++i) ++whole[rest[i % rest.size()].second];
  return whole;
}

void Placer::set_quotas(Class& c) {
  c.left.assign(candidates_.size(), 0);
  c.has.assign(candidates_.size(), false);
  c.left_of_set.assign(static_cast<size_t>(fault_sets_), 0);
  const auto quota = apportion(c.share, uint64_t{request_.set_count} * c.positions.size());
  for (size_t i = 0; i < c.disks.size(); ++i) {
    c.left[c.disks[i]] = quota[i];
    c.left_of_set[candidates_[c.disks[i]].fault_set] += quota[i];
    c.has[c.disks[i]] = true;
  }
}

void Placer::put(uint32_t set, int position, int disk) {
  Class& c = class_of(position);
  sets_[set][position] = disk;
  --c.left[disk];
  --c.left_of_set[candidates_[disk].fault_set];
}

void Placer::take(uint32_t set, int position) {
  Class& c = class_of(position);
  const int disk = std::exchange(sets_[set][position], none);
  ++c.left[disk];
  ++c.left_of_set[candidates_[disk].fault_set];
}

int Placer::worst_conflict(uint32_t set, int position, int disk) const {
  int worst = 0;
  for (int other = 0; other < copies_; ++other)
    if (other != position && sets_[set][other] != none)
      worst = std::max(worst, conflict(candidates_[disk], candidates_[sets_[set][other]]));
  return worst;
}

// Disks over their quota give up first the sets that a disk below its quota can enter in their
// place, so that few exchanges are needed; among them, in an order drawn from hashes, so that what
// a disk loses is spread over its partners.
void Placer::keep_current() {
  std::map<DiskId, int> index;
  for (size_t i = 0; i < candidates_.size(); ++i)
    index.emplace(candidates_[i].id, static_cast<int>(i));
  struct Place {
    bool useful;
    uint64_t order;
    uint32_t set;
    int position, disk;
  };
  std::vector<Place> places;
  std::vector<int> load(candidates_.size());
  const auto sets =
      static_cast<uint32_t>(std::min<size_t>(request_.current.size(), request_.set_count));
  for (uint32_t set = 0; set < sets; ++set) {
    const auto& now = request_.current[set];
    for (int position = 0; position < copies_ && position < static_cast<int>(now.size());
         ++position) {
      const auto found = index.find(now[position]);
      if (found == index.end()) continue;
      ++load[found->second];
      places.push_back({false, hash(set, found->second), set, position, found->second});
    }
  }
  std::vector<int> quota(candidates_.size()), below;
  for (const Class& c : classes_)
    for (const int disk : c.disks) quota[disk] += c.left[disk];
  for (size_t i = 0; i < candidates_.size(); ++i)
    if (load[i] < quota[i]) below.push_back(static_cast<int>(i));
  for (Place& place : places) {
    if (load[place.disk] <= quota[place.disk]) continue;
    place.useful = std::any_of(below.begin(), below.end(), [&](int disk) {
      return std::all_of(request_.current[place.set].begin(), request_.current[place.set].end(),
                         [&](DiskId member) {
                           const auto found = index.find(member);
                           return found == index.end() || found->second == place.disk ||
                                  conflict(candidates_[disk], candidates_[found->second]) == 0;
                         });
    });
  }
  std::sort(places.begin(), places.end(), [](const Place& a, const Place& b) {
    if (a.useful != b.useful) return b.useful;
    return std::tie(a.order, a.set, a.position) < std::tie(b.order, b.set, b.position);
  });
  for (const Place& place : places) {
    const auto fits = [&](int position) {
      const Class& c = class_of(position);
      return sets_[place.set][position] == none && c.has[place.disk] && c.left[place.disk] > 0;
    };
    if (worst_conflict(place.set, none, place.disk) > (fault_sets_ >= copies_ ? 0 : 2)) continue;
    int position = fits(place.position) ? place.position : none;
    for (int other = 0; other < copies_ && position == none; ++other)
      if (fits(other)) position = other;
    if (position != none) put(place.set, position, place.disk);
  }
}

// The candidate for a vacancy with no conflict above `level`: of the fault set with most left, then
// the disk with most left, then by hash.
int Placer::best(uint32_t set, int position, int level, bool within_quota) const {
  const Class& c = class_of(position);
  int found = none;
  for (const int disk : c.disks) {
    if (within_quota && c.left[disk] <= 0) continue;
    if (found != none) {
      const int set_left = c.left_of_set[candidates_[disk].fault_set];
      const int found_set_left = c.left_of_set[candidates_[found].fault_set];
      if (set_left < found_set_left) continue;
      if (set_left == found_set_left && c.left[disk] < c.left[found]) continue;
      const bool same_rank = set_left == found_set_left && c.left[disk] == c.left[found];
      if (same_rank && hash(set, disk) < hash(set, found)) continue;
    }
    if (worst_conflict(set, position, disk) <= level) found = disk;
  }
  return found;
}

// A disk with places left cannot come here; it goes to another set, and a member of that one, whom
// nothing keeps out, comes here.
bool Placer::fill_by_exchange(uint32_t set, int position) {
  const Class& c = class_of(position);
  const uint64_t start = mix64(set);
  for (const int disk : c.disks) {
    if (c.left[disk] <= 0) continue;
    for (uint32_t i = 0; i < request_.set_count; ++i) {
      const auto other = static_cast<uint32_t>((start + i) & (request_.set_count - 1));
      if (other == set) continue;
      for (const int place : c.positions) {
        const int member = sets_[other][place];
        if (member == none || member == disk || worst_conflict(set, position, member) > 0) continue;
        if (worst_conflict(other, place, disk) > 0) continue;
        take(other, place);
        put(other, place, disk);
        put(set, position, member);
        return true;
      }
    }
  }
  return false;
}

bool Placer::fill(uint32_t set, int position) {
  for (int level = 0; level < 3; ++level) {
    int disk = best(set, position, level, true);
    if (disk == none && level == 0 && fault_sets_ >= copies_ && fill_by_exchange(set, position))
      return true;
    if (disk == none) disk = best(set, position, level, false);
    if (disk == none) continue;
    worst_level_ = std::max(worst_level_, level);
    put(set, position, disk);
    return true;
  }
  return false;
}

// Where a vacancy was filled over quota, moves what fits elsewhere.
void Placer::level_out() {
  for (uint32_t set = 0; set < request_.set_count; ++set) {
    for (int position = 0; position < copies_; ++position) {
      const int disk = sets_[set][position];
      Class& c = class_of(position);
      if (disk == none || c.left[disk] >= 0) continue;
      take(set, position);
      const int better = best(set, position, worst_conflict(set, position, disk), true);
      put(set, position, better == none ? disk : better);
    }
  }
}

// Moves the role along a chain of sets from a disk that has too many primaries to one that has too
// few.
bool Placer::shift_primary(int over) {
  const Class& c = class_of(0);
  std::vector<std::pair<uint32_t, int>> came_by(
      candidates_.size(), {0, none});  // set, and the disk that gives up the role there
  std::vector<int> queue{over};
  std::vector<bool> seen(candidates_.size());
  seen[over] = true;
  std::vector<std::vector<uint32_t>> sets_of(candidates_.size());
  for (uint32_t set = 0; set < request_.set_count; ++set)
    if (sets_[set][0] != none) sets_of[sets_[set][0]].push_back(set);
  for (size_t at = 0; at < queue.size(); ++at) {
    const int from = queue[at];
    if (primaries_left_[from] > 0) {
      for (int to = from; to != over;) {
        const auto [set, giver] = came_by[to];
        const auto place = std::find(sets_[set].begin(), sets_[set].end(), to);
        std::iter_swap(sets_[set].begin(), place);
        --primaries_left_[to];
        ++primaries_left_[giver];
        to = giver;
      }
      return true;
    }
    for (const uint32_t set : sets_of[from]) {
      for (const int position : c.positions) {
        const int to = sets_[set][position];
        if (to == none || seen[to]) continue;
        seen[to] = true;
        came_by[to] = {set, from};
        queue.push_back(to);
      }
    }
  }
  return false;
}

void Placer::choose_primaries() {
  const Class& c = class_of(0);
  if (c.positions.size() < 2) return;
  primaries_left_.assign(candidates_.size(), 0);
  std::vector<uint64_t> held(c.disks.size());
  for (size_t i = 0; i < c.disks.size(); ++i)
    for (const auto& members : sets_)
      for (const int position : c.positions) held[i] += members[position] == c.disks[i] ? 1 : 0;
  if (std::accumulate(held.begin(), held.end(), uint64_t{0}) == 0) return;
  const auto quota = apportion(held, request_.set_count);
  for (size_t i = 0; i < c.disks.size(); ++i) primaries_left_[c.disks[i]] = quota[i];
  for (uint32_t set = 0; set < request_.set_count; ++set) {
    auto& members = sets_[set];
    const bool was = set < request_.current.size() && !request_.current[set].empty() &&
                     members[0] != none && request_.current[set][0] == candidates_[members[0]].id;
    int chosen = 0;
    if (!was || primaries_left_[members[0]] <= 0) {
      for (const int position : c.positions) {
        if (members[position] == none) continue;
        if (members[chosen] == none ||
            primaries_left_[members[position]] > primaries_left_[members[chosen]])
          chosen = position;
      }
    }
    std::swap(members[0], members[chosen]);
    if (members[0] != none) --primaries_left_[members[0]];
  }
  for (const int disk : c.disks)
    while (primaries_left_[disk] < 0 && shift_primary(disk)) {
    }
}

std::string Placer::warning() const {
  if (unfilled_ > 0)
    return "too few disks: " + std::to_string(unfilled_) +
           " places of copies are empty; add disks to the placement groups";
  if (worst_level_ == 2)
    return "too few nodes: copies of one object share a node; add disks of other nodes";
  if (worst_level_ == 1)
    return "too few fault sets: copies of one object share a fault set; add disks of other fault "
           "sets";
  if (unusable_percent_ > 10)
    return "fault sets differ too much: " + std::to_string(unusable_percent_) +
           " % of the data cannot be where capacity is, because copies must be in different fault "
           "sets";
  return {};
}

PlacementResult Placer::run() {
  SP_ASSERT(request_.set_count > 0 && (request_.set_count & (request_.set_count - 1)) == 0);
  SP_ASSERT(request_.copies > 0 && request_.copies <= limits::copies_max);
  PlacementResult result;
  collect();
  sets_.assign(request_.set_count, std::vector<int>(request_.copies, none));
  const bool empty =
      std::any_of(classes_.begin(), classes_.end(), [](const Class& c) { return c.disks.empty(); });
  if (!empty) {
    limit_fault_sets();
    for (Class& c : classes_) set_quotas(c);
    keep_current();
    for (uint32_t set = 0; set < request_.set_count; ++set)
      for (int position = 0; position < copies_; ++position)
        if (sets_[set][position] == none && !fill(set, position)) ++unfilled_;
    level_out();
    choose_primaries();
  } else {
    unfilled_ = request_.set_count * request_.copies;
  }
  for (const auto& members : sets_) {
    auto& out = result.sets.emplace_back();
    for (const int disk : members)
      if (disk != none) out.push_back(candidates_[disk].id);
  }
  result.warning = warning();
  return result;
}

}  // namespace

PlacementResult place(const PlacementRequest& request) { return Placer(request).run(); }

}  // namespace sp::map
