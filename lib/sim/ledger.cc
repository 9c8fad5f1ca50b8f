#include "sim/ledger.h"

#include <utility>

#include "base/assert.h"

namespace sp::sim {

void Ledger::issued(uint64_t session, uint64_t transaction, Cells changes) {
  // Of a client that has lost the volume and has not heard: it never takes effect.
  if (session < session_) return;
  SP_ASSERT_OP(transaction, ==, (open_.empty() ? acknowledged_ : open_.back().number) + 1);
  open_.push_back({transaction, std::move(changes)});
}

// Of a session that has lost the volume: the next one has to have found it.
std::string Ledger::too_late(uint64_t session, uint64_t transaction) const {
  for (const auto& [next, to] : settled_) {
    if (next <= session) continue;
    if (transaction <= to) return "";
    return "transaction " + std::to_string(transaction) +
           " was acknowledged to a client that had lost the volume, and the next one found " +
           std::to_string(to) + " the newest";
  }
  return "";
}

std::string Ledger::acknowledged(uint64_t session, uint64_t transaction) {
  if (session < session_) return too_late(session, transaction);
  while (!open_.empty() && open_.front().number <= transaction) {
    for (const auto& [cell, value] : open_.front().changes) cells_[cell] = value;
    open_.pop_front();
  }
  acknowledged_ = transaction;
  return "";
}

std::string Ledger::recovered(uint64_t transaction) const {
  if (transaction < acknowledged_)
    return "transaction " + std::to_string(acknowledged_) +
           " was acknowledged, and the newest that is there is " + std::to_string(transaction);
  const uint64_t newest = open_.empty() ? acknowledged_ : open_.back().number;
  if (transaction > newest)
    return "transaction " + std::to_string(transaction) + " is there, and the newest issued is " +
           std::to_string(newest);
  return "";
}

Ledger::Cells Ledger::cells(uint64_t transaction) const {
  Cells cells = cells_;
  for (const Transaction& open : open_) {
    if (open.number > transaction) break;
    for (const auto& [cell, value] : open.changes) cells[cell] = value;
  }
  return cells;
}

std::string Ledger::settle(uint64_t session, uint64_t transaction) {
  if (session < session_) return too_late(session, transaction);
  SP_ASSERT_OP(session, !=, session_);
  if (auto wrong = recovered(transaction); !wrong.empty()) return wrong;
  cells_ = cells(transaction);
  acknowledged_ = transaction;
  open_.clear();
  session_ = session;
  settled_.emplace_back(session, transaction);
  return "";
}

}  // namespace sp::sim
