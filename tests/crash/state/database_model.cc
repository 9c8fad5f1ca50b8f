#include "crash/state/database_model.h"

#include "base/checksum.h"
#include "unit/state/world.h"

namespace sp::test {

using namespace sp::map;
using state::test::create_volume;
using state::test::server;
using state::test::service_up;

namespace {

constexpr NodeId failing_node = 1;

DescribeDisk describe(uint64_t n) { return {20, "described " + std::to_string(n)}; }

Command swell(const Map& map, uint64_t n) {
  SetBucket command{"b", {}, {}};
  const bool large = !map.buckets.at("b").pairs.empty();
  for (const char* key : {"x", "y"})
    command.set[key] = large ? std::string() : std::string(6000, static_cast<char>('a' + n % 26));
  return command;
}

}  // namespace

uint64_t print_of(const state::State& state) { return crc64(encode(state.map(), true)); }

uint64_t empty_print() {
  static const uint64_t print = print_of(**state::State::open(""));
  return print;
}

std::unique_ptr<state::State> copy_of(const state::State& state) {
  auto copy = std::move(state::State::open("")).value();
  REQUIRE(copy->restore(state.snapshot()).ok());
  return copy;
}

std::vector<Command> some_of_everything(uint64_t n) {
  const std::string number = std::to_string(n);
  return {SetBucket{"b", {}, {{"x", ""}, {"z", std::string(n % 9000, 'z')}}},
          create_volume("later" + number), NodeDown{2}, DeleteVolume{static_cast<VolumeId>(n % 4)}};
}

void DatabaseRunner::note() {
  const state::State& state = *rig_.state;
  world_.snapshot = state.snapshot();
  const uint64_t print = print_of(state);
  world_.reached.insert(print);
  if (state.database_error().has_value()) {
    world_.under_way.insert(print);
  } else {
    world_.under_way.clear();
    world_.shown = print;
  }
}

bool DatabaseRunner::cut_off() const { return medium_.operations > medium_.stop_at; }

bool DatabaseRunner::apply(const Command& command, bool accepted) {
  const uint64_t index = rig_.state->applied_index() + 1 + world_.next % 2;
  const state::Applied applied = rig_.state->apply(index, command);
  INFO(name(command));
  CHECK_EQ(applied.status.ok(), accepted);
  note();
  return !cut_off();
}

// The disk refuses writes of the first command, which the second one brings along.
bool DatabaseRunner::batch(uint64_t n) {
  medium_.fail_at = medium_.operations + n % 7;
  medium_.fail_count = 1000;
  const bool went_on = apply(create_volume("behind" + std::to_string(n)));
  CHECK(rig_.state->database_error().has_value());
  medium_.fail_at = ~uint64_t{0};
  return went_on && apply(describe(n));
}

bool DatabaseRunner::take_snapshot(uint64_t n) {
  auto newer = copy_of(*rig_.state);
  uint64_t index = newer->applied_index();
  for (int i = 0; i < 3; ++i)
    newer->apply(++index, create_volume("newer" + std::to_string(n) + "_" + std::to_string(i)));
  newer->apply(++index, DeleteVolume{newer->map().volumes.begin()->first});
  REQUIRE(rig_.state->restore(newer->snapshot()).ok());
  note();
  return !cut_off();
}

bool DatabaseRunner::opened(const Status& status) {
  if (!status.ok() && !cut_off()) FAIL(status.error().message());
  return !cut_off();
}

bool DatabaseRunner::reopen() {
  rig_.state.reset();
  if (!opened(rig_.open())) return false;
  CHECK_EQ(print_of(*rig_.state), world_.shown);
  return true;
}

bool DatabaseRunner::start() {
  rig_.state.reset();
  world_.under_way.insert(empty_print());
  if (!opened(rig_.create_empty())) return false;
  CHECK_EQ(print_of(*rig_.state), empty_print());
  world_.shown = empty_print();
  REQUIRE(rig_.state->restore(world_.snapshot).ok());
  note();
  return !cut_off();
}

bool DatabaseRunner::run(DatabaseVerb verb) {
  const uint64_t n = world_.next++;
  const Map* const map = rig_.state == nullptr ? nullptr : &rig_.state->map();
  switch (verb) {
    case DatabaseVerb::change_row: return apply(describe(n));
    case DatabaseVerb::create: return apply(create_volume("v" + std::to_string(n)));
    case DatabaseVerb::fail_node:
      if (map->nodes.at(failing_node).up) return apply(NodeDown{failing_node});
      return apply(NodeUp{failing_node}) &&
             apply(service_up(server(failing_node), n,
                              {state::test::disk(10, server(failing_node)),
                               state::test::disk(11, server(failing_node))}));
    case DatabaseVerb::remove: return apply(DeleteVolume{map->volumes.begin()->first});
    case DatabaseVerb::swell: return apply(swell(*map, n));
    case DatabaseVerb::refused: return apply(CreateBucket{"b"}, false);
    case DatabaseVerb::batch: return batch(n);
    case DatabaseVerb::take_snapshot: return take_snapshot(n);
    case DatabaseVerb::reopen: return reopen();
    case DatabaseVerb::start: return start();
    case DatabaseVerb::count: break;
  }
  SP_ASSERT(false);
  return false;
}

}  // namespace sp::test
