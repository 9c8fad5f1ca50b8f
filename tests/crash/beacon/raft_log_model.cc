#include "crash/beacon/raft_log_model.h"

#include <algorithm>

#include "io/random.h"

namespace sp::test {

namespace {

constexpr size_t large_bytes = 3 * 4096;
constexpr size_t frames_bytes = 700 << 10;  // of an entry; a frame has room for two

raft::Config config_of(raft::Index index) {
  return {{{1, 11, true}, {2, 20 + index, index % 2 == 0}}};
}

}  // namespace

raft::Mark LogState::mark_at(raft::Index index) const {
  if (index <= floor.index) return floor;
  return {index, entries[index - floor.index - 1].term, config_of(index)};
}

void LogState::carry_out(const raft::Persist& batch) {
  if (batch.hard_state) hard = *batch.hard_state;
  if (batch.install) {
    floor = batch.install->mark;
    snapshot = batch.install->bytes;
    entries.clear();
  }
  if (batch.truncate_from != 0) entries.resize(batch.truncate_from - floor.index - 1);
  entries.insert(entries.end(), batch.entries.begin(), batch.entries.end());
}

beacon::RaftLogIdentity LogRig::identity() {
  return {.cluster = 7,
          .node = 1,
          .log_id = 11,
          .frames_bytes = 2 * uint64_t{beacon::raft_frame_bytes_max},
          .snapshot_bytes = 16 * 4096};
}

PagedMedium LogRig::formatted() {
  PagedMedium medium(identity().disk_bytes());
  FakeMachine machine(7);
  PagedDisk disk(machine.reactor, medium);
  std::optional<Status> done;
  beacon::RaftLog::format(disk, identity(), {0, 0, config_of(0)},
                          [&done](Status status) { done = std::move(status); });
  REQUIRE(machine.reactor.run_until([&] { return done.has_value(); }));
  REQUIRE(done->ok());
  return medium;
}

Status LogRig::open() {
  std::optional<Status> outcome;
  log.reset();
  opened.reset();
  opening_ = beacon::RaftLog::open(std::make_unique<PagedDisk>(machine_.reactor, medium_),
                                   identity().cluster,
                                   [&](Result<std::unique_ptr<beacon::RaftLog::Opened>> result) {
                                     if (result.ok()) opened = std::move(result).value();
                                     outcome = result.ok() ? Status{} : Status(result.error());
                                   });
  const Status status = wait(outcome);
  if (opened) log = std::move(opened->log);
  return status;
}

Status LogRig::wait(const std::optional<Status>& outcome) {
  if (machine_.reactor.run_until([&] { return outcome.has_value(); })) return *outcome;
  return Error(Code::interrupted, "the device has stopped");
}

raft::LogEntry LogRunner::entry(raft::Index index, size_t size_bytes) {
  raft::LogEntry made{index, world_.now().hard.term, raft::EntryKind::command,
                      std::vector<std::byte>(size_bytes)};
  io::SeededRandom(n_ * 1000 + index).fill(made.data);
  return made;
}

raft::Persist LogRunner::append(size_t count, size_t size_bytes) {
  raft::Persist batch;
  for (size_t i = 0; i < count; ++i)
    batch.entries.push_back(entry(world_.now().last() + 1 + i, size_bytes));
  return batch;
}

void LogRunner::hand_over(raft::Persist batch) {
  // Frames of one batch reach the medium in their order, so its begin may be there without the
  // rest.
  const size_t first = std::min<size_t>(batch.entries.size(), 2);
  const LogState before = world_.now();
  for (size_t part = first; part <= batch.entries.size(); ++part) {
    raft::Persist some = batch;
    some.entries.resize(part);
    LogState state = before;
    state.carry_out(some);
    world_.states.push_back(std::move(state));
  }
  rig_.log->write(std::move(batch), [this, mine = world_.states.size() - 1](Status status) {
    if (!status.ok()) FAIL(status.error().message());
    CHECK(world_.acked < mine);
    world_.acked = mine;
  });
}

void LogRunner::compact(raft::Index through) {
  raft::Persist batch;
  batch.compact = world_.now().mark_at(through);
  if (through > world_.marks.back().index) world_.marks.push_back(*batch.compact);
  hand_over(std::move(batch));
}

void LogRunner::install() {
  auto bytes = std::make_shared<std::vector<std::byte>>(4096 + n_ % 7 * 512);
  io::SeededRandom(n_).fill(*bytes);
  raft::Persist batch;
  const raft::Index index = world_.now().last() + 3;
  batch.hard_state = raft::HardState{world_.now().hard.term + 1, 0};
  batch.install = raft::Snapshot{{index, world_.now().hard.term, config_of(index)}, bytes};
  world_.marks.push_back(batch.install->mark);
  hand_over(std::move(batch));
}

bool LogRunner::acknowledged() {
  return rig_.run_until([this] { return world_.acked + 1 == world_.states.size(); });
}

bool LogRunner::fill_to(uint64_t position) {
  const uint64_t area = LogRig::identity().frames_bytes;
  while (rig_.log->acknowledged().end < position) {
    n_ = world_.next++;
    const uint64_t at = rig_.log->acknowledged().end;
    const uint64_t room = std::min(position - at, area - at % area);
    const uint64_t frame = std::min<uint64_t>(room, 200 * 4096);
    hand_over(append(1, frame - beacon::raft_frame_head_bytes - 24));
    if (!acknowledged() || !run(LogVerb::compact_all)) return false;
    rig_.settle();
    world_.settle();
  }
  return true;
}

bool LogRunner::reopen() {
  rig_.settle();
  const Status opened = rig_.open();
  if (!opened.ok()) {
    if (opened.error().code() != Code::interrupted) FAIL(opened.error().message());
    return false;
  }
  const std::string wrong = log_contradicts(*rig_.opened, world_);
  if (!wrong.empty()) FAIL("after a clean opening: " << wrong);
  return true;
}

bool LogRunner::end_abstention() {
  LogState state = world_.now();
  state.abstain = false;
  world_.states.push_back(state);
  std::optional<Status> outcome;
  rig_.log->end_abstention([&outcome](Status status) { outcome = std::move(status); });
  if (!rig_.wait(outcome).ok()) return false;
  world_.acked = world_.states.size() - 1;
  return true;
}

bool LogRunner::run(LogVerb verb) {
  n_ = world_.next++;
  const LogState before = world_.now();
  raft::Persist vote;
  vote.hard_state = raft::HardState{before.hard.term + 1, static_cast<NodeId>(1 + n_ % 3)};
  const raft::Index newest = std::max(before.last(), world_.marks.back().index);
  const bool has_tail = newest > world_.marks.back().index;
  switch (verb) {
    case LogVerb::append: hand_over(append(1, 100)); break;
    case LogVerb::append_large: hand_over(append(2, large_bytes)); break;
    case LogVerb::append_frames:
      if (rig_.log->frames_used_bytes() + 6 * frames_bytes > rig_.log->frames_total_bytes())
        compact(newest);
      hand_over(append(3, frames_bytes));
      break;
    case LogVerb::vote: hand_over(std::move(vote)); break;
    case LogVerb::vote_and_append: {
      raft::Persist batch = append(1, 200);
      batch.hard_state = vote.hard_state;
      batch.entries[0].term = vote.hard_state->term;
      hand_over(std::move(batch));
      break;
    }
    case LogVerb::truncate:
    case LogVerb::replace_tail: {
      raft::Persist batch;
      if (has_tail) batch.truncate_from = newest;
      batch.hard_state = vote.hard_state;
      if (verb == LogVerb::replace_tail) {
        batch.entries.push_back(entry(has_tail ? newest : newest + 1, 300));
        batch.entries[0].term = vote.hard_state->term;
      }
      hand_over(std::move(batch));
      break;
    }
    case LogVerb::burst:  // handed over at once: the last three share a flush
      hand_over(append(1, 100));
      hand_over(std::move(vote));
      hand_over(append(1, large_bytes));
      hand_over(append(1, 100));
      break;
    case LogVerb::compact_some:
      compact(std::max(world_.marks.back().index, newest - (has_tail ? 1 : 0)));
      break;
    case LogVerb::compact_all: compact(newest); break;
    case LogVerb::install: install(); break;
    case LogVerb::reopen: return reopen();
    case LogVerb::caught_up: return end_abstention();
    case LogVerb::count: break;
  }
  return acknowledged();
}

namespace {

bool same_log(const beacon::RaftLog::Opened& opened, const LogState& state,
              const std::vector<raft::Mark>& marks) {
  const raft::Restored& found = opened.restored;
  const bool known =
      found.base == state.floor || std::find(marks.begin(), marks.end(), found.base) != marks.end();
  if (!known || found.base.index < state.floor.index ||
      found.base.index + found.entries.size() != state.last())
    return false;
  const auto rest =
      state.entries.begin() + static_cast<ptrdiff_t>(found.base.index - state.floor.index);
  if (!std::equal(rest, state.entries.end(), found.entries.begin())) return false;
  const bool at_floor = found.base.index == state.floor.index && state.snapshot != nullptr;
  if (opened.snapshot.has_value() != at_floor) return false;
  return !at_floor ||
         (opened.snapshot->mark == state.floor && *opened.snapshot->bytes == *state.snapshot);
}

}  // namespace

std::string log_contradicts(const beacon::RaftLog::Opened& opened, LogWorld& world) {
  const raft::Restored& found = opened.restored;
  std::string text = "base " + std::to_string(found.base.index) + ", entries " +
                     std::to_string(found.entries.size()) + ", term " +
                     std::to_string(found.hard_state.term) + (found.abstain ? ", abstains" : "") +
                     "; possible:";
  if (opened.lost_from != 0) return "claims that entries are lost, " + text;
  if (opened.snapshot_error) return opened.snapshot_error->message();
  for (size_t i = world.acked; i < world.states.size(); ++i) {
    const LogState& state = world.states[i];
    text += " {last " + std::to_string(state.last()) + ", term " + std::to_string(state.hard.term) +
            (state.abstain ? ", abstains}" : "}");
    if (!same_log(opened, state, world.marks)) continue;
    // The vote is of this state or a later one: it is written beside the frames.
    for (size_t later = i; later < world.states.size(); ++later) {
      if (world.states[later].hard != found.hard_state ||
          world.states[later].abstain != found.abstain)
        continue;
      LogState now = state;
      now.hard = found.hard_state;
      now.abstain = found.abstain;
      world.states.assign(1, now);
      world.acked = 0;
      world.marks.assign(1, found.base);
      return {};
    }
  }
  return text;
}

}  // namespace sp::test
