// The durable log of the agreement group on a simulated disk: power fails at every I/O of a
// workload, with what was not flushed lost, torn or turned to garbage; and acknowledged bytes are
// damaged one place after the other.
#include <doctest/doctest.h>

#include <set>

#include "beacon/raft_log.h"
#include "io/sim_world.h"

using namespace sp;
using namespace sp::beacon;
using namespace std::chrono_literals;

namespace {

const char* const path = "raft.log";

// The log as a value: what each batch makes of it.
struct Model {
  raft::HardState hard;
  raft::Mark base;
  std::vector<raft::LogEntry> entries;
  raft::SharedBytes snapshot;

  raft::Index last() const { return base.index + entries.size(); }
  void carry_out(const raft::Persist& batch) {
    if (batch.hard_state) hard = *batch.hard_state;
    if (batch.install) {
      base = batch.install->mark;
      snapshot = batch.install->bytes;
      entries.clear();
    }
    if (batch.truncate_from != 0) entries.resize(batch.truncate_from - base.index - 1);
    for (const auto& entry : batch.entries) entries.push_back(entry);
    if (batch.compact) {
      entries.erase(entries.begin(),
                    entries.begin() + static_cast<ptrdiff_t>(batch.compact->index - base.index));
      base = *batch.compact;
    }
  }
};

// Batches that a member could ask for, drawn from a seed.
class Workload {
 public:
  Workload(uint64_t seed, uint32_t entry_bytes_max)
      : random_(seed), entry_bytes_max_(entry_bytes_max) {}
  raft::Persist next(const Model& model) {
    raft::Persist batch;
    Term term = model.hard.term;
    const uint64_t kind = random_.below(20);
    if (term == 0 || kind < 4)
      batch.hard_state = raft::HardState{++term, static_cast<NodeId>(random_.below(4))};
    if (kind == 19) {
      auto bytes = std::make_shared<std::vector<std::byte>>(random_.below(3 * 4096));
      random_.fill(*bytes);
      batch.install = raft::Snapshot{{model.last() + 5, term, {{{1, 11, true}, {2, 22, false}}}},
                                     std::move(bytes)};
      return batch;
    }
    if (kind == 18 && !model.entries.empty()) {
      const auto& at = model.entries[random_.below(model.entries.size())];
      batch.compact = raft::Mark{at.index, at.term, {{{1, 11, true}}}};
      return batch;
    }
    raft::Index from = model.last() + 1;
    if (kind >= 14 && kind < 17 && !model.entries.empty()) {
      from = model.entries[random_.below(model.entries.size())].index;
      batch.truncate_from = from;
    }
    const uint64_t count = kind == 3 || kind == 4 ? 0 : 1 + random_.below(4);  // a vote alone, too
    for (uint64_t i = 0; i < count; ++i) {
      raft::LogEntry entry{from + i, term, raft::EntryKind::command,
                           std::vector<std::byte>(random_.below(entry_bytes_max_))};
      random_.fill(entry.data);
      batch.entries.push_back(std::move(entry));
    }
    return batch;
  }

 private:
  using Term = raft::Term;
  io::SeededRandom random_;
  uint32_t entry_bytes_max_;
};

struct Bench {
  io::SimWorld world;
  io::SimHost& host;
  RaftLogIdentity identity{
      .cluster = 7, .node = 1, .log_id = 11, .frames_bytes = 8u << 20, .snapshot_bytes = 1u << 20};
  std::unique_ptr<RaftLog> log;
  std::shared_ptr<void> opening;
  std::unique_ptr<RaftLog::Opened> opened;
  std::optional<Error> error;
  std::vector<Model> states;  // after each batch handed over; the first is the opened one
  size_t acknowledged = 0;    // index into states

  explicit Bench(uint64_t seed) : world(seed), host(world.add_host("beacon", "10.0.0.1")) {}

  std::unique_ptr<io::Disk> disk(io::OpenOptions::Mode mode) {
    auto result = host.host().disks.open(path, {mode, identity.disk_bytes(), true});
    REQUIRE(result.ok());
    return std::move(result).value();
  }

