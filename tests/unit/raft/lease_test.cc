// What a leader may conclude from a round of heartbeats, and when.
#include <doctest/doctest.h>

#include "raft/raft.h"

using namespace sp;
using namespace sp::raft;

namespace {

constexpr int64_t ms = 1'000'000;

// Two voters; node 1 is brought to lead by hand, so that every answer comes when the test says.
struct Pair {
  int64_t now = 1000 * ms;
  Raft one = make(1);
  Raft two = make(2);

  Raft make(NodeId id) const {
    Options options;
    options.self = id;
    options.log_id = id;
    options.seed = id;
    Restored restored;
    restored.base.config = {{{1, 1, true}, {2, 2, true}}};
    return Raft(options, restored, now);
  }
  // Persists at once.
  std::vector<Message> give(Raft& raft, Event event) {
    Output out = raft.step(now, std::move(event));
    std::vector<Message> sent = std::move(out.messages);
    if (out.persist) {
      const auto more = give(raft, Persisted{out.persist->ticket});
      sent.insert(sent.end(), more.begin(), more.end());
    }
    return sent;
  }
  void exchange(std::vector<Message> messages) {
    while (!messages.empty()) {
      std::vector<Message> next;
      for (Message& m : messages)
        for (Message& answer : give(m.to == 1 ? one : two, Receive{m}))
          next.push_back(std::move(answer));
      messages = std::move(next);
    }
  }
  void elect() {
    now = one.deadline_ns();
    exchange(give(one, Tick{}));
    REQUIRE(one.role() == Role::leader);
  }
};

}  // namespace

TEST_CASE("a confirmed round counts from its sending, however late the answer comes") {
  Pair pair;
  pair.elect();
  pair.now = pair.one.deadline_ns();
  const int64_t sent = pair.now;
  std::vector<Message> answers;
  for (const Message& m : pair.give(pair.one, Tick{}))
    for (Message& answer : pair.give(pair.two, Receive{m})) answers.push_back(answer);
  REQUIRE_FALSE(answers.empty());
  pair.now += 90 * ms;
  std::optional<int64_t> confirmed;
  for (const Message& answer : answers)
    if (const Output out = pair.one.step(pair.now, Receive{answer}); out.round_confirmed_ns)
      confirmed = out.round_confirmed_ns;
  CHECK(confirmed == sent);
  CHECK(pair.one.round_confirmed_ns() == sent);
}

TEST_CASE("an answer to an old round confirms no newer one") {
  Pair pair;
  pair.elect();
  std::vector<Message> rounds;
  for (int i = 0; i < 2; ++i) {
    pair.now = pair.one.deadline_ns();
    for (const Message& m : pair.give(pair.one, Tick{}))
      if (m.type == MessageType::heartbeat) rounds.push_back(m);
  }
  REQUIRE(rounds.size() == 2);
  const auto first = pair.give(pair.two, Receive{rounds[0]});
  REQUIRE_FALSE(first.empty());
  const Output out = pair.one.step(pair.now, Receive{first[0]});
  CHECK(out.round_confirmed_ns == pair.now - 100 * ms);
}

TEST_CASE(
    "a leader elected by transfer waits out the lease of the one before, an elected one need not") {
  Pair pair;
  pair.elect();
  CHECK(pair.one.leases_before_end_ns() == pair.now);
  pair.now += 10 * ms;
  pair.exchange(pair.give(pair.one, Transfer{1, 2}));
  REQUIRE(pair.two.role() == Role::leader);
  CHECK(pair.two.leases_before_end_ns() ==
        pair.now + std::chrono::nanoseconds(limits::election_timeout_min).count());
}

TEST_CASE("a leader that steps down refuses votes as long as its last round may carry a lease") {
  Pair pair;
  pair.elect();
  pair.now += 50 * ms;
  Message newer{.type = MessageType::heartbeat_answer,
                .from = 2,
                .to = 1,
                .from_log = 2,
                .to_log = 1,
                .term = pair.one.term() + 1};
  pair.give(pair.one, Receive{newer});
  REQUIRE(pair.one.role() == Role::follower);
  Message vote{.type = MessageType::vote,
               .from = 2,
               .to = 1,
               .from_log = 2,
               .to_log = 1,
               .term = pair.one.term() + 1,
               .index = 99,
               .log_term = 99};
  CHECK(pair.give(pair.one, Receive{vote}).empty());
  pair.now += 700 * ms;
  const auto answers = pair.give(pair.one, Receive{vote});
  REQUIRE(answers.size() == 1);
  CHECK_FALSE(answers[0].refused);
}

TEST_CASE(
    "an abstaining voter answers no vote, no pre-vote and no transfer, and does not campaign") {
  Options options;
  options.self = 1;
  options.log_id = 1;
  Restored restored;
  restored.base.config = {{{1, 1, true}, {2, 2, true}}};
  restored.abstain = true;
  Raft raft(options, restored, 0);
  for (const MessageType type : {MessageType::vote, MessageType::pre_vote})
    for (const bool transfer : {false, true}) {
      Message m{.type = type,
                .from = 2,
                .to = 1,
                .from_log = 2,
                .to_log = 1,
                .term = 5,
                .index = 99,
                .log_term = 4,
                .transfer = transfer};
      const Output out = raft.step(5000 * ms, Receive{m});
      CHECK_FALSE(out.persist.has_value());
      CHECK(out.messages.empty());
    }
  raft.step(9000 * ms, Tick{});
  CHECK(raft.role() == Role::follower);
}
