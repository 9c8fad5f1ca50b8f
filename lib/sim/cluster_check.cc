// What must hold in a simulated cluster: at every moment, and at rest.
#include <algorithm>
#include <cstdlib>

#include "sim/cluster.h"
#include "store/check.h"

namespace sp::sim {

namespace {

std::string list_text(const char* name, const std::vector<DiskId>& disks) {
  std::string text = std::string(", ") + name;
  for (const DiskId disk : disks) text += " " + std::to_string(disk);
  return text;
}

std::string set_text(const map::DiskSet& row) {
  return "set " + std::to_string(row.id.index) + " epoch " + std::to_string(row.epoch) +
         (row.activated ? " activated" : " not activated") + list_text("acting", row.acting) +
         list_text("recovering", row.recovering) + list_text("base", row.base) +
         list_text("target", row.target);
}

// Where a finding of a check lies.
std::optional<uint64_t> device_offset_in(const std::string& text) {
  constexpr std::string_view words = "device offset ";
  const size_t at = text.find(words);
  if (at == std::string::npos) return std::nullopt;
  return std::strtoull(text.c_str() + at + words.size(), nullptr, 10);
}

}  // namespace

Cluster::Node* Cluster::leader() {
  for (auto& node : nodes) {
    if (node.beacon.up && node.beacon.beacon->view().leads) return &node;
  }
  return nullptr;
}

const map::Map* Cluster::newest_map() const {
  const map::Map* newest = nullptr;
  for (const auto& node : nodes) {
    const map::Map* const map = node.beacon.up ? node.beacon.beacon->map() : nullptr;
    if (map != nullptr && (newest == nullptr || map->index > newest->index)) newest = map;
  }
  return newest;
}

std::string Cluster::check_now() {
  if (const map::Map* const map = timeline ? newest_map() : nullptr) {
    const int64_t us = world.now().ns / 1000;
    std::string fraction = std::to_string(us % 1'000'000);
    fraction.insert(0, 6 - fraction.size(), '0');
    std::string time = std::to_string(us / 1'000'000);
    time.insert(0, 5 - std::min<size_t>(5, time.size()), ' ');
    timeline->see(*map, time + "." + fraction);
  }
  seen_.resize(nodes.size());
  if (setup.leases_hold) {
    if (auto wrong = check_leases(); !wrong.empty()) return "lease: " + wrong;
  }
  if (auto wrong = check_states(); !wrong.empty()) return wrong;
  if (const auto& wrong = history.check()) return "linearizability: " + *wrong;
  for (const auto& process : clients) {
    if (process.work && !process.work->failure().empty())
      return std::string(process.work->checker()) + ": " + process.host->name() + ": " +
             process.work->failure();
  }
  return "";
}

bool Cluster::serves(NodeId id, uint32_t set) const {
  bool found = false;
  if (const auto& process = *nodes[id - 1u].server; process.server)
    process.server->each_served([&](SetId one) { found = found || one.index == set; });
  return found;
}

void Cluster::each_serving(
    const std::function<void(const std::string& name, const map::Map& map)>& look) {
  for (const auto& node : nodes) {
    if (!node.server || !node.server->server) continue;
    bool serves = false;
    node.server->server->each_served([&serves](SetId) { serves = true; });
    if (serves) look(node.server->host->name(), node.server->member->map());
  }
}

// A server that is paused believes as well: it goes on where it stood. To serve begins with an
// event of the server, and ends with one or by time: so only what had events is asked anew, and the
// other one once more when two seem to serve.
std::string Cluster::check_leases() {
  serving_.resize(setup.sets);
  std::string wrong;
  for (const auto& node : nodes) {
    if (!node.server) continue;
    Seen& seen = seen_[node.id - 1u];
    const uint64_t events = node.server->host->events_run();
    if (node.server->server && seen.server_events == events) continue;
    seen.server_events = events;
    for (const uint32_t set : seen.served) {
      if (serving_[set] == node.id) serving_[set] = 0;
    }
    seen.served.clear();
    if (!node.server->server) continue;
    node.server->server->each_served([&](SetId set) {
      seen.served.push_back(set.index);
      NodeId& other = serving_[set.index];
      if (other != 0 && serves(other, set.index))
        wrong = nodes[other - 1u].server->host->name() + " and " + node.server->host->name() +
                " both may serve set " + std::to_string(set.index);
      other = node.id;
    });
  }
  return wrong;
}

void Cluster::note_index(const Node& node) {
  const map::Map* const map = node.beacon.up ? node.beacon.beacon->map() : nullptr;
  if (map != nullptr) newest_index_ = std::max(newest_index_, map->index);
}

std::string Cluster::check_states() {
  for (const auto& node : nodes) {
    note_index(node);
    if (!node.beacon.up || node.beacon.beacon->map() == nullptr) continue;
    const uint64_t events = node.beacon.host->events_run();
    if (std::exchange(seen_[node.id - 1u].beacon_events, events) == events) continue;
    auto wrong = agreement_.look(node.id, *node.beacon.beacon, world.now());
    if (!wrong.empty() && (setup.leases_hold || !wrong.starts_with("leader lease:"))) return wrong;
  }
  return "";
}

std::string Cluster::unsettled() const {
  const map::Map* const map = newest_map();
  if (map == nullptr) return "no beacon runs";
  for (const auto& node : nodes) {
    if (!node.belongs) continue;
    const std::string name = "the beacon of node " + std::to_string(node.id);
    if (!node.beacon.up || !node.beacon.beacon->view().started) return name + " is not up";
    const auto view = node.beacon.beacon->view();
    if (view.leader == 0) return name + " knows no leader";
    const auto row = map->nodes.find(node.id);
    const bool votes = row != map->nodes.end() && row->second.voting;
    if (view.voter != votes) return name + (votes ? " does not vote yet" : " votes");
    if (view.applied_index != map->index)
      return name + " is behind: " + std::to_string(view.applied_index) + " of " +
             std::to_string(map->index);
  }
  for (const auto& [id, disk] : map->disks) {
    if (!map->disk_serves(id)) return "disk " + std::to_string(id) + " is not up: " + disk.failure;
  }
  for (const auto& [id, row] : map->sets) {
    if (!row.activated || row.acting != row.target || !row.recovering.empty())
      return set_text(row) + waiting();
  }
  for (const auto& process : management.processes()) {
    if (!process.up) return process.host->name() + " is not up";
  }
  if (const std::string pending = management.pending(); !pending.empty())
    return "management: " + pending;
  for (const VolumeId volume : volumes) {
    bool at_work = false;
    for (const auto& process : clients)
      at_work = at_work || (process.volume == volume && process.work && !process.fenced);
    if (!at_work) return "volume " + std::to_string(volume) + " is not attached";
  }
  return "";
}

std::string Cluster::unmended() const {
  for (const auto& node : nodes) {
    if (!node.server || !node.server->server) continue;
    for (const DiskId disk : node.server->disks) {
      const store::Store* const store = node.server->server->store(disk);
      if (store == nullptr) continue;
      for (const auto& lost : store->lost(0, 1))
        return "disk " + std::to_string(disk) + " has no content for volume " +
               std::to_string(lost.object.volume) + " block " +
               std::to_string(uint64_t{lost.object.index} * limits::blocks_per_object + lost.block);
    }
  }
  return "";
}

std::string Cluster::waiting() const {
  std::string text;
  for (const auto& node : nodes) {
    if (!node.server || !node.server->server) continue;
    for (const auto& set : node.server->server->make_report().sets) {
      text += "; " + node.server->host->name() + ": set " + std::to_string(set.set.index) +
              " waits for " + set.waits_for;
    }
  }
  return text;
}

std::string Cluster::compare_copies() {
  const map::Map map = *newest_map();
  contents_.clear();
  for (const auto& node : nodes) {
    if (!node.server || !node.server->server) continue;
    for (const DiskId disk : node.server->disks) {
      if (const store::Store* const store = node.server->server->store(disk))
        contents_.emplace(disk, content_of(*store));
    }
  }
  std::map<DiskId, std::vector<SetId>> held;
  for (const auto& [id, row] : map.sets) {
    const std::vector<StoredBlock>* first = nullptr;
    for (const DiskId disk : row.acting) {
      const auto content = contents_.find(disk);
      if (content == contents_.end()) return "disk " + std::to_string(disk) + " is not there";
      held[disk].push_back(id);
      const auto& blocks = content->second.sets[id];
      if (first == nullptr) first = &blocks;
      auto wrong = difference(id, *first, "disk " + std::to_string(row.acting[0]), blocks,
                              "disk " + std::to_string(disk));
      if (!wrong.empty()) return wrong;
    }
  }
  for (const auto& [disk, content] : contents_) {
    for (const auto& [set, blocks] : content.sets) {
      for (const StoredBlock& block : blocks)
        if (map.is_deleted(block.object.volume))
          return "disk " + std::to_string(disk) + " holds blocks of volume " +
                 std::to_string(block.object.volume) + ", which was deleted";
    }
    if (auto wrong = space_difference(content, held[disk]); !wrong.empty())
      return "disk " + std::to_string(disk) + ": " + wrong;
  }
  return "";
}

std::string Cluster::check_disks() {
  for (auto& node : nodes) end_node(node, Death::power);
  for (const auto& node : nodes) {
    if (!node.server) continue;
    for (size_t i = 0; i < node.server->paths.size(); ++i) {
      const std::string& path = node.server->paths[i];
      auto wrong = check_disk(node.server->disks[i], path);
      // One that left with a copy that waited for content gets it no more.
      if (!node.belongs && wrong.find("no copy had its content") != std::string::npos) continue;
      if (!wrong.empty()) return path + ": " + wrong;
    }
  }
  return "";
}

std::string Cluster::check_disk(DiskId id, const std::string& path) {
  auto disk = tools_->host().disks.open(path, {});
  SP_ASSERT(disk.ok());
  std::optional<DiskContent> found;
  std::optional<Result<store::Report>> report;
  store::CheckOptions options;
  options.opened = [&found](const store::Store& store) { found = content_of(store); };
  store::check(tools_->host(), std::move(disk).value(), options,
               [&report](Result<store::Report> made) { report.emplace(std::move(made)); });
  if (!world.run_until([&] { return report.has_value(); }, std::chrono::seconds(600)))
    return "the check does not end";
  if (!report->ok()) return report->error().message();
  for (const auto& finding : (*report)->findings) {
    const auto offset = device_offset_in(finding.place + " " + finding.explanation);
    // What one that lied did not write is not marked as harmed.
    const bool explained = world.disks().forgot(path) ||
                           (offset && world.disks().harmed(path, *offset, limits::block_bytes));
    if (finding.severity == store::Severity::damage && !explained)
      return finding.place + ": " + finding.explanation;
  }
  // One that is harmed may rightly lack what lay there, or not be believed at all.
  if (world.disks().harmed(path)) return "";
  const auto before = contents_.find(id);
  if (before == contents_.end() || !found) return found ? "" : "it cannot be opened";
  return difference_over_stop(before->second, *found);
}

}  // namespace sp::sim
