#include "model/map/set_world.h"

#include <algorithm>

#include "base/assert.h"

namespace sp::map::model {
namespace {

Mask bit(int d) { return static_cast<Mask>(1u << d); }
int index(DiskId disk) { return disk - 1; }
DiskId id(int d) { return static_cast<DiskId>(d + 1); }

Mask mask(const std::vector<DiskId>& list) {
  Mask all = 0;
  for (const DiskId disk : list) all |= bit(index(disk));
  return all;
}

std::string number(int d) { return std::to_string(d + 1); }

}  // namespace

uint32_t Model::intern(const DiskSet& set) {
  std::vector<uint64_t> key{set.epoch, set.revision, set.activated};
  for (const auto* list : {&set.acting, &set.recovering, &set.base, &set.target}) {
    key.push_back(list->size());
    key.insert(key.end(), list->begin(), list->end());
  }
  const auto [found, added] =
      index_of_.emplace(std::move(key), static_cast<uint32_t>(rows_.size()));
  if (added) rows_.push_back(set);
  return found->second;
}

DiskUp Model::registered(const World& world) {
  return [up = world.up](DiskId disk) { return (up & bit(index(disk))) != 0; };
}

void Model::agree(World& world, const SetEvent& event) {
  if (!event.changed) return;
  const DiskSet& before = row(world.row);
  if (event.set.activated && !before.activated && event.set.acting == event.set.base) {
    for (int w = 0; w < writes; ++w) {
      bool held = false;
      for (const DiskId disk : event.set.acting) held |= world.copy[index(disk)].record[w] != 0;
      if ((world.ordered & bit(w)) != 0 && !held) world.dead |= bit(w);
    }
  }
  world.row = intern(event.set);
}

World Model::start() {
  World world;
  std::vector<DiskId> target;
  for (uint32_t d = 0; d < setup_.copies; ++d) target.push_back(id(static_cast<int>(d)));
  world.alive = world.up = (1u << disks) - 1;
  world.row = intern(new_set({1, 0}, target, registered(world)));
  for (auto& copy : world.copy) copy.view = world.row;
  return world;
}

void Model::down(World& world, int d) {
  world.up &= static_cast<Mask>(~bit(d));
  const bool forgets = setup_.plant == Plant::forget_waiting_base;
  agree(world, disk_down(row(world.row), id(d),
                         forgets ? DiskUp([](DiskId) { return false; }) : registered(world)));
}

void Model::back(World& world, int d) {
  if ((world.up & bit(d)) != 0) down(world, d);
  world.up |= bit(d);
  world.alive |= bit(d);
  agree(world, disk_up(row(world.row), id(d), registered(world)));
  const Copy old = world.copy[d];
  Copy& copy = world.copy[d] = {};
  copy.epoch = old.epoch;
  copy.record = old.record;
  copy.view = world.row;
}

// Under the id of d comes another disk, which holds nothing. False: it is not taken in, as d held
// the only complete copy.
bool Model::back_wiped(World& world, int d) {
  if ((world.up & bit(d)) != 0) down(world, d);
  const SetEvent event = replaced(row(world.row), id(d), registered(world));
  if ((mask(event.set.base) & bit(d)) != 0) return false;
  if (setup_.plant != Plant::believe_wiped) agree(world, event);
  world.copy[d] = {};
  world.copy[d].epoch = setup_.plant == Plant::believe_wiped ? 1 : 0;
  back(world, d);
  return true;
}

void Model::learn(World& world, int d) {
  Copy& copy = world.copy[d];
  const DiskSet& before = row(copy.view);
  const DiskSet& now = row(world.row);
  copy.view = world.row;
  copy.promoting = copy.recovered = 0;
  if (before.epoch != now.epoch) copy.collected = copy.spread = 0;
  for (auto& acknowledged : copy.acknowledged)
    acknowledged &= before.epoch == now.epoch ? mask(now.acting) : Mask{0};
}

bool Model::primary(const World& world, int p) const {
  return (world.alive & bit(p)) != 0 && row(world.copy[p].view).acting.front() == id(p) &&
         world.copy[p].epoch <= row(world.copy[p].view).epoch;
}

bool Model::active(const World& world, int p) const {
  const DiskSet& view = row(world.copy[p].view);
  return primary(world, p) && view.activated && world.copy[p].spread == mask(view.acting);
}

// c answers p: p's epoch is not older than what c has promised, and is promised by the answer.
bool Model::hears(World& world, int p, int c) const {
  const auto epoch = static_cast<uint8_t>(row(world.copy[p].view).epoch);
  if ((world.alive & bit(c)) == 0) return false;
  if (setup_.plant == Plant::ignore_epochs) return true;
  if (world.copy[c].epoch > epoch) return false;
  const bool joins = (mask(row(world.copy[p].view).recovering) & bit(c)) != 0;
  if (world.copy[c].epoch == 0 && !joins) return false;
  world.copy[c].epoch = epoch;
  return true;
}

bool Model::collect(World& world, int p, int c) const {
  Copy& from = world.copy[c];
  Copy& to = world.copy[p];
  if (!primary(world, p) || (to.collected & bit(c)) != 0 || !hears(world, p, c)) return false;
  to.collected |= bit(c);
  for (int w = 0; w < writes; ++w) to.record[w] = std::max(to.record[w], from.record[w]);
  return true;
}

bool Model::spread(World& world, int p, int c) const {
  Copy& from = world.copy[p];
  const Mask acting = mask(row(from.view).acting);
  if (!primary(world, p) || from.collected != acting || (from.spread & bit(c)) != 0 ||
      !hears(world, p, c))
    return false;
  from.spread |= bit(c);
  for (int w = 0; w < writes; ++w) {
    if (from.record[w] == 0) continue;
    world.copy[c].record[w] = std::max(from.record[w], world.copy[c].record[w]);
    from.acknowledged[w] |= bit(c);
  }
  return true;
}

bool Model::report(World& world, int p) {
  const DiskSet& view = row(world.copy[p].view);
  if (!primary(world, p) || view.activated || world.copy[p].spread != mask(view.acting))
    return false;
  const DiskUp is_up = setup_.plant == Plant::activate_while_down
                           ? DiskUp([](DiskId) { return true; })
                           : registered(world);
  const SetEvent event = activated(row(world.row), view.epoch, setup_.min_copies, is_up);
  agree(world, event);
  return event.changed;
}

// All of an activation at once: the coarse search.
bool Model::activate(World& world, int p) {
  const Mask acting = mask(row(world.copy[p].view).acting);
  for (int c = 0; c < disks; ++c)
    if ((acting & bit(c)) != 0 && !collect(world, p, c)) return false;
  for (int c = 0; c < disks; ++c)
    if ((acting & bit(c)) != 0 && !spread(world, p, c)) return false;
  if (!report(world, p)) return false;
  learn(world, p);
  return true;
}

bool Model::concerns(const World& world, int d) const {
  for (const uint32_t index : {world.row, world.copy[d].view})
    for (const auto* list : {&row(index).acting, &row(index).recovering, &row(index).base})
      if ((mask(*list) & bit(d)) != 0) return true;
  return false;
}

bool Model::order(World& world, int p, int w) const {
  if (!active(world, p) || (world.ordered & bit(w)) != 0 || !hears(world, p, p)) return false;
  world.ordered |= bit(w);
  world.copy[p].record[w] = 1;
  world.copy[p].acknowledged[w] = bit(p);
  return true;
}

bool Model::replicate(World& world, int p, int w, int c) const {
  Copy& from = world.copy[p];
  const Mask members = mask(row(from.view).acting) | from.recovered;
  const bool due =
      from.record[w] != 0 && (members & bit(c)) != 0 && (from.acknowledged[w] & bit(c)) == 0;
  if (!active(world, p) || !due || !hears(world, p, c)) return false;
  world.copy[c].record[w] = std::max<uint8_t>(world.copy[c].record[w], 1);
  from.acknowledged[w] |= bit(c);
  return true;
}

// With min_copies taken as 1: the primary may know a newer or older number than the state had at
// the activation.
bool Model::decide(World& world, int p, int w) const {
  Copy& copy = world.copy[p];
  const DiskSet& view = row(copy.view);
  const bool base_acts = setup_.plant == Plant::decide_outside_base || may_decide(view, 1);
  if (!active(world, p) || copy.record[w] != 1 || !base_acts) return false;
  Mask needed = mask(view.acting);
  if (setup_.plant != Plant::decide_without_promoted) needed |= copy.promoting;
  if ((copy.acknowledged[w] & needed) != needed) return false;
  copy.record[w] = 2;
  world.answered |= bit(w);
  return true;
}

bool Model::tell(World& world, int p, int w, int c) const {
  if (!active(world, p) || world.copy[p].record[w] != 2 || world.copy[c].record[w] != 1)
    return false;
  if ((world.copy[p].acknowledged[w] & bit(c)) == 0 || !hears(world, p, c)) return false;
  world.copy[c].record[w] = 2;
  return true;
}

bool Model::recover(World& world, int p, int d) const {
  Copy& from = world.copy[p];
  Copy& to = world.copy[d];
  const DiskSet& view = row(from.view);
  if (!active(world, p) || (mask(view.recovering) & bit(d)) == 0 || (from.recovered & bit(d)) != 0)
    return false;
  if (!hears(world, p, d)) return false;
  const bool drops = (mask(view.base) & bit(d)) == 0 || setup_.plant == Plant::drop_in_base;
  for (int w = 0; w < writes; ++w) {
    if (drops && to.record[w] == 1 && setup_.plant != Plant::keep_undecided) to.record[w] = 0;
    to.record[w] = std::max(to.record[w], from.record[w]);
    if (from.record[w] != 0) from.acknowledged[w] |= bit(d);
  }
  // Planted: undecided records are dropped before the others arrive, and the copy stops in between.
  if (setup_.plant == Plant::drop_in_base && (mask(view.base) & bit(d)) != 0) to.record = {};
  from.recovered |= bit(d);
  return true;
}

// A recovery begins anew, after the connection broke, and gets no further than dropping what is
// undecided.
bool Model::begin(World& world, int p, int d) const {
  Copy& from = world.copy[p];
  const DiskSet& view = row(from.view);
  const bool asked = from.promoting == bit(d) && setup_.plant != Plant::restart_while_asked;
  if (!active(world, p) || (mask(view.recovering) & bit(d)) == 0 || asked || !hears(world, p, d))
    return false;
  for (int w = 0; w < writes; ++w) {
    if ((mask(view.base) & bit(d)) == 0 && world.copy[d].record[w] == 1)
      world.copy[d].record[w] = 0;
    from.acknowledged[w] &= static_cast<Mask>(~bit(d));
  }
  from.recovered &= static_cast<Mask>(~bit(d));
  return true;
}

bool Model::ask(World& world, int p, int d) const {
  Copy& copy = world.copy[p];
  if (!active(world, p) || (copy.recovered & bit(d)) == 0 || world.asked_disk != 0) return false;
  if (copy.promoting != 0 && copy.promoting != bit(d))
    return false;  // the same one: asked again after a time-out
  for (int w = 0; w < writes; ++w)
    if (copy.record[w] != 0 && (copy.acknowledged[w] & bit(d)) == 0) return false;
  copy.promoting = bit(d);
  world.asked_disk = static_cast<uint8_t>(id(d));
  world.asked_revision = static_cast<uint8_t>(row(copy.view).revision);
  world.asked_epoch = static_cast<uint8_t>(row(copy.view).epoch);
  return true;
}

void Model::deliver(World& world) {
  const DiskSet& now = row(world.row);
  uint64_t revision = world.asked_revision;
  if (setup_.plant == Plant::promote_by_epoch && world.asked_epoch == now.epoch)
    revision = now.revision;
  agree(world, promote(now, revision, world.asked_disk, setup_.copies));
  world.asked_disk = world.asked_revision = world.asked_epoch = 0;
}

void Model::faults(const World& world, std::vector<Step>& out, bool named) {
  const auto add = [&](World next, const char* what, int d) {
    out.push_back({next, named ? what + number(d) : "", true});
  };
  for (int d = 0; d < disks; ++d) {
    const bool alive = (world.alive & bit(d)) != 0;
    const bool up = (world.up & bit(d)) != 0;
    const Mask concerned =
        mask(row(world.row).acting) | mask(row(world.row).recovering) | mask(row(world.row).base);
    if (alive && world.crashes < setup_.crashes && (concerned & bit(d)) != 0) {
      World next = world;
      ++next.crashes;
      next.alive &= static_cast<Mask>(~bit(d));
      add(next, "crash ", d);
    }
    if (up && (!alive || world.false_alarms < setup_.false_alarms) && (concerned & bit(d)) != 0) {
      World next = world;
      if (alive) ++next.false_alarms;
      down(next, d);
      add(next, "declared down ", d);
    }
    if (!(alive && up)) {
      World next = world;
      back(next, d);
      add(next, "back ", d);
      next = world;
      ++next.wipes;
      if (world.wipes < setup_.wipes && back_wiped(next, d)) add(next, "back, wiped, ", d);
    }
    if (world.evictions < setup_.evictions) {
      World next = world;
      ++next.evictions;
      agree(next, evict(row(world.row), row(world.row).epoch, id(d), setup_.min_copies));
      if (next.row != world.row) add(next, "evicted ", d);
    }
  }
  for (int p = 0; p < disks; ++p)
    for (int d = 0; d < disks; ++d) {
      World next = world;
      ++next.false_alarms;
      if (world.false_alarms < setup_.false_alarms && active(world, p) && begin(next, p, d))
        add(next, "begins to recover anew ", d);
    }
  if (world.retargets >= setup_.retargets) return;
  for (int d = 0; d < disks; ++d) {  // every target that leaves one disk out, in two orders
    std::vector<DiskId> target;
    for (int i = 1; i <= disks && target.size() < setup_.copies; ++i)
      target.push_back(id((d + i) % disks));
    World next = world;
    ++next.retargets;
    agree(next, retarget(row(world.row), target, registered(world), setup_.copies));
    if (next.row != world.row) add(next, "target without ", d);
  }
}

void Model::successors(const World& world, std::vector<Step>& out, bool named) {
  out.clear();
  World next = world;
  const auto attempt = [&](bool done, const char* what, int a, int b) {
    if (done) out.push_back({next, named ? what + (" " + number(a)) + " " + number(b) : ""});
    next = world;
  };
  for (int d = 0; d < disks; ++d) {
    if ((world.alive & bit(d)) == 0) continue;
    if (world.copy[d].view != world.row && concerns(world, d)) {
      learn(next, d);
      attempt(true, "learns the row", d, d);
    }
    if (!primary(world, d)) continue;
    attempt(report(next, d), "reports its activation", d, d);
    const Mask acting = mask(row(world.copy[d].view).acting);
    if (setup_.coarse) attempt(activate(next, d), "activates", d, d);
    for (int c = 0; c < disks; ++c) {
      if ((acting & bit(c)) != 0 && !setup_.coarse)
        attempt(collect(next, d, c), "collects from", d, c);
      if ((acting & bit(c)) != 0 && !setup_.coarse) attempt(spread(next, d, c), "spreads to", d, c);
      if (!active(world, d)) continue;
      attempt(recover(next, d, c), "recovers", d, c);
      attempt(ask(next, d, c), "asks to promote", d, c);
    }
    if (!active(world, d)) continue;
    for (int w = 0; w < setup_.writes; ++w) {
      attempt(order(next, d, w), "orders", d, w);
      attempt(decide(next, d, w), "decides", d, w);
      for (int c = 0; c < disks; ++c) {
        attempt(replicate(next, d, w, c),
                w == 0 ? "replicates write 1 to" : "replicates write 2 to", d, c);
        if (!setup_.coarse)
          attempt(tell(next, d, w, c),
                  w == 0 ? "tells of decided write 1" : "tells of decided write 2", d, c);
      }
    }
  }
  if (world.asked_disk != 0) {
    deliver(next);
    attempt(true, "promotion arrives", world.asked_disk - 1, world.asked_disk - 1);
    next.asked_disk = next.asked_revision = next.asked_epoch = 0;
    attempt(setup_.crashes > 0, "promotion is lost", world.asked_disk - 1, world.asked_disk - 1);
  }
  faults(world, out, named);
}

std::string Model::check(const World& world) const {
  const DiskSet& now = row(world.row);
  if (std::string wrong = check_set(now); !wrong.empty()) return wrong;
  for (const DiskId disk : now.base)
    for (int w = 0; w < writes; ++w)
      if ((world.answered & bit(w)) != 0 && world.copy[index(disk)].record[w] == 0)
        return "an acknowledged write is missing on complete copy " + std::to_string(disk);
  if (now.activated)
    for (const DiskId disk : now.acting)
      for (int w = 0; w < writes; ++w)
        if ((world.dead & bit(w)) != 0 && world.copy[index(disk)].record[w] != 0)
          return "a write left out before came back";
  for (int a = 0; a < disks; ++a)
    for (int b = 0; b < a; ++b)
      if (active(world, a) && active(world, b) &&
          row(world.copy[a].view).epoch == row(world.copy[b].view).epoch)
        return "two primaries in one epoch";
  const Mask acting = mask(now.acting);
  if ((mask(now.recovering) & ~world.up) != 0) return "a disk that is down recovers";
  if ((mask(now.base) & world.up) != 0 && (acting & ~world.up) != 0)
    return "stuck: a complete copy is up but a copy that is down acts";
  if ((mask(now.base) & world.up) == 0 && now.acting.size() != 1)
    return "several copies that are down act";
  return {};
}

std::string Model::settle(World world) {
  for (int d = 0; d < disks; ++d)
    if ((world.alive & world.up & bit(d)) == 0) back(world, d);
  setup_.crashes = setup_.false_alarms = setup_.evictions = setup_.retargets = setup_.wipes = 0;
  std::vector<Step> steps;
  // Every step of the protocol is progress, so any order of them ends.
  for (int count = 0; count < 1000; ++count) {
    if (std::string wrong = check(world); !wrong.empty()) return wrong;
    successors(world, steps, false);
    if (steps.empty()) break;
    world = steps.front().world;
  }
  const DiskSet& now = row(world.row);
  Mask wanted = 0;
  for (const DiskId disk : now.target) wanted |= bit(index(disk));
  if (!steps.empty()) return "never settles";
  if (!may_decide(now, setup_.min_copies)) return "writes wait although every disk is back";
  if (mask(now.acting) != wanted || now.acting.front() != now.target.front())
    return "acting is not what placement wants";
  return {};
}

}  // namespace sp::map::model
