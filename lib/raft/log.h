// Log: the entries that a member holds in memory, from its mark (what a snapshot covers) to the
// end, with the history of configurations among them. A configuration is in force from the moment
// its entry is appended, and no longer once the entry is truncated away. Knows nothing of
// durability or commitment; asking for an index outside [mark.index, last] yields term 0.
#pragma once
#include <span>
#include <utility>
#include <vector>

#include "raft/types.h"

namespace sp::raft {

class Log {
 public:
  Log(Mark mark, std::vector<LogEntry>
                     entries);  // asserts: no gap, terms never fall, configuration entries decode

  const Mark& mark() const { return mark_; }
  Index last_index() const { return mark_.index + entries_.size(); }
  Term last_term() const { return entries_.empty() ? mark_.term : entries_.back().term; }
  Term term_at(Index index) const;
  bool matches(Index index, Term term) const {
    return index == 0 || (term != 0 && term_at(index) == term);
  }
  const LogEntry& at(Index index) const;  // mark.index < index <= last
  std::span<const LogEntry> entries() const { return entries_; }

  const Config& config() const { return configs_.back().second; }
  Index config_index() const {
    return configs_.back().first;
  }                                            // of the entry that brought config()
  const Config& config_at(Index index) const;  // in force at index >= mark.index

  // The largest index <= `from` whose term is at most `term`: where two logs may still agree.
  Index agreement_hint(Index from, Term term) const;

  void append(LogEntry entry);
  void truncate_from(Index index);
  void compact(Index through);
  void reset(Mark mark);

 private:
  Mark mark_;
  std::vector<LogEntry> entries_;
  std::vector<std::pair<Index, Config>> configs_;  // never empty; the first one is the mark's
};

}  // namespace sp::raft
