// A small world of disks around one disk set: the agreed row, changed by the rules under test, and
// an abstraction of the protocol that module serve runs on it (order, replicate, decide, activate,
// recover, ask for promotion), with crashes, false alarms and late knowledge of the row at every
// point. A World is a plain value, so that a search can keep millions. Messages are instantaneous:
// a delayed one is a sender that acts late, which the search does as well.
#pragma once
#include <array>
#include <map>
#include <string>
#include <vector>

#include "map/set_rules.h"

namespace sp::map::model {

constexpr int disks = 4;
constexpr int writes = 2;
using Mask = uint8_t;  // bit d: disk d (its DiskId is d + 1)

// Mistakes planted into the protocol or around the rules; the search has to find each.
enum class Plant : uint8_t {
  none,
  promote_by_epoch,
  drop_in_base,
  decide_outside_base,
  ignore_epochs,
  decide_without_promoted,
  keep_undecided,
  forget_waiting_base,
  restart_while_asked,
  activate_while_down,
  believe_wiped,
};

struct Setup {
  uint32_t copies = 3;
  uint32_t min_copies = 2;
  Plant plant = Plant::none;
  int crashes = 2, false_alarms = 1, evictions = 1, retargets = 0, wipes = 0;
  int writes = model::writes;
  bool coarse = false;  // an activation is one step, copies are not told of decisions: fewer
                        // worlds, so a deeper search
};

struct Copy {
  uint32_t view = 0;  // the row that it knows, as an index into Rows
  uint8_t epoch = 1;  // durable: answers nobody of an older one; 0: wiped, knows no such set
  std::array<uint8_t, writes> record{};  // durable: 0 none, 1 undecided, 2 decided
  // As a primary of view's epoch, volatile:
  Mask collected = 0, spread = 0, recovered = 0, promoting = 0;
  std::array<Mask, writes> acknowledged{};
};

struct World {
  uint32_t row = 0;
  std::array<Copy, disks> copy{};
  Mask alive = 0, up = 0;          // the process runs; the agreed state believes so
  Mask ordered = 0, answered = 0;  // writes that exist; that the client was told are done
  Mask dead = 0;  // writes that an activation has left out: they must never come back
  uint8_t asked_revision = 0, asked_disk = 0,
          asked_epoch = 0;  // a promotion on its way to the agreed state; asked_disk 0: none
  uint8_t crashes = 0, false_alarms = 0, evictions = 0, retargets = 0, wipes = 0;
};

struct Step {
  World world;
  std::string what;
  bool fault = false;
};

class Model {
 public:
  explicit Model(Setup setup) : setup_(setup) {}
  World start();
  // Every world that one step leads to. Names are filled in only when asked for (they are slow).
  void successors(const World& world, std::vector<Step>& out, bool named);
  // Empty, or what promise this world breaks.
  std::string check(const World& world) const;
  // Brings back every disk and lets everyone do all that the protocol wants, without faults; empty
  // when the set ends whole and writable.
  std::string settle(World world);
  const DiskSet& row(uint32_t index) const { return rows_[index]; }

 private:
  uint32_t intern(const DiskSet& set);
  void agree(World& world, const SetEvent& event);
  static DiskUp registered(const World& world);
  void down(World& world, int d);
  void back(World& world, int d);
  bool back_wiped(World& world, int d);
  void learn(World& world, int d);
  bool primary(const World& world, int p) const;
  bool active(const World& world, int p) const;
  bool hears(World& world, int p, int c) const;
  bool collect(World& world, int p, int c) const;
  bool spread(World& world, int p, int c) const;
  bool report(World& world, int p);
  bool activate(World& world, int p);
  bool concerns(const World& world, int d) const;
  bool order(World& world, int p, int w) const;
  bool replicate(World& world, int p, int w, int c) const;
  bool decide(World& world, int p, int w) const;
  bool tell(World& world, int p, int w, int c) const;
  bool recover(World& world, int p, int d) const;
  bool begin(World& world, int p, int d) const;
  bool ask(World& world, int p, int d) const;
  void deliver(World& world);
  void faults(const World& world, std::vector<Step>& out, bool named);

  Setup setup_;
  std::vector<DiskSet> rows_;
  std::map<std::vector<uint64_t>, uint32_t> index_of_;
};

}  // namespace sp::map::model
