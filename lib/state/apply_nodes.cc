// Who belongs to the cluster: nodes that come, go and vote, and the level of features that all of
// them support.
#include <algorithm>

#include "base/client_id.h"
#include "base/planted.h"
#include "base/probe.h"
#include "state/apply.h"

namespace sp::state {
namespace {

using namespace sp::map;

std::string node_text(NodeId id) { return "node " + std::to_string(id); }

// "3, 5, 8 and 4 more"
class Listed {
 public:
  void add(const std::string& what) {
    if (++count_ <= named_max) text_ += (text_.empty() ? "" : ", ") + what;
  }
  bool empty() const { return count_ == 0; }
  std::string text() const {
    return text_ +
           (count_ > named_max ? " and " + std::to_string(count_ - named_max) + " more" : "");
  }

 private:
  static constexpr size_t named_max = 8;
  size_t count_ = 0;
  std::string text_;
};

Status check_node(const Draft& draft, const Node& given) {
  if (given.id == 0 || given.id > limits::nodes_max)
    return Error(Code::invalid, node_text(given.id) + ": ids are 1 to 63");
  SP_CHECK(check_name("node", given.name, NameStyle::dotted));
  if (!given.fault_set.empty())
    SP_CHECK(check_name("fault set", given.fault_set, NameStyle::plain));
  for (const auto& [id, node] : draft.map().nodes)
    if (id != given.id && node.name == given.name)
      return Error(Code::exists, "node name '" + given.name + "' is that of " + node_text(id) +
                                     "; names are unique");
  return {};
}

// Why a disk of a node that leaves may not be forgotten with it, or nothing.
std::string use_of(const Draft& draft, DiskId disk) {
  const auto has = [disk](const std::vector<DiskId>& list) {
    return std::find(list.begin(), list.end(), disk) != list.end();
  };
  for (const auto& [name, group] : draft.map().placement_groups)
    if (group.disks.contains(disk)) return "in placement group '" + name + "'";
  for (const auto& [id, set] : draft.map().sets)
    if (has(set.acting) || has(set.recovering) || has(set.base) || has(set.target))
      return "in " + text(id);
  return {};
}

bool is_last_voter(const Draft& draft, NodeId id) {
  const auto& nodes = draft.map().nodes;
  const bool others = std::any_of(nodes.begin(), nodes.end(), [id](const auto& row) {
    return row.first != id && row.second.voting;
  });
  return nodes.at(id).voting && !others;
}

// Why the node may not leave, or nothing.
Status check_leaving(const Draft& draft, NodeId id) {
  const Map& map = draft.map();
  const std::string who = node_text(id) + " cannot be removed: ";
  Listed services, disks, volumes;
  for (const auto& [service, row] : map.services)
    if (service.node == id && row.up) services.add(text(service));
  if (!services.empty())
    return Error(Code::refused, who + services.text() + " run there; stop them first");
  for (const auto& [disk, row] : map.disks) {
    if (row.server.node != id) continue;
    const std::string use = use_of(draft, disk);
    if (!use.empty()) disks.add("disk " + std::to_string(disk) + " (" + use + ")");
  }
  if (!disks.empty() && !SP_PLANTED_BUG(state_removes_node_with_disks))
    return Error(Code::refused,
                 who + "it holds " + disks.text() +
                     "; take its disks out of their placement groups and wait until their sets "
                     "have moved, or forget those that are lost");
  for (const auto& [key, row] : map.attachments)
    if (service_of_client(row.client).node == id) volumes.add(std::to_string(row.volume));
  if (!volumes.empty())
    return Error(Code::refused,
                 who + "volumes ~" + volumes.text() + " are attached there; detach them first");
  if (is_last_voter(draft, id))
    return Error(Code::refused, who + "it is the last one that votes; let another one vote first");
  return {};
}

}  // namespace

Status apply_one(Draft& draft, const InitCluster& command) {
  const Cluster& now = draft.map().cluster;
  if (now.id != 0)
    return Error(Code::exists, "the cluster '" + now.name + "' is initialised already");
  if (command.id == 0) return Error(Code::invalid, "the cluster id must not be zero; draw another");
  SP_CHECK(check_name("cluster", command.name, NameStyle::dotted));
  Cluster& cluster = draft.edit_cluster();
  cluster.id = command.id;
  cluster.name = command.name;
  return {};
}

Status apply_one(Draft& draft, const PutNode& command) {
  const Node& given = command.node;
  SP_CHECK(check_node(draft, given));
  if (draft.find<RemovedNode>(given.id) != nullptr && !SP_PLANTED_BUG(state_puts_removed_nodes))
    return Error(Code::refused, node_text(given.id) +
                                    " was removed from the cluster; take it out " +
                                    "of sp.toml, or bring it back with 'sp-node add'");
  const Node* known = draft.find<Node>(given.id);
  const bool moved = known != nullptr && known->fault_set != given.fault_set;
  const bool was_up = known != nullptr && known->up;
  const bool agreed = known != nullptr && draft.map().cluster.feature_level >= 2;
  const bool voting = agreed ? known->voting : given.voting;
  Node& row = draft.edit<Node>(given.id);
  row = given;
  row.up = was_up;
  row.voting = voting;
  if (moved) place_all_groups(draft);
  return {};
}

Status apply_one(Draft& draft, const AddNode& command) {
  const Node& given = command.node;
  SP_CHECK(check_node(draft, given));
  if (draft.find<Node>(given.id) != nullptr)
    return Error(Code::exists, node_text(given.id) + " belongs to the cluster already");
  if (draft.find<RemovedNode>(given.id) != nullptr) draft.erase<RemovedNode>(given.id);
  Node& row = draft.edit<Node>(given.id);
  row = given;
  row.up = false;
  return {};
}

Status apply_one(Draft& draft, const RemoveNode& command) {
  const NodeId id = command.node;
  const Node* known = draft.find<Node>(id);
  if (known == nullptr) return no_node(id);
  SP_CHECK(check_leaving(draft, id));
  std::vector<DiskId> disks;
  for (const auto& [disk, row] : draft.map().disks)
    if (row.server.node == id) disks.push_back(disk);
  std::vector<ServiceId> services;
  for (const auto& [service, row] : draft.map().services)
    if (service.node == id) services.push_back(service);
  for (const DiskId disk : disks) draft.erase<Disk>(disk);
  for (const ServiceId service : services) draft.erase<Service>(service);
  draft.edit<RemovedNode>(id) = {id, known->name, known->address};
  draft.erase<Node>(id);
  SP_PROBE(state_node_removed);
  return {};
}

Status apply_one(Draft& draft, const SetNodeVoting& command) {
  const Node* known = draft.find<Node>(command.node);
  if (known == nullptr) return no_node(command.node);
  if (!command.voting && is_last_voter(draft, command.node))
    return Error(Code::refused, node_text(command.node) +
                                    " is the last one that votes; let another one vote first");
  if (known->voting != command.voting) draft.edit<Node>(command.node).voting = command.voting;
  return {};
}

// That every node supports the level is checked by the leading beacon before it proposes this.
Status apply_one(Draft& draft, const RaiseFeatureLevel& command) {
  const uint32_t now = draft.map().cluster.feature_level;
  if (command.level == now)
    return Error(Code::exists, "the feature level is " + std::to_string(now) + " already");
  if (command.level < now)
    return Error(Code::refused, "the feature level is " + std::to_string(now) +
                                    " and is never lowered: what it brought may be in use");
  draft.edit_cluster().feature_level = command.level;
  return {};
}

}  // namespace sp::state
