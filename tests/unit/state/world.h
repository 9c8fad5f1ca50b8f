// A small cluster for tests of the state: commands with sensible defaults, and one instance they
// are applied to.
#pragma once
#include <doctest/doctest.h>

#include <memory>
#include <string>

#include "map/set_rules.h"
#include "state/state.h"

namespace sp::state::test {

inline map::Disk disk(DiskId id, ServiceId server = {}) {
  map::Disk row;
  row.id = id;
  row.server = server;
  row.uuid = 1000u + id;
  row.capacity_bytes = uint64_t{1} << 40;
  row.device = "/dev/d" + std::to_string(id);
  return row;
}

inline ServiceId server(NodeId node) { return {ServiceKind::server, node, 1}; }

inline map::ServiceUp service_up(ServiceId id, uint64_t start_id,
                                 std::vector<map::Disk> disks = {}) {
  map::ServiceUp command;
  command.service.id = id;
  command.service.start_id = start_id;
  command.disks = std::move(disks);
  return command;
}

inline map::PutNode put_node(NodeId id) {
  map::PutNode command;
  command.node.id = id;
  command.node.name = "n" + std::to_string(id);
  return command;
}

inline map::PutTemplate put_template(const std::string& name, uint32_t set_count = 16) {
  map::PutTemplate command;
  command.row.name = name;
  command.row.place_all = "ssd";
  command.set_count = set_count;
  return command;
}

inline map::CreateVolume create_volume(const std::string& name,
                                       const std::string& template_name = "t") {
  map::CreateVolume command;
  command.name = name;
  command.size_bytes = 1u << 20;
  command.template_name = template_name;
  return command;
}

inline map::Reassign reassign(VolumeId volume, std::vector<ClientId> read_write,
                              std::vector<ClientId> detach = {}, bool force = false) {
  map::Reassign command;
  command.force = force;
  map::Reassignment one;
  one.volume = volume;
  one.read_write = std::move(read_write);
  one.detach = std::move(detach);
  command.volumes.push_back(std::move(one));
  return command;
}

// The commands that make a cluster of `nodes` nodes, each with a server of two disks (10 * node,
// and the next), group "ssd" and template "t".
inline std::vector<map::Command> founding(NodeId nodes = 4, uint32_t set_count = 16) {
  std::vector<map::Command> commands{map::InitCluster{7, "c"}};
  map::UpdatePlacementGroup group;
  group.name = "ssd";
  for (NodeId node = 1; node <= nodes; ++node) {
    const auto first = static_cast<DiskId>(node * 10), second = static_cast<DiskId>(node * 10 + 1);
    commands.emplace_back(put_node(node));
    commands.emplace_back(map::NodeUp{node});
    commands.emplace_back(
        service_up(server(node), node, {disk(first, server(node)), disk(second, server(node))}));
    group.add.push_back(first);
    group.add.push_back(second);
  }
  commands.emplace_back(group);
  commands.emplace_back(put_template("t", set_count));
  return commands;
}

class World {
 public:
  explicit World(NodeId nodes = 4, uint32_t set_count = 16)
      : state_(std::move(State::open(":memory:")).value()) {
    for (const map::Command& command : founding(nodes, set_count)) done(command);
  }
  Applied apply(const map::Command& command) {
    Applied applied = state_->apply(state_->applied_index() + 1, command);
    for (const auto& [id, set] : map().sets) {
      if (std::string wrong = map::check_set(set); !wrong.empty()) FAIL(wrong);
    }
    return applied;
  }
  void done(const map::Command& command) {
    const Applied applied = apply(command);
    INFO(map::name(command));
    if (!applied.status.ok()) FAIL(applied.status.error().message());
  }
  // The command is refused with this code, a message that holds `part`, and leaves no trace.
  void refused(const map::Command& command, Code code, const std::string& part) {
    const uint64_t hash = state_->content_hash();
    const auto before = map::encode(map(), true);
    const Applied applied = apply(command);
    CAPTURE(map::name(command));
    CAPTURE(part);
    REQUIRE_FALSE(applied.status.ok());
    CHECK_EQ(code_name(applied.status.error().code()), code_name(code));
    CHECK_MESSAGE(applied.status.error().message().find(part) != std::string::npos,
                  applied.status.error().message());
    CHECK(applied.changes.empty());
    CHECK_EQ(state_->content_hash(), hash);
    auto after = map();
    --after.index;
    CHECK(map::encode(after, true) == before);
  }
  const map::Map& map() const { return state_->map(); }
  State& state() { return *state_; }
  const map::DiskSet& set(uint16_t index = 0) const { return map().sets.at({1, index}); }

 private:
  std::unique_ptr<State> state_;
};

}  // namespace sp::state::test
