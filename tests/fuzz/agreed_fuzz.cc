// Fuzz target of what is agreed on: the first byte picks a parser, the rest is its input. Commands,
// maps, changes of maps, envelopes and messages of the agreement group have to be refused, or to
// come out as the same bytes. The last parser applies a list of commands, each behind its length
// (2 bytes), to the state of a small cluster: a refused one has to leave it as it was, each layer
// has to count who has it, and the state has to be the same after a snapshot was taken and
// restored. The replay fails when there is a command, or a table of the map, that no input has.
#include "beacon/consensus.h"
#include "fuzz/parsers.h"
#include "map/command.h"
#include "map/map.h"
#include "raft/message.h"
#include "state/state.h"

namespace {

using namespace sp;
using test::require;
using test::require_same;
using test::same_again;

// Bit n: the nth alternative of Command was applied; table n had a row.
uint64_t commands_applied = 0, tables_seen = 0;

bool command(Bytes input) {
  return same_again(input, map::decode(input),
                    [](const map::Command& value) { return map::encode(value); });
}

bool map_whole(Bytes input) {
  auto value = map::decode_map(input);
  if (!value) return false;
  require_same(input, map::encode(*value, true));
  for (const map::Change& row : map::rows(*value)) {
    require(map::apply(*value, row));
    tables_seen |= uint64_t{1} << static_cast<unsigned>(row.table);
  }
  require_same(input, map::encode(*value, true));
  return true;
}

// Some changes on an empty map; rows that were accepted come out again.
bool map_changes(Bytes input) {
  map::Map map;
  Reader in(input);
  bool any = false;
  while (auto change = map::decode_change(in)) {
    Writer out;
    map::encode(out, *change);
    (void)map::row_hash(*change);
    any |= map::apply(map, *change);
  }
  require(map::decode_map(map::encode(map, true)).has_value());
  return any;
}

bool raft_message(Bytes input) {
  const auto message = raft::Message::decode(input);
  if (message.ok()) require_same(input, message->encode());
  return message.ok();
}

bool raft_config(Bytes input) {
  const auto config = raft::Config::decode_all(input);
  if (config.ok()) require_same(input, config->encoded());
  return config.ok();
}

bool envelope(Bytes input) {
  return same_again(input, beacon::decode_envelope(input),
                    [](const beacon::Envelope& value) { return beacon::encode(value); });
}

std::vector<map::Command> founding() {
  std::vector<map::Command> commands{map::InitCluster{7, "c"}};
  map::UpdatePlacementGroup group;
  group.name = "all";
  for (NodeId node = 1; node <= 4; ++node) {
    map::PutNode put;
    put.node.id = node;
    put.node.name = "n" + std::to_string(node);
    map::ServiceUp up;
    up.service.id = {ServiceKind::server, node, 1};
    up.service.start_id = node;
    for (uint16_t i = 0; i < 2; ++i) {
      map::Disk disk;
      disk.id = static_cast<DiskId>(node * 10 + i);
      disk.server = up.service.id;
      disk.uuid = disk.id;
      disk.capacity_bytes = uint64_t{1} << 40;
      up.disks.push_back(disk);
      group.add.push_back(disk.id);
    }
    commands.emplace_back(put);
    commands.emplace_back(map::NodeUp{node});
    commands.emplace_back(up);
  }
  map::PutTemplate put;
  put.row.name = "t";
  put.row.place_all = "all";
  put.set_count = 4;
  map::CreateVolume volume;
  volume.name = "v";
  volume.size_bytes = 1 << 20;
  volume.template_name = "t";
  map::ServiceUp client;
  client.service.id = {ServiceKind::client, 1, 1};
  client.service.start_id = 9;
  for (map::Command& next : std::vector<map::Command>{group, put, volume, client})
    commands.push_back(std::move(next));
  return commands;
}

std::unique_ptr<state::State> empty_state() {
  auto opened = state::State::open(":memory:");
  require(opened.ok());
  return std::move(opened).value();
}

// Whoever has a layer is counted there, and nobody else; one that nobody needs is not kept.
void check_layers(const map::Map& map) {
  std::map<VolumeId, std::pair<uint32_t, uint32_t>> counts;
  for (const auto& [volume, row] : map.lineages) {
    require(map.volumes.count(volume) == 1);
    ++counts[row.layer].first;
  }
  for (const auto& [id, row] : map.layers)
    if (row.parent != 0) ++counts[row.parent].second;
  require(counts.size() == map.layers.size());
  for (const auto& [id, row] : map.layers) {
    const auto count = counts.find(id);
    require(count != counts.end());
    require(count->second == std::pair(row.holders, row.children));
    require(!map.is_deleted(id));
  }
}

bool apply_all(Bytes input) {
  static const std::vector<std::byte> founded = [] {
    const auto state = empty_state();
    uint64_t index = 0;
    for (const map::Command& next : founding()) {
      require(state->apply(++index, next).status.ok());
      commands_applied |= uint64_t{1} << next.index();
    }
    return state->snapshot();
  }();
  static const std::unique_ptr<state::State> state = empty_state();
  static const std::unique_ptr<state::State> other = empty_state();
  require(state->restore(founded).ok());
  uint64_t index = state->applied_index();
  bool any = false;
  Reader in(input);
  for (int count = 0; count < 64 && !in.rest().empty(); ++count) {
    const auto next =
        map::decode(in.raw(std::min<size_t>(in.number<uint16_t>(), in.rest().size())));
    if (!next) continue;
    const uint64_t before = state->content_hash();
    const state::Applied applied = state->apply(++index, *next);
    any |= applied.status.ok();
    if (applied.status.ok())
      commands_applied |= uint64_t{1} << next->index();
    else
      require(applied.changes.empty() && state->content_hash() == before &&
              !applied.status.error().message().empty());
  }
  check_layers(state->map());
  require(other->restore(state->snapshot()).ok());
  require(other->content_hash() == state->content_hash() &&
          other->applied_index() == state->applied_index());
  return any;
}

constexpr test::Parser parsers[] = {command,     map_whole, map_changes, raft_message,
                                    raft_config, envelope,  apply_all};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  return sp::test::run_one(parsers, data, size);
}
// Of replay.cc. Behind the parsers, commands count from 100, and tables from 200.
extern int (*fuzz_unreached)();
int (*fuzz_unreached)() = [] {
  using namespace sp;
  if (const int parser = test::first_unreached(parsers); parser >= 0) return parser;
  for (int i = 0; i < static_cast<int>(std::variant_size_v<map::Command>); ++i)
    if ((commands_applied >> i & 1) == 0) return 100 + i;
  for (int i = static_cast<int>(map::Table::cluster); i <= static_cast<int>(map::Table::cut); ++i)
    if ((tables_seen >> i & 1) == 0) return 200 + i;
  return -1;
};
