// A single follower, and what it may say and do for each message: cases that random runs meet too
// rarely.
#include <doctest/doctest.h>

#include "base/checksum.h"
#include "raft/raft.h"

using namespace sp;
using namespace sp::raft;

namespace {

constexpr int64_t ms = 1'000'000;

// Node 1 of three in term 2, with two entries of term 1, not known committed.
Raft follower(bool abstain = false) {
  Options options;
  options.self = 1;
  options.log_id = 11;
  Restored restored;
  restored.hard_state = {2, 0};
  restored.base.config = {{{1, 11, true}, {2, 22, true}, {3, 33, true}}};
  for (Index i = 1; i <= 2; ++i) restored.entries.push_back({i, 1, EntryKind::noop, {}});
  restored.abstain = abstain;
  return Raft(options, restored, 0);
}

Message from_leader(MessageType type) {
  return {.type = type, .from = 2, .to = 1, .from_log = 22, .to_log = 11, .term = 2};
}

}  // namespace

TEST_CASE(
    "an append commits no further than what it proves equal, though the leader has committed "
    "more") {
  Raft raft = follower();
  Message m = from_leader(MessageType::append);
  m.index = 1;
  m.log_term = 1;
  m.commit = 2;  // entry 2 there is another one
  raft.step(ms, Receive{m});
  CHECK(raft.commit_index() == 1);
}

// What it has may be what an entry had replaced that it lost; the leader still means that one.
TEST_CASE("a heartbeat commits nothing at a voter that lost entries, an append what it proves") {
  for (const bool abstains : {false, true}) {
    Raft raft = follower(abstains);
    Message m = from_leader(MessageType::heartbeat);
    m.commit = 2;
    raft.step(ms, Receive{m});
    CHECK(raft.commit_index() == (abstains ? 0 : 2));
    m = from_leader(MessageType::append);
    m.index = 2;
    m.log_term = 1;
    m.commit = 2;
    raft.step(2 * ms, Receive{m});
    CHECK(raft.commit_index() == 2);
  }
}

TEST_CASE(
    "a snapshot is acknowledged only when it is durable, and entries written before it count no "
    "more") {
  Raft raft = follower();
  Message entry = from_leader(MessageType::append);
  entry.index = 2;
  entry.log_term = 1;
  entry.entries.push_back({3, 2, EntryKind::noop, {}});
  const Output first = raft.step(ms, Receive{entry});
  REQUIRE(first.persist.has_value());
  Message chunk = from_leader(MessageType::snapshot_chunk);
  chunk.index = 9;
  chunk.log_term = 2;
  chunk.data = {std::byte{5}};
  chunk.total = 1;
  chunk.checksum = crc64(chunk.data);
  chunk.config = raft.config();
  const Output second = raft.step(2 * ms, Receive{chunk});
  REQUIRE(second.persist.has_value());
  REQUIRE(second.persist->install.has_value());
  CHECK(second.messages.empty());
  const Output early = raft.step(3 * ms, Persisted{first.persist->ticket});
  CHECK(raft.durable_index() < 3);
  for (const Message& m : early.messages) CHECK(m.type != MessageType::snapshot_answer);
  const Output late = raft.step(4 * ms, Persisted{second.persist->ticket});
  REQUIRE(late.messages.size() == 1);
  CHECK(late.messages[0].commit == 9);
  CHECK(raft.durable_index() == 9);
  CHECK(raft.applied_index() == 9);
}

TEST_CASE("a message for another log changes nothing and is answered with the log that is here") {
  Raft raft = follower();
  Message m = from_leader(MessageType::append);
  m.to_log = 10;
  m.term = 7;
  const Output out = raft.step(ms, Receive{m});
  CHECK(raft.term() == 2);
  REQUIRE(out.messages.size() == 1);
  CHECK(out.messages[0].type == MessageType::wrong_log);
  CHECK(out.messages[0].from_log == 11);
}

TEST_CASE("votes of a node that has another log than the configuration names do not count") {
  Raft raft = follower();
  const int64_t now = raft.deadline_ns();
  raft.step(now, Tick{});
  REQUIRE(raft.role() == Role::pre_candidate);
  Message grant{.type = MessageType::pre_vote_answer,
                .from = 2,
                .to = 1,
                .from_log = 99,
                .to_log = 11,
                .term = 3};
  raft.step(now, Receive{grant});
  CHECK(raft.role() == Role::pre_candidate);
  grant.from_log = 22;
  raft.step(now, Receive{grant});
  CHECK(raft.role() == Role::candidate);
}

TEST_CASE("an abstaining voter believes that it has caught up only when its own log says so") {
  Raft raft = follower(true);
  const Output hello = raft.step(ms, Receive{from_leader(MessageType::heartbeat)});
  REQUIRE(hello.messages.size() == 1);
  Message done = from_leader(MessageType::caught_up);
  done.nonce = hello.messages[0].nonce;
  CHECK(done.nonce != 0);
  done.index = 3;
  done.log_term = 2;
  CHECK_FALSE(raft.step(ms, Receive{done}).caught_up);
  CHECK(raft.abstaining());
  Message entry = from_leader(MessageType::append);
  entry.index = 2;
  entry.log_term = 1;
  entry.entries.push_back({3, 2, EntryKind::noop, {}});
  const Output out = raft.step(ms, Receive{entry});
  CHECK_FALSE(raft.step(ms, Receive{done}).caught_up);  // not durable yet
  raft.step(ms, Persisted{out.persist->ticket});
  CHECK(raft.step(ms, Receive{done}).caught_up);
  CHECK_FALSE(raft.abstaining());
}
