#include "store/known_operations.h"

#include <doctest/doctest.h>

#include <map>
#include <random>

using namespace sp;
using namespace sp::store;

TEST_CASE("known operations agree with a plain table, by version and by log record") {
  std::mt19937_64 random(11);
  for (int run = 0; run < 50; ++run) {
    KnownOperations known;
    std::map<Version, uint64_t> table;  // and the lsn
    uint64_t lsn = 1, sequence = 0;
    const size_t kept = 1 + random() % 40;
    for (int step = 0; step < 400; ++step) {
      lsn += random() % 3;
      const uint64_t draw = random() % 20;
      if (draw < 12) {
        // Mostly a new one; some are told again, some come late, or of a page before the last.
        const uint64_t number = draw < 8 ? ++sequence : 1 + random() % (sequence + 1);
        sequence = std::max(sequence, number);
        const Version version(1, number);
        const uint64_t at = draw == 11 && lsn > 2 ? lsn - 1 : lsn;
        known.add({3, 1, number}, version, at, kept);
        uint64_t& place = table[version];
        place = std::max(place, at);
        while (table.size() > kept) table.erase(table.begin());
      } else if (draw < 18) {
        const uint64_t target = lsn > 20 ? lsn - random() % 20 : lsn;
        for (;;) {
          const auto due = known.logged_before(target, 1 + random() % 5);
          if (due.empty()) break;
          for (const KnownOperation* operation : due) {
            REQUIRE_LT(table.at(operation->version), target);
            table[operation->version] = lsn;
          }
          known.logged_again(due, lsn);
        }
        for (const auto& [version, at] : table) REQUIRE_GE(at, target);
        REQUIRE_FALSE(known.any_logged_before(target));
      } else if (draw == 18) {
        const Version last(1, sequence - std::min<uint64_t>(sequence, random() % 4));
        known.forget_after(last);
        table.erase(table.upper_bound(last), table.end());
      }
      REQUIRE_EQ(known.all().size(), table.size());
      auto at = table.begin();
      for (const KnownOperation& operation : known.all()) {
        REQUIRE_EQ(operation.version, at->first);
        REQUIRE_EQ(operation.lsn, at->second);
        REQUIRE_EQ(known.find(operation.version), &operation);
        ++at;
      }
      uint64_t oldest = UINT64_MAX;
      for (const auto& [version, logged] : table) oldest = std::min(oldest, logged);
      REQUIRE_EQ(known.any_logged_before(lsn + 1), !table.empty());
      if (!table.empty()) REQUIRE_FALSE(known.any_logged_before(oldest));
      REQUIRE_LE(known.memory_bytes(), 200 * (kept + 40));
    }
  }
}
