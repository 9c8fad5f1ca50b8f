// Ledger: what the transactions on one volume did, kept outside of the volume and over all clients
// that attach it after each other. It knows which transactions a recovery must find, may find, and
// what the volume has to say then. It knows nothing of blocks, nor of Linearizability.
//
// Transactions are numbered from 1 and issued in order by the session that has the volume. Later
// sessions have greater numbers; an earlier one may not have heard that it has lost the volume. A
// session's recovery finds all up to some number; those behind it are gone for good from its
// settling on. Cells are what transactions change: whatever its user numbers so. A cell that was
// never changed has value 0. Plain values.
#pragma once
#include <cstdint>
#include <deque>
#include <map>
#include <string>
#include <vector>

namespace sp::sim {

class Ledger {
 public:
  using Cells = std::map<uint64_t, uint64_t>;  // cell -> value

  bool formatted() const { return formatted_; }
  void format() { formatted_ = true; }  // from now on the volume is not empty

  // From here on the transaction may be found.
  void issued(uint64_t session, uint64_t transaction, Cells changes);
  // From here on it must be. What is wrong with that, or nothing.
  std::string acknowledged(uint64_t session, uint64_t transaction);
  // A later session has the volume: what this one reads may be of before, and is nobody's any more.
  bool is_over(uint64_t session) const { return session < session_; }
  // A recovery has found all up to this one. What is wrong with that, or nothing.
  std::string recovered(uint64_t transaction) const;
  // What the cells hold after this one, of those that recovered() takes.
  Cells cells(uint64_t transaction) const;
  // The recovery is complete and durable: the session goes on from there. What is wrong with that,
  // or nothing.
  std::string settle(uint64_t session, uint64_t transaction);

  uint64_t acknowledged_to() const { return acknowledged_; }

 private:
  std::string too_late(uint64_t session, uint64_t transaction) const;
  struct Transaction {
    uint64_t number = 0;
    Cells changes;
  };
  bool formatted_ = false;
  uint64_t session_ = 0;       // that settled last
  uint64_t acknowledged_ = 0;  // what follows may be lost
  Cells cells_;                // after `acknowledged_`
  std::deque<Transaction> open_;
  std::vector<std::pair<uint64_t, uint64_t>> settled_;  // session, and up to where
};

}  // namespace sp::sim