  void format() {
    auto raw = disk(io::OpenOptions::Mode::create);
    std::optional<Status> status;
    RaftLog::format(*raw, identity, {0, 0, {{{1, 11, true}}}},
                    [&](Status s) { status = std::move(s); });
    REQUIRE(world.run_until([&] { return status.has_value(); }, 10s));
    REQUIRE(status->ok());
  }

  bool open(ClusterId cluster = 7) {
    bool finished = false;
    error.reset();
    opening = RaftLog::open(disk(io::OpenOptions::Mode::read_write), cluster,
                            [&](Result<std::unique_ptr<RaftLog::Opened>> result) {
                              finished = true;
                              if (result.ok())
                                opened = std::move(result).value();
                              else
                                error = result.error();
                            });
    // A planned power failure may hit the opening itself.
    world.run_until([&] { return finished || world.disks().crash_point_reached(path); }, 10s);
    opening.reset();
    if (!finished || error) return false;
    log = std::move(opened->log);
    Model model{opened->restored.hard_state, opened->restored.base, opened->restored.entries,
                opened->snapshot ? opened->snapshot->bytes : nullptr};
    states = {model};
    acknowledged = 0;
    return true;
  }

  void write(raft::Persist batch) {
    Model next = states.back();
    next.carry_out(batch);
    states.push_back(next);
    const size_t mine = states.size() - 1;
    log->write(std::move(batch), [this, mine](Status status) {
      if (!status.ok()) {
        error = status.error();
        return;
      }
      CHECK(acknowledged + 1 == mine);
      acknowledged = mine;
    });
  }

  bool all_acknowledged() const { return acknowledged + 1 == states.size(); }

  // The workload, a few batches under way at a time; false when the power failed.
  bool work(Workload& workload, int batches) {
    for (int i = 0; i < batches; ++i) {
      write(workload.next(states.back()));
      if (i % 3 != 0) continue;
      world.run_until([&] { return all_acknowledged() || world.disks().crash_point_reached(path); },
                      10s);
      if (world.disks().crash_point_reached(path)) return false;
    }
    world.run_until([&] { return all_acknowledged() || world.disks().crash_point_reached(path); },
                    10s);
    if (!world.disks().crash_point_reached(path)) world.run_for(1s);
    return !world.disks().crash_point_reached(path);
  }

  void power_failure() {
    host.kill(io::SimHost::Death::power);
    log.reset();
    opened.reset();
    world.disks().crash(path);
    host.restart();
  }

