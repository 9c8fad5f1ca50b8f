// Messages between the members of one group: one struct for all types, with the fields that a type
// does not use left at 0. The encoding is versioned and bounded (message_bytes_max); decode refuses
// unknown versions and types, and anything that is not whole. Nothing is promised about delivery:
// messages may be lost, doubled and reordered.
#pragma once
#include <cstdint>
#include <vector>

#include "base/limits.h"
#include "raft/types.h"

namespace sp::raft {

enum class MessageType : uint8_t {
  append = 1,     // leader: entries after {index, log_term}; commit
  append_answer,  // index: durable and equal to the leader's up to here; or refused: offset did not
                  // match, index and log_term may
  heartbeat,      // leader: round, commit (never beyond what this follower has)
  heartbeat_answer,  // round
  pre_vote,          // would you vote for me in `term`? index, log_term: end of the asker's log
  pre_vote_answer,   // granted or refused
  vote,  // flag: asked to by the leader (transfer), which lifts the wait after hearing a leader
  vote_answer,
  snapshot_chunk,   // leader: mark (index, log_term, config), offset, total, checksum, data
  snapshot_answer,  // offset: send from here next (refused: the chunk was not the next one); commit
                    // >= index: all of it is durable
  timeout_now,      // leader to its successor: campaign at once
  caught_up,        // leader to an abstaining voter: you have everything that you may ever have
                    // acknowledged
  wrong_log,        // the message named a log that is not mine; from_log says which one is
};

struct Message {
  MessageType type = MessageType::append;
  NodeId from = 0;
  NodeId to = 0;
  uint64_t from_log = 0;
  uint64_t to_log = 0;  // the log that the sender believes `to` has; 0: not known
  Term term = 0;  // the sender's; in pre_vote and a granted pre_vote_answer the term asked for
  Index index = 0;
  Term log_term = 0;
  Index commit = 0;
  uint64_t round = 0;  // heartbeat round, echoed
  uint64_t nonce =
      0;  // answers of an abstaining voter: its incarnation, echoed by caught_up; otherwise 0
  uint64_t offset = 0;    // snapshot
  uint64_t total = 0;     // snapshot: size in bytes
  uint64_t checksum = 0;  // snapshot: crc64 of all of it; with index and log_term its identity
  bool refused = false;
  bool transfer = false;
  std::vector<LogEntry> entries;
  Config config;
  std::vector<std::byte> data;

  std::vector<std::byte> encode() const;
  static Result<Message> decode(Bytes bytes);  // Code::invalid
  bool operator==(const Message&) const = default;
};

}  // namespace sp::raft
