#include "map/placement.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <set>
#include <string>

#include "base/checksum.h"

namespace sp::map {
namespace {

struct Random {
  uint64_t state;
  uint64_t next(uint64_t below) {
    state = mix64(state);
    return (state >> 8) % below;
  }
};

PlacementRequest request_of(std::vector<PlacementDisk> disks, uint32_t set_count,
                            uint32_t copies = 3) {
  PlacementRequest request;
  request.set_count = set_count;
  request.copies = copies;
  request.group = 1;
  request.all = request.tail = request.head = std::move(disks);
  return request;
}

// nodes x disks_per_node disks; weights between 1 and spread times 1 TB.
std::vector<PlacementDisk> cluster(uint32_t nodes, uint32_t disks_per_node, uint64_t spread,
                                   Random& random) {
  std::vector<PlacementDisk> disks;
  for (uint32_t node = 1; node <= nodes; ++node)
    for (uint32_t d = 0; d < disks_per_node; ++d)
      disks.push_back({static_cast<DiskId>(node * 64 + d), (1 + random.next(spread)) << 40,
                       static_cast<NodeId>(node), "node" + std::to_string(node)});
  return disks;
}

const PlacementDisk& find(const PlacementRequest& request, DiskId id) {
  for (const auto* list : {&request.all, &request.tail, &request.head})
    for (const PlacementDisk& disk : *list)
      if (disk.id == id) return disk;
  throw id;
}

std::map<DiskId, int> loads(const PlacementResult& result) {
  std::map<DiskId, int> load;
  for (const auto& set : result.sets)
    for (const DiskId disk : set) ++load[disk];
  return load;
}

int moved(const PlacementResult& before, const PlacementResult& after) {
  int count = 0;
  for (size_t i = 0; i < after.sets.size(); ++i)
    for (const DiskId disk : after.sets[i])
      count +=
          std::find(before.sets[i].begin(), before.sets[i].end(), disk) == before.sets[i].end();
  return count;
}

void check_apart(const PlacementRequest& request, const PlacementResult& result) {
  bool apart = true, whole = result.sets.size() == request.set_count;
  for (const auto& set : result.sets) {
    std::set<std::string> fault_sets;
    for (const DiskId disk : set) fault_sets.insert(find(request, disk).fault_set);
    apart = apart && fault_sets.size() == set.size();
    whole = whole && set.size() == request.copies;
  }
  CHECK(apart);
  CHECK(whole);
}

// Every disk within 2 % of its share, or as near as whole sets allow; `places` of each set count.
void check_shares(const PlacementRequest& request, const PlacementResult& result) {
  double total = 0;
  for (const PlacementDisk& disk : request.all) total += static_cast<double>(disk.weight);
  auto load = loads(result);
  for (const PlacementDisk& disk : request.all) {
    const double ideal =
        static_cast<double>(disk.weight) / total * request.set_count * request.copies;
    CHECK(std::abs(load[disk.id] - ideal) <= std::max(1.0, 0.02 * ideal));
  }
}

}  // namespace

TEST_CASE(
    "random clusters get copies in different fault sets, by capacity, with primaries as evenly") {
  Random random{1};
  for (int round = 0; round < 60; ++round) {
    CAPTURE(round);
    const auto nodes = static_cast<uint32_t>(6 + random.next(8));
    auto request = request_of(cluster(nodes, static_cast<uint32_t>(1 + random.next(8)), 1, random),
                              256u << random.next(3));
    for (auto& disk : request.all)
      disk.weight += random.next(disk.weight / 2);  // no node above a third
    request.tail = request.head = request.all;
    const auto result = place(request);
    CHECK_EQ(result.warning, "");
    check_apart(request, result);
    check_shares(request, result);
    std::map<DiskId, int> primaries;
    for (const auto& set : result.sets) ++primaries[set[0]];
    const auto load = loads(result);
    for (const auto& [disk, count] : load) {
      const double ideal = count / 3.0;
      CHECK(std::abs(primaries[disk] - ideal) <= std::max(1.0, 0.03 * ideal));
    }
  }
}

TEST_CASE("placing again moves nothing, and equal requests give equal placements") {
  Random random{2};
  auto request = request_of(cluster(7, 4, 3, random), 512);
  const auto first = place(request);
  CHECK(place(request).sets == first.sets);
  request.current = first.sets;
  CHECK(place(request).sets == first.sets);
}

TEST_CASE("a new disk takes its share and little else moves") {
  Random random{3};
  for (int round = 0; round < 20; ++round) {
    CAPTURE(round);
    auto request =
        request_of(cluster(static_cast<uint32_t>(5 + random.next(4)), 3, 1, random), 1024);
    const auto before = place(request);
    request.all.push_back({4000, uint64_t{1} << 40, 3, "node3"});
    request.tail = request.head = request.all;
    request.current = before.sets;
    const auto after = place(request);
    check_apart(request, after);
    check_shares(request, after);
    const int share = loads(after)[4000];
    CHECK(share > 0);
    CHECK(moved(before, after) <= share + share / 4);
  }
}

TEST_CASE("a removed disk moves only what it held") {
  Random random{4};
  for (int round = 0; round < 20; ++round) {
    CAPTURE(round);
    auto request =
        request_of(cluster(static_cast<uint32_t>(6 + random.next(4)), 4, 1, random), 1024);
    const auto before = place(request);
    const DiskId gone = request.all[random.next(request.all.size())].id;
    std::erase_if(request.all, [gone](const PlacementDisk& disk) { return disk.id == gone; });
    request.tail = request.head = request.all;
    request.current = before.sets;
    const auto after = place(request);
    check_apart(request, after);
    check_shares(request, after);
    const int held = loads(before)[gone];
    CHECK(moved(before, after) <= held + held / 4);
  }
}

TEST_CASE(
    "a fault set that is too large is held to one copy of each set, and the warning says so") {
  std::vector<PlacementDisk> disks;
  for (NodeId node = 1; node <= 4; ++node)
    disks.push_back({node, (node == 1 ? uint64_t{10} : 1) << 40, node, "f" + std::to_string(node)});
  const auto request = request_of(disks, 256);
  const auto result = place(request);
  check_apart(request, result);
  auto load = loads(result);
  CHECK_EQ(load[1], 256);
  CHECK(std::abs(load[2] - 512 / 3) <= 1);
  CHECK(result.warning.find("fault sets differ") != std::string::npos);
}

TEST_CASE("too few fault sets, nodes or disks are served as well as can be, with a warning") {
  std::vector<PlacementDisk> disks;
  for (DiskId id = 1; id <= 6; ++id)
    disks.push_back(
        {id, uint64_t{1} << 40, static_cast<NodeId>((id + 1) / 2), id <= 4 ? "a" : "b"});
  auto request = request_of(disks, 64);
  auto result = place(request);
  request.current = result.sets;
  CHECK(place(request).sets == result.sets);
  CHECK(result.warning.find("too few fault sets") != std::string::npos);
  for (const auto& set : result.sets)
    CHECK_EQ(std::set<int>({(set[0] + 1) / 2, (set[1] + 1) / 2, (set[2] + 1) / 2}).size(), 3);
  for (auto& disk : disks) disk.node = 1, disk.fault_set = "a";
  result = place(request_of(disks, 64));
  CHECK(result.warning.find("too few nodes") != std::string::npos);
  for (const auto& set : result.sets) CHECK_EQ(std::set<DiskId>(set.begin(), set.end()).size(), 3);
  disks.resize(2);
  result = place(request_of(disks, 64));
  CHECK(result.warning.find("too few disks") != std::string::npos);
  for (const auto& set : result.sets) CHECK_EQ(set.size(), 2);
  result = place(request_of({}, 64));
  CHECK(result.warning.find("too few disks") != std::string::npos);
  CHECK_EQ(result.sets.size(), 64);
  disks = {{1, 0, 1, "a"}, {2, 1, 2, "b"}};
  for (const auto& set : place(request_of(disks, 64, 1)).sets) CHECK(set == std::vector<DiskId>{2});
}

TEST_CASE("primaries come from the tail group, the last copy from the head group, all apart") {
  Random random{5};
  auto request = request_of(cluster(6, 6, 1, random), 512);
  const auto pick = [&request](uint32_t from, uint32_t to) {
    std::vector<PlacementDisk> out;
    for (const PlacementDisk& disk : request.all)
      if (disk.id % 64 >= from && disk.id % 64 < to) out.push_back(disk);
    return out;
  };
  request.tail = pick(0, 2), request.head = pick(2, 4), request.all = pick(4, 6);
  const auto result = place(request);
  CHECK_EQ(result.warning, "");
  check_apart(request, result);
  for (const auto& set : result.sets) {
    CHECK(set[0] % 64 < 2);
    CHECK((set[2] % 64 >= 2 && set[2] % 64 < 4));
    CHECK(set[1] % 64 >= 4);
  }
  const auto load = loads(result);
  for (const auto& [disk, count] : load) CHECK(std::abs(count - 512.0 / 12) <= 1.0);
}

TEST_CASE("sets of one disk use many different partners, so that its recovery reads from many") {
  Random random{6};
  const auto result = place(request_of(cluster(8, 4, 1, random), 1024));
  std::set<DiskId> partners;
  for (const auto& set : result.sets)
    if (std::find(set.begin(), set.end(), 65) != set.end()) partners.insert(set.begin(), set.end());
  CHECK(partners.size() > 20);
}

}  // namespace sp::map
