#include "raft/log.h"

#include <algorithm>

namespace sp::raft {

Log::Log(Mark mark, std::vector<LogEntry> entries) : mark_(std::move(mark)) {
  configs_.emplace_back(mark_.index, mark_.config);
  for (LogEntry& entry : entries) append(std::move(entry));
}

Term Log::term_at(Index index) const {
  if (index == mark_.index) return mark_.term;
  if (index < mark_.index || index > last_index()) return 0;
  return at(index).term;
}

const LogEntry& Log::at(Index index) const {
  SP_ASSERT_OP(index, >, mark_.index);
  SP_ASSERT_OP(index, <=, last_index());
  return entries_[index - mark_.index - 1];
}

const Config& Log::config_at(Index index) const {
  SP_ASSERT_OP(index, >=, mark_.index);
  auto later = std::find_if(configs_.rbegin(), configs_.rend(),
                            [&](const auto& c) { return c.first <= index; });
  SP_ASSERT(later != configs_.rend());
  return later->second;
}

Index Log::agreement_hint(Index from, Term term) const {
  Index index = std::min(from, last_index());
  while (index > mark_.index && term_at(index) > term) --index;
  return index;
}

void Log::append(LogEntry entry) {
  SP_ASSERT_OP(entry.index, ==, last_index() + 1);
  SP_ASSERT_OP(entry.term, >=, last_term());
  if (entry.kind == EntryKind::configuration) {
    auto config = Config::decode_all(entry.data);
    SP_ASSERT(config.ok());
    configs_.emplace_back(entry.index, std::move(config).value());
  }
  entries_.push_back(std::move(entry));
}

void Log::truncate_from(Index index) {
  SP_ASSERT_OP(index, >, mark_.index);
  if (index > last_index()) return;
  entries_.resize(index - mark_.index - 1);
  while (configs_.back().first >= index) configs_.pop_back();
}

void Log::compact(Index through) {
  SP_ASSERT_OP(through, >=, mark_.index);
  SP_ASSERT_OP(through, <=, last_index());
  Mark mark{through, term_at(through), config_at(through)};
  entries_.erase(entries_.begin(),
                 entries_.begin() + static_cast<ptrdiff_t>(through - mark_.index));
  std::erase_if(configs_, [&](const auto& c) { return c.first <= through; });
  configs_.emplace(configs_.begin(), through, mark.config);
  mark_ = std::move(mark);
}

void Log::reset(Mark mark) {
  entries_.clear();
  configs_.clear();
  configs_.emplace_back(mark.index, mark.config);
  mark_ = std::move(mark);
}

}  // namespace sp::raft