  // Whether the opened log is what the batches up to some k, acknowledged <= k, made of it.
  // Compactions may be undone, votes may be ahead.
  void check_against(const std::vector<Model>& before, size_t acked) {
    const Model found = states.front();
    CHECK_FALSE(opened->restored.abstain);
    CHECK(opened->lost_from == 0);
    CHECK_FALSE(opened->snapshot_error.has_value());
    bool log_fits = false;
    bool vote_fits = false;
    for (size_t k = acked; k < before.size(); ++k) {
      const Model& model = before[k];
      if (found.hard == model.hard) vote_fits = true;
      if (found.base.index > model.base.index || found.last() != model.last()) continue;
      const std::vector<raft::LogEntry> tail(
          found.entries.end() - static_cast<ptrdiff_t>(model.entries.size()), found.entries.end());
      const bool base_fits = found.base.index < model.base.index || found.base == model.base;
      if (found.entries.size() < model.entries.size() || tail != model.entries || !base_fits)
        continue;
      log_fits = true;
    }
    CHECK(vote_fits);
    CHECK(log_fits);
    if (!found.entries.empty()) CHECK(found.entries.back().term <= found.hard.term);
    if (opened->snapshot) {
      CHECK(opened->snapshot->mark == found.base);
      bool known = false;
      for (const Model& model : before)
        known = known || (model.snapshot && *model.snapshot == *opened->snapshot->bytes);
      CHECK(known);
    }
  }
};

void fail_power_at_every_io(uint64_t seed, int batches, uint32_t entry_bytes_max, uint64_t stride) {
  uint64_t crashes = 0;
  for (uint64_t n = 1;; n += stride) {
    Bench bench(seed * 1000 + n);
    CAPTURE(seed);
    CAPTURE(n);
    bench.format();
    Workload workload(seed, entry_bytes_max);
    bench.world.disks().fail_after(path, n);
    const bool went_through = bench.open() && bench.work(workload, batches);
    std::vector<Model> before = bench.states;
    if (before.empty()) before.push_back(Model{{0, 0}, {0, 0, {{{1, 11, true}}}}, {}, nullptr});
    const size_t acked = bench.acknowledged;
    bench.power_failure();
    REQUIRE(bench.open());
    bench.check_against(before, acked);
    // And once more, on the log as recovered: nothing of the dropped tail may come back.
    Workload again(seed + n, entry_bytes_max);
    bench.world.disks().fail_after(path, 1 + n % 23);
    bench.work(again, 6);
    const std::vector<Model> second = bench.states;
    const size_t second_acked = bench.acknowledged;
    bench.power_failure();
    REQUIRE(bench.open());
    bench.check_against(second, second_acked);
    ++crashes;
    if (went_through) break;
  }
  CHECK(crashes > 10);
}

raft::Persist entries_batch(raft::Index first, int count, raft::Term term,
                            size_t size_bytes = 100) {
  raft::Persist batch;
  for (int i = 0; i < count; ++i)
    batch.entries.push_back({first + static_cast<raft::Index>(i), term, raft::EntryKind::command,
                             std::vector<std::byte>(size_bytes, std::byte(i))});
  return batch;
}

// Ten acknowledged batches of one entry, each a page of its own, in term 3 with a vote for node 2.
void fill(Bench& bench) {
  bench.format();
  REQUIRE(bench.open());
  raft::Persist vote;
  vote.hard_state = raft::HardState{3, 2};
  bench.write(vote);
  for (raft::Index i = 1; i <= 10; ++i) {
    bench.write(entries_batch(i, 1, 3));
    REQUIRE(bench.world.run_until([&] { return bench.all_acknowledged(); }, 1s));
  }
  bench.world.run_for(1s);
}

void reopen(Bench& bench) {
  bench.log.reset();
  bench.opened.reset();
  REQUIRE(bench.open());
}

}  // namespace

TEST_CASE(
    "power failing at every I/O leaves the acknowledged log, and at most whole batches more") {
  for (uint64_t seed = 1; seed <= 6; ++seed) fail_power_at_every_io(seed, 40, 900, 1);
}

