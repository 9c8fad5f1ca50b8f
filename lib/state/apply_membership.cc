// Nodes, services and disks: who is up. Who belongs to the cluster: apply_nodes.cc.
#include <algorithm>

#include "base/client_id.h"
#include "base/planted.h"
#include "map/set_rules.h"
#include "state/apply.h"

namespace sp::state {
namespace {

using namespace sp::map;

std::string disk_text(DiskId id) { return "disk " + std::to_string(id); }

// The active management service stays while it is up; then it is the one with the lowest id.
void choose_mgmt(Draft& draft) {
  const auto& services = draft.map().services;
  const auto& active = draft.map().cluster.active_mgmt;
  const auto is_up = [&services](ServiceId id) {
    const auto found = services.find(id);
    return found != services.end() && found->second.up;
  };
  if (active && is_up(*active)) return;
  std::optional<ServiceId> chosen;
  for (const auto& [id, service] : services)
    if (!chosen && id.kind == ServiceKind::mgmt && service.up) chosen = id;
  if (chosen != active) draft.edit_cluster().active_mgmt = chosen;
}

// Marks as down all disks that are up and for which `concerned` holds, and tells the sets.
template <class F>
void take_disks_down(Draft& draft, F concerned) {
  std::set<DiskId> gone;
  for (const auto& [id, disk] : draft.map().disks)
    if (disk.up && concerned(disk)) gone.insert(id);
  for (const DiskId id : gone) draft.edit<Disk>(id).up = false;
  disks_went_down(draft, gone);
}

// Enters what the server says of a disk that it holds, and that is down until now. False: it is
// refused, and its row says why.
bool enter_disk(Draft& draft, ServiceId server, const Disk& seen) {
  const Disk* known = draft.find<Disk>(seen.id);
  const bool another = known != nullptr && known->uuid != seen.uuid;
  if (another && !SP_PLANTED_BUG(state_believes_wiped_disk)) {
    if (const std::string lost = replace_disk(draft, seen.id); !lost.empty()) {
      draft.edit<Disk>(seen.id).failure =
          "lost: it held the only complete copy of " + lost + ", and what is in " + text(server) +
          " (" + seen.device +
          ") under its id is another disk; bring the right one back, and give " +
          "that one another id";
      return false;
    }
  }
  const std::string description = known != nullptr ? known->description : seen.description;
  Disk& row = draft.edit<Disk>(seen.id);
  row = seen;
  row.server = server;
  row.up = true;
  row.failure.clear();
  row.description = description;
  return true;
}

// A disk with the id of one that another server has in use, and that is not that one: somebody gave
// an id twice. The one in use stays.
bool is_double(const Draft& draft, ServiceId server, const Disk& seen) {
  const Disk* known = draft.find<Disk>(seen.id);
  return known != nullptr && known->up && known->server != server && known->uuid != seen.uuid;
}

Status check_disk(const Disk& disk) {
  if (disk.id == 0 || disk.id >= limits::disks_max)
    return Error(Code::invalid, disk_text(disk.id) + ": ids are 1 to 4095");
  return {};
}

// Clients that attached for themselves and are gone with all their attachments leave no row.
void forget_clients(Draft& draft, NodeId node) {
  std::set<ClientId> attached;
  for (const auto& [key, row] : draft.map().attachments) attached.insert(row.client);
  std::vector<ServiceId> gone;
  for (const auto& [id, service] : draft.map().services) {
    const bool own = id.kind == ServiceKind::client && id.node == node && id.instance > 1;
    if (own && !service.up && !attached.contains(client_of(id.node, id.instance)))
      gone.push_back(id);
  }
  for (const ServiceId id : gone) draft.erase<Service>(id);
}

Status check_service(const Draft& draft, const Service& service) {
  const ServiceId id = service.id;
  const uint8_t instances = id.kind == ServiceKind::server   ? limits::servers_per_node_max
                            : id.kind == ServiceKind::client ? client_instance_max
                                                             : 1;
  if (id.instance == 0 || id.instance > instances)
    return Error(Code::invalid, text(id) + ": instances are 1 to " + std::to_string(instances));
  const Node* node = draft.find<Node>(id.node);
  if (node == nullptr) return no_node(id.node);
  if (!node->up)
    return Error(Code::transient, text(id) + ": its node is down; its beacon registers it first");
  return {};
}

// The server that a report of `start_id` about the disk must come from.
Status check_reporter(const Draft& draft, DiskId disk, ServiceId server, uint64_t start_id) {
  const Service* service = draft.find<Service>(server);
  if (service == nullptr || !service->up || service->start_id != start_id)
    return Error(Code::stale,
                 disk_text(disk) + ": the report is of an earlier start of " + text(server));
  return {};
}

// The same start of a server registers again: it has opened or given up disks, or its beacon tells
// twice. A disk that it has reported as failed comes back by DiskReturned only.
Status update_disks(Draft& draft, const ServiceUp& command) {
  const ServiceId id = command.service.id;
  std::set<DiskId> named, entered;
  for (const Disk& disk : command.disks) {
    named.insert(disk.id);
    const Disk* row = draft.find<Disk>(disk.id);
    const bool same = row != nullptr && row->uuid == disk.uuid && row->server == id;
    if ((same && (row->up || !row->failure.empty())) || is_double(draft, id, disk)) continue;
    take_disks_down(draft, [&disk](const Disk& other) { return other.id == disk.id; });
    if (enter_disk(draft, id, disk)) entered.insert(disk.id);
  }
  take_disks_down(draft,
                  [&](const Disk& disk) { return disk.server == id && !named.contains(disk.id); });
  disks_came_up(draft, entered);
  return {};
}

}  // namespace

Status apply_one(Draft& draft, const NodeUp& command) {
  if (draft.find<Node>(command.node) == nullptr) return no_node(command.node);
  draft.edit<Node>(command.node).up = true;
  return {};
}

Status apply_one(Draft& draft, const NodeDown& command) {
  if (draft.find<Node>(command.node) == nullptr) return no_node(command.node);
  draft.edit<Node>(command.node).up = false;
  std::vector<ServiceId> gone;
  for (const auto& [id, service] : draft.map().services)
    if (id.node == command.node && service.up) gone.push_back(id);
  for (const ServiceId id : gone) draft.edit<Service>(id).up = false;
  take_disks_down(draft, [&command](const Disk& disk) { return disk.server.node == command.node; });
  choose_mgmt(draft);
  return {};
}

Status apply_one(Draft& draft, const ServiceUp& command) {
  const ServiceId id = command.service.id;
  SP_CHECK(check_service(draft, command.service));
  if (!command.disks.empty() && id.kind != ServiceKind::server)
    return Error(Code::invalid, text(id) + " is no server and cannot hold disks");
  std::set<DiskId> held;
  for (const Disk& disk : command.disks) {
    SP_CHECK(check_disk(disk));
    if (!held.insert(disk.id).second)
      return Error(Code::invalid, text(id) + " names " + disk_text(disk.id) + " twice");
  }
  const Service* known = draft.find<Service>(id);
  if (known != nullptr && known->up && known->start_id == command.service.start_id)
    return update_disks(draft, command);
  if (known == nullptr && draft.map().services.size() >= limits::services_max)
    return Error(Code::no_space, text(id) + ": there are too many services");
  if (id.kind == ServiceKind::client) forget_clients(draft, id.node);
  Service& row = draft.edit<Service>(id);
  row = command.service;
  row.up = true;
  // Whatever the disks were doing under another process is over, failures that it reported too:
  // this one opens them anew, now or later.
  std::vector<Disk> disks;
  for (const Disk& disk : command.disks) {
    if (is_double(draft, id, disk))
      held.erase(disk.id);
    else
      disks.push_back(disk);
  }
  take_disks_down(draft,
                  [&](const Disk& disk) { return disk.server == id || held.contains(disk.id); });
  std::set<DiskId> failed_before;
  for (const auto& [disk_id, disk] : draft.map().disks)
    if (disk.server == id && !disk.failure.empty()) failed_before.insert(disk_id);
  for (const DiskId disk : failed_before) draft.edit<Disk>(disk).failure.clear();
  std::set<DiskId> entered;
  for (const Disk& disk : disks)
    if (enter_disk(draft, id, disk)) entered.insert(disk.id);
  disks_came_up(draft, entered);
  choose_mgmt(draft);
  return {};
}

Status apply_one(Draft& draft, const ServiceDown& command) {
  const Service* known = draft.find<Service>(command.service);
  if (known == nullptr) return Error(Code::not_found, text(command.service) + " is not known");
  if (!known->up || known->start_id != command.start_id) return {};
  draft.edit<Service>(command.service).up = false;
  take_disks_down(draft, [&command](const Disk& disk) { return disk.server == command.service; });
  choose_mgmt(draft);
  return {};
}

Status apply_one(Draft& draft, const DiskFailed& command) {
  const Disk* known = draft.find<Disk>(command.disk);
  if (known == nullptr) return Error(Code::not_found, disk_text(command.disk) + " is not known");
  SP_CHECK(check_reporter(draft, command.disk, known->server, command.start_id));
  take_disks_down(draft, [&command](const Disk& disk) { return disk.id == command.disk; });
  draft.edit<Disk>(command.disk).failure =
      command.why.empty() ? "retired by its server" : command.why;
  return {};
}

Status apply_one(Draft& draft, const DiskReturned& command) {
  const Disk& seen = command.disk;
  SP_CHECK(check_disk(seen));
  SP_CHECK(check_reporter(draft, seen.id, seen.server, command.start_id));
  const Disk* known = draft.find<Disk>(seen.id);
  if (known != nullptr && known->up && known->server != seen.server)
    return Error(Code::refused, disk_text(seen.id) + " is in use by " + text(known->server) +
                                    "; that one lets go of it first");
  take_disks_down(draft, [&seen](const Disk& disk) { return disk.id == seen.id; });
  if (!enter_disk(draft, seen.server, seen))
    return Error(Code::refused, disk_text(seen.id) + ": " + draft.find<Disk>(seen.id)->failure);
  disks_came_up(draft, {seen.id});
  return {};
}

Status apply_one(Draft& draft, const DescribeDisk& command) {
  if (draft.find<Disk>(command.disk) == nullptr)
    return Error(Code::not_found, disk_text(command.disk) + " is not known");
  const auto allowed = [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' ||
           c == '-' || c == ' ';
  };
  const std::string& given = command.description;
  if (given.size() > 30 || !std::all_of(given.begin(), given.end(), allowed))
    return Error(Code::invalid, disk_text(command.disk) +
                                    ": a description is up to 30 letters, digits, spaces and _ -");
  draft.edit<Disk>(command.disk).description = given;
  return {};
}

Status apply_one(Draft& draft, const ForgetDisk& command) {
  const DiskId id = command.disk;
  const Disk* known = draft.find<Disk>(id);
  if (known == nullptr) return Error(Code::not_found, disk_text(id) + " is not known");
  if (known->up)
    return Error(Code::refused, disk_text(id) + " is up; eject it from its server first");
  std::set<std::string> groups;
  for (const auto& [name, group] : draft.map().placement_groups)
    if (group.disks.contains(id)) groups.insert(name);
  for (const auto& [name, row] : draft.map().templates)
    for (const auto& group : placement_groups_of(row))
      if (groups.contains(group) && draft.find<PlacementGroup>(group)->disks.size() == 1)
        return Error(Code::refused, disk_text(id) + " is the only one of placement group '" +
                                        group + "', which template '" + name +
                                        "' uses; add another first");
  const DiskUp up = [&draft](DiskId disk) {
    return draft.find<Disk>(disk) != nullptr && draft.find<Disk>(disk)->up;
  };
  for (const std::string& name : groups) draft.edit<PlacementGroup>(name).disks.erase(id);
  std::vector<SetEvent> events;
  for (const auto& [set_id, set] : draft.map().sets) {
    const bool in_base = std::find(set.base.begin(), set.base.end(), id) != set.base.end();
    const bool in_target = std::find(set.target.begin(), set.target.end(), id) != set.target.end();
    if (!in_base && !in_target) continue;
    SetEvent event = forget(set, id, up);
    if (!event.changed)
      return Error(Code::refused, disk_text(id) + " has the only complete copy of " + text(set_id) +
                                      "; its data would be lost: bring the disk back");
    events.push_back(std::move(event));
  }
  for (const SetEvent& event : events) draft.edit<DiskSet>(event.set.id) = event.set;
  place_groups_of(draft, groups);
  draft.erase<Disk>(id);
  return {};
}

}  // namespace sp::state
