// Progress: what a leader knows of one follower. Lives for one leadership.
//   probe      one append at a time, looking for the point where the logs agree
//   replicate  a pipeline of appends, `next` running ahead of `match`
//   snapshot   the follower needs what the log no longer has; chunks go one at a time
#pragma once
#include <cstdint>
#include <deque>

#include "raft/types.h"

namespace sp::raft {

struct Progress {
  enum class State : uint8_t { probe, replicate, snapshot };
  State state = State::probe;
  uint64_t log_id = 0;
  Index match = 0;  // durable there and equal to ours, up to here
  Index next = 1;   // the next entry to send
  Index sent_commit = 0;
  std::deque<Index> in_flight;  // last index of each append not yet answered (replicate)
  bool probe_sent = false;      // waiting for an answer (probe)
  uint64_t sent_round = 0;      // the round that was current at the last append or chunk
  uint64_t answered_round = 0;
  int64_t heard_ns = 0;  // when its last answer came
  uint64_t snapshot_offset = 0;
  bool chunk_sent = false;
  uint64_t nonce = 0;           // not 0: it abstains, in this incarnation;
  Index catch_up_target = 0;    //   it must hold our log up to here,
  uint64_t catch_up_round = 0;  //   and this round must be confirmed, before it may vote again

  void to_probe(Index from) {
    state = State::probe;
    next = from;
    in_flight.clear();
    probe_sent = false;
  }
};

}  // namespace sp::raft