TEST_CASE(
    "power failing while large batches go round the area of frames leaves the acknowledged log") {
  for (uint64_t seed = 1; seed <= 2; ++seed) fail_power_at_every_io(seed, 60, 200'000, 5);
}

TEST_CASE(
    "damage to any acknowledged frame is loss: the entries before it stay, and the member abstains "
    "until told otherwise") {
  for (raft::Index damaged = 1; damaged <= 10; ++damaged) {
    CAPTURE(damaged);
    Bench bench(damaged);
    fill(bench);
    bench.log.reset();
    bench.world.disks().corrupt(path, (raft_frames_page + damaged - 1) * raft_page_bytes, 1);
    reopen(bench);
    CHECK(bench.opened->restored.abstain);
    CHECK(bench.opened->lost_from == damaged);
    CHECK(bench.opened->lost_to == 10);
    CHECK(bench.opened->restored.entries.size() == damaged - 1);
    CHECK(bench.opened->restored.hard_state == raft::HardState{3, 2});
    reopen(bench);
    CHECK(bench.opened->restored.abstain);
    CHECK(bench.opened->lost_from == 0);
    raft::Persist newer = entries_batch(damaged, 3, 4);
    newer.hard_state = raft::HardState{4, 0};
    bench.write(newer);
    REQUIRE(bench.world.run_until([&] { return bench.all_acknowledged(); }, 1s));
    std::optional<Status> ended;
    bench.log->end_abstention([&](Status status) { ended = std::move(status); });
    REQUIRE(bench.world.run_until([&] { return ended.has_value(); }, 1s));
    CHECK(ended->ok());
    reopen(bench);
    CHECK_FALSE(bench.opened->restored.abstain);
    CHECK(bench.opened->restored.entries.size() == damaged + 2);
  }
}

TEST_CASE("a write that was acknowledged and never landed is loss, not a torn tail") {
  Bench bench(1);
  fill(bench);
  bench.world.disks().lose_next_write(path);
  bench.write(entries_batch(11, 1, 3));
  REQUIRE(bench.world.run_until([&] { return bench.all_acknowledged(); }, 1s));
  bench.world.run_for(1s);
  reopen(bench);
  CHECK(bench.opened->restored.abstain);
  CHECK(bench.opened->lost_from == 11);
}

TEST_CASE("a vote survives the damage of its slot, and damage of any one header changes nothing") {
  for (uint64_t page = 0; page < raft_frames_page; ++page) {
    CAPTURE(page);
    Bench bench(page);
    fill(bench);
    bench.log.reset();
    bench.world.disks().corrupt(path, page * raft_page_bytes, 1);
    reopen(bench);
    CHECK_FALSE(bench.opened->restored.abstain);
    CHECK(bench.opened->restored.hard_state == raft::HardState{3, 2});
    CHECK(bench.opened->restored.entries.size() == 10);
  }
}

TEST_CASE(
    "a log without identity or without headers is refused as damaged, and one of another cluster "
    "is refused") {
  Bench bench(1);
  fill(bench);
  bench.log.reset();
  CHECK_FALSE(bench.open(8));
  REQUIRE(bench.error.has_value());
  CHECK(bench.error->code() == Code::refused);
  bench.world.disks().corrupt(path, raft_header_page * raft_page_bytes,
                              raft_header_count * raft_page_bytes);
  CHECK_FALSE(bench.open());
  CHECK(bench.error->code() == Code::damaged);
  CHECK(bench.error->message().find("header") != std::string::npos);
  bench.world.disks().corrupt(path, 0, 2 * raft_page_bytes);
  CHECK_FALSE(bench.open());
  CHECK(bench.error->code() == Code::damaged);
}

TEST_CASE("after one failed write or flush every later write fails too") {
  for (const auto kind : {io::SimDisks::Kind::write, io::SimDisks::Kind::flush}) {
    Bench bench(1);
    fill(bench);
    bench.world.disks().fail_next(path, kind);
    bench.write(entries_batch(11, 1, 3));
    REQUIRE(bench.world.run_until([&] { return bench.error.has_value(); }, 1s));
    CHECK(bench.error->code() == Code::io);
    bench.error.reset();
    bench.write(entries_batch(12, 1, 3));
    REQUIRE(bench.world.run_until([&] { return bench.error.has_value(); }, 1s));
    CHECK(bench.error->code() == Code::io);
    CHECK(bench.acknowledged == 11);
  }
}

TEST_CASE("room that a compaction gives back is not used before a durable header says so") {
  constexpr size_t large = 200'000;
  for (uint64_t n = 1;; ++n) {
    CAPTURE(n);
    Bench bench(n);
    bench.format();
    REQUIRE(bench.open());
    raft::Persist vote;
    vote.hard_state = raft::HardState{1, 1};
    bench.write(vote);
    raft::Index next = 1;
    while (bench.log->frames_used_bytes() + 8 * large < bench.log->frames_total_bytes()) {
      bench.write(entries_batch(next++, 1, 1, large));
      REQUIRE(bench.world.run_until([&] { return bench.all_acknowledged(); }, 1s));
    }
    bench.world.run_for(1s);
    bench.world.disks().fail_after(path, n);
    raft::Persist compact;
    compact.compact = raft::Mark{next - 2, 1, {{{1, 11, true}}}};
    bench.write(compact);
    for (int i = 0; i < 12; ++i) bench.write(entries_batch(next++, 1, 1, large));
    const auto crashed = [&] { return bench.world.disks().crash_point_reached(path); };
    bench.world.run_until([&] { return bench.all_acknowledged() || crashed(); }, 5s);
    CHECK_FALSE(bench.error.has_value());
    const bool through = bench.all_acknowledged();
    const std::vector<Model> before = bench.states;
    const size_t acked = bench.acknowledged;
    bench.power_failure();
    REQUIRE(bench.open());
    bench.check_against(before, acked);
    if (through) break;
    REQUIRE_LT(n, 200);
  }
}

TEST_CASE("a frame that names another one as the one before it is not of this log") {
  for (const bool follows : {true, false}) {
    Bench bench(1);
    fill(bench);
    RaftFrame frame;
    frame.log_id = bench.identity.log_id;
    frame.opening = bench.log->acknowledged().opening;
    frame.position = bench.log->acknowledged().end;
    frame.before = bench.log->acknowledged().end_hash + (follows ? 0 : 1);
    frame.vote = bench.log->acknowledged().vote;
    frame.entries = entries_batch(11, 1, 3).entries;
    const EncodedFrame encoded = encode_frame(frame);
    bench.log.reset();
    bench.opened.reset();
    auto raw = bench.disk(io::OpenOptions::Mode::read_write);
    bool done = false;
    raw->write(bench.identity.frames_offset() + frame.position, encoded.bytes.bytes(),
               [&done](Status status) { done = status.ok(); });
    REQUIRE(bench.world.run_until([&] { return done; }, 1s));
    raw.reset();
    REQUIRE(bench.open());
    CHECK(bench.opened->restored.entries.size() == (follows ? 11 : 10));
    CHECK_FALSE(bench.opened->restored.abstain);
  }
}

TEST_CASE("an opening that is cut off in the middle leaves nothing behind") {
  Bench bench(1);
  fill(bench);
  bench.log.reset();
  for (int steps = 0; steps < 12; ++steps) {
    bool ended = false;
    auto opening = RaftLog::open(bench.disk(io::OpenOptions::Mode::read_write), 7,
                                 [&ended](const auto&) { CHECK_FALSE(ended); });
    const uint64_t from = bench.world.disks().operation_count(path);
    bench.world.run_until(
        [&] {
          return bench.world.disks().operation_count(path) > from + static_cast<uint64_t>(steps);
        },
        1ms);
    if (steps % 2 == 0) bench.host.kill(io::SimHost::Death::process);
    ended = true;
    opening.reset();
    if (steps % 2 == 0) bench.host.restart();
    bench.world.run_for(10ms);
  }
  REQUIRE(bench.open());
  CHECK(bench.opened->restored.entries.size() == 10);
}

TEST_CASE("a full log says so, and compacting in time gives its room back for ever") {
  Bench bench(1);
  bench.format();
  REQUIRE(bench.open());
  raft::Index next = 1;
  for (int i = 0; i < 100; ++i) {  // about 30 MiB through 8
    bench.write(entries_batch(next, 3, 1, 100'000));
    next += 3;
    raft::Persist compact;
    compact.compact = raft::Mark{next - 2, 1, {{{1, 11, true}}}};
    if (i > 5) bench.write(compact);
    REQUIRE(bench.world.run_until([&] { return bench.all_acknowledged() || bench.error; }, 5s));
  }
  CHECK_FALSE(bench.error.has_value());
  for (int i = 0; i < 100 && !bench.error; ++i) {
    bench.write(entries_batch(next, 3, 1, 100'000));
    next += 3;
    bench.world.run_until([&] { return bench.all_acknowledged() || bench.error; }, 5s);
  }
  REQUIRE(bench.error.has_value());
  CHECK(bench.error->code() == Code::no_space);
}

TEST_CASE("a log that lost what its state has applied goes on from there") {
  Bench bench(1);
  fill(bench);
  bench.log.reset();
  bench.world.disks().corrupt(path, (raft_frames_page + 4) * raft_page_bytes, 1);
  reopen(bench);
  CHECK(bench.opened->lost_from == 5);
  std::optional<Status> done;
  bench.log->rebase({9, 3, {{{1, 11, true}}}}, [&](Status status) { done = std::move(status); });
  REQUIRE(bench.world.run_until([&] { return done.has_value(); }, 1s));
  bench.states = {Model{{3, 2}, {9, 3, {{{1, 11, true}}}}, {}, nullptr}};
  bench.acknowledged = 0;
  bench.write(entries_batch(10, 2, 3));
  REQUIRE(bench.world.run_until([&] { return bench.all_acknowledged(); }, 1s));
  reopen(bench);
  CHECK(bench.opened->restored.abstain);
  CHECK(bench.opened->restored.base.index == 9);
  CHECK(bench.opened->restored.entries.size() == 2);
}
