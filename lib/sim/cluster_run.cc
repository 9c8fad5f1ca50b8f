#include "sim/cluster_run.h"

#include <algorithm>

#include "base/checksum.h"
#include "base/limits.h"
#include "io/random.h"
#include "sim/administrators.h"
#include "sim/beyond.h"
#include "sim/cluster.h"
#include "sim/cluster_faults.h"
#include "sim/liveness.h"
#include "sim/photographer.h"
#include "sim/read_back.h"

namespace sp::sim {

namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

constexpr auto look_interval = milliseconds(2);
constexpr auto tend_interval = milliseconds(100);
constexpr auto heal_limit = seconds(60);
constexpr auto idle_limit = seconds(30);
constexpr int64_t beyond_copies = 1, beyond_clocks = 2;  // the knob

// 1: some, the first one among them, so that the cluster begins at their feature level; 2: all.
uint64_t older_nodes(uint64_t seed, uint32_t how) {
  io::SeededRandom random(mix64(seed ^ 0x01de5u));
  const uint64_t some = random.number() | 1;
  return how == 0 ? 0 : how == 1 ? some : UINT64_MAX;
}

bool is_beyond(const Knobs& knobs) {
  return knobs[Knob::beyond] == beyond_copies || knobs[Knob::beyond] == beyond_clocks;
}

// They need reads that are answered, and writes of clones that are not refused.
bool takes_snapshots(const Knobs& knobs) { return !is_beyond(knobs) && knobs[Knob::slots] == 0; }

ClusterSetup setup_of(const RunOptions& options, const Knobs& knobs) {
  ClusterSetup setup;
  setup.storage_nodes = knobs.number(Knob::nodes);
  // With too many of them clients are on storage nodes, whatever was drawn.
  uint32_t others = limits::nodes_max - setup.storage_nodes;
  setup.witness = knobs[Knob::witness] != 0 && others > 1;
  others -= setup.witness ? 1 : 0;
  setup.disks_per_server = knobs.number(Knob::disks);
  setup.sets = knobs.number(Knob::sets);
  setup.copies = static_cast<uint8_t>(std::min<int64_t>(knobs[Knob::copies], knobs[Knob::nodes]));
  setup.min_copies = std::min(static_cast<uint8_t>(knobs[Knob::min_copies]), setup.copies);
  setup.management = std::min(knobs.number(Knob::management), setup.storage_nodes);
  setup.client_nodes = knobs.number(Knob::client_nodes);
  setup.clients_on_storage = knobs[Knob::on_storage] != 0 || others < setup.client_nodes;
  if (setup.clients_on_storage)
    setup.client_nodes = std::min(setup.client_nodes, setup.storage_nodes);
  else
    others -= setup.client_nodes;
  setup.spare_nodes = std::min(knobs.number(Knob::spares), others);
  setup.older = older_nodes(options.seed, knobs.number(Knob::older));
  setup.volumes = knobs.number(Knob::volumes);
  setup.clients_per_node = std::max(knobs.number(Knob::clients),
                                    (setup.volumes + setup.client_nodes - 1) / setup.client_nodes);
  if (knobs[Knob::admins] != 0) setup.guests = 2;
  // Long operations leave few places that snapshots share.
  const uint32_t disk_mib = knobs.number(Knob::length) > 64 ? 160 : 0;
  setup.disk_bytes = uint64_t{std::max(knobs.number(Knob::disk_mib), disk_mib)} << 20;
  setup.disk_log_pages = knobs.number(Knob::log_pages);
  // What is beyond all promises ends with every block written anew.
  setup.disk_slots = is_beyond(knobs) ? 0 : knobs.number(Knob::slots);
  setup.work.may_be_refused = setup.disk_slots != 0;
  setup.volume_bytes = uint64_t{knobs.number(Knob::volume_mib)} << 20;
  setup.work.depth = knobs.number(Knob::depth);
  setup.work.blocks = knobs.number(Knob::blocks);
  setup.work.stride = knobs.number(Knob::stride);
  setup.work.length_max = knobs.number(Knob::length);
  setup.work.hot = knobs.number(Knob::hot_percent) * 0.01;
  setup.work.reads = knobs.number(Knob::reads_percent) * 0.01;
  setup.work.discards = knobs.number(Knob::discards_percent) * 0.01;
  setup.work.zeroes = knobs.number(Knob::zeroes_percent) * 0.01;
  setup.work.flushes = knobs.number(Knob::flushes_percent) * 0.01;
  setup.work.think_mean = milliseconds(knobs[Knob::think_ms]);
  setup.load = static_cast<LoadChoice>(knobs[Knob::load]);
  setup.loads_in_history = knobs[Knob::registers] != 0;
  setup.log_entries_kept = knobs.number(Knob::log_entries);
  setup.database = knobs[Knob::database] != 0;
  if (knobs[Knob::tuning] != 0) {
    setup.tuning = small_tuning(options.seed);
    // A megabyte in pieces of a block or two, one after the other, takes longer than a request may.
    setup.work.length_max = std::min(setup.work.length_max, 40u);
  }
  setup.world.clock_drift_max = static_cast<double>(knobs[Knob::drift_ppm]) * 1e-6;
  if (knobs[Knob::beyond] == beyond_clocks) {
    setup.world.clock_drift_max = static_cast<double>(knobs[Knob::beyond_ppm]) * 1e-6;
    setup.leases_hold = false;
  }
  if (is_beyond(knobs)) {
    setup.load = LoadChoice::stamps;  // the others rely on reads, also of what is lost then
    setup.tuning.client = {};         // requests for lost sets stay open, and leave room for others
  }
  if (setup.disk_slots != 0) {
    setup.load = LoadChoice::stamps;  // the others rely on writes
    // Disks keep room for what is under way when they fill up: a share of so little is not much.
    setup.work.length_max = std::min(setup.work.length_max, 4u);
  }
  setup.world.net.link_spread = static_cast<double>(knobs[Knob::link_spread]);
  // In the proportions of the defaults.
  const uint32_t gone = knobs.number(Knob::crash_gone);
  setup.world.disk.crash_keep = 13 * (100 - gone);
  setup.world.disk.crash_drop = 8 * gone;
  setup.world.disk.crash_tear = 4 * gone;
  setup.world.disk.crash_garbage = gone;
  setup.world.disk.volatile_cache = knobs[Knob::cache] != 0;
  setup.world.disk.unwritten_is_noise = knobs[Knob::noise] != 0;
  setup.line_sink = options.line_sink;
  setup.keep_log = options.details;
  setup.watch = options.watch;
  return setup;
}

std::vector<Fault> plan_of(const RunOptions& options, const Knobs& knobs) {
  std::vector<Fault> plan = plan_faults(options.seed, knobs, options.faults_for);
  std::erase_if(plan, [&](const Fault& fault) { return options.without.contains(fault.index); });
  // Sets stay where there is room for them.
  if (knobs[Knob::slots] != 0)
    std::erase_if(plan, [](const Fault& fault) {
      return fault.kind == FaultKind::place || fault.kind == FaultKind::add ||
             fault.kind == FaultKind::join || fault.kind == FaultKind::leave;
    });
  return plan;
}

// The world goes on in small steps, with everything that must always hold looked at in between.
class Run {
 public:
  explicit Run(const RunOptions& options)
      : options_(options),
        knobs_(options.seed, options.pins),
        cluster_(options.seed, setup_of(options, knobs_)),
        plan_(plan_of(options, knobs_)),
        faults_(cluster_, plan_),
        administrators_(cluster_, knobs_.number(Knob::admins),
                        milliseconds(knobs_[Knob::admin_ms])),
        photographer_(cluster_, {takes_snapshots(knobs_) ? knobs_.number(Knob::cameras) : 0,
                                 milliseconds(knobs_[Knob::camera_ms]), options.seed}) {}

  ClusterRunResult execute() {
    ClusterRunResult result;
    result.failure = all();
    if (is_excused(result.failure)) {
      cluster_.note("the run ends here: a block has no valid copy any more");
      result.failure.clear();
      result.cut_short = true;
    }
    result.operations = cluster_.operations();
    if (options_.details && !result.failure.empty()) result.details = last_lines();
    if (cluster_.timeline) result.details += cluster_.timeline->text();
    result.faults = static_cast<uint32_t>(plan_.size());
    result.events = cluster_.world.event_count();
    result.events_by_kind = cluster_.world.events_by_kind();
    result.trace_hash = cluster_.world.trace_hash();
    result.simulated_seconds = static_cast<double>(cluster_.world.now().ns) * 1e-9;
    if (result.operations == 0 && result.failure.empty())
      result.failure = "liveness: nothing was done";
    return result;
  }

 private:
  // Reported as it has to be; work that relies on the block cannot go on.
  bool is_excused(const std::string& failure) {
    const bool about_blocks = failure.find("is damaged on every copy") != std::string::npos ||
                              failure.find("has no content for") != std::string::npos;
    return about_blocks && faults_.some_block_is_bare();
  }

  std::string all() {
    cluster_.history.judge_reads(cluster_.setup.leases_hold);
    if (auto wrong = cluster_.start(); !wrong.empty()) return "liveness: start: " + wrong;
    administrators_.start();
    photographer_.start();
    if (advance([] { return false; }, milliseconds(300)); !wrong_.empty()) return wrong_;
    cluster_.world.set_buggify(knobs_[Knob::buggify] != 0);
    cluster_.management.set_lossy(true);
    if (auto wrong = faults(); !wrong.empty()) return wrong;
    cluster_.world.set_buggify(false);
    cluster_.management.set_lossy(false);
    faults_.heal();
    administrators_.clear();
    photographer_.clear();
    const bool settled = advance(
        [this] {
          return administrators_.cleared() && photographer_.cleared() &&
                 faults_.unsettled().empty() && cluster_.unsettled().empty() &&
                 cluster_.unmended().empty();
        },
        heal_limit);
    if (!wrong_.empty()) return wrong_;
    if (!settled)
      return "liveness: not healed after a minute: " + faults_.unsettled() + cluster_.unsettled() +
             cluster_.unmended() +
             (administrators_.cleared()
                  ? ""
                  : "; an administrator waits for " + administrators_.waits_for()) +
             (photographer_.cleared() ? ""
                                      : "; a photographer waits for " + photographer_.waits_for());
    if (knobs_[Knob::beyond] == beyond_copies) {
      if (auto wrong = beyond(); !wrong.empty() || destroyed_) return wrong;
    }
    return at_rest();
  }

  // More is lost than may be. Nothing has to make progress then but what Beyond asks for.
  std::string beyond() {
    looks_at_liveness_ = false;
    Beyond beyond(cluster_, options_.seed, [this](const auto& reached, io::Duration limit) {
      return wrong_.empty() && advance(reached, limit);
    });
    std::string wrong = beyond.execute();
    destroyed_ = beyond.destroyed();
    looks_at_liveness_ = true;
    return wrong_.empty() ? wrong : wrong_;
  }

  // Once everything is well, also by slow clocks, acknowledged writes are there.
  std::string read_back() {
    if (cluster_.setup.leases_hold) return "";
    advance([] { return false; }, seconds(10));
    if (!wrong_.empty()) return wrong_;
    cluster_.history.judge_reads(true);
    ReadBack back(cluster_, {});
    const bool done = advance([&back] { return back.done(); }, idle_limit);
    if (!wrong_.empty()) return wrong_;
    if (!done) return "liveness: " + back.waits_for();
    if (!back.failure().empty()) return "content: " + back.failure();
    if (!back.damaged().empty())
      return "content: volume " + std::to_string(back.damaged().begin()->volume) + " block " +
             std::to_string(back.damaged().begin()->block) + ": is damaged";
    return "";
  }

  // With holds in between: whatever is broken then stays so until all that can go on does.
  std::string faults() {
    const uint32_t parts = knobs_.number(Knob::holds) + 1;
    for (uint32_t part = 0; part < parts; ++part) {
      const io::Duration from = options_.faults_for * part / parts;
      const io::Duration until = options_.faults_for * (part + 1) / parts;
      faults_.start(from, until);
      advance([] { return false; }, until - from);
      if (!wrong_.empty() || part + 1 == parts) return wrong_;
      faults_.hold(true);
      advance([this] { return liveness_.at_ease(); }, Liveness::deadline + seconds(1));
      if (!wrong_.empty()) return wrong_;
      faults_.hold(false);
    }
    return "";
  }

  // What services and faults said last, and the plan of what is left of the faults.
  std::string last_lines() const {
    constexpr size_t lines_max = 60;
    std::string text = "  faults:";
    for (const Fault& fault : plan_) {
      text += ' ' + std::to_string(fault.index) + ':' + std::string(fault_name(fault.kind)) + '@' +
              std::to_string(std::chrono::duration_cast<milliseconds>(fault.at).count()) + "ms";
    }
    text += '\n';
    const auto& log = cluster_.log;
    for (size_t i = log.size() - std::min(log.size(), lines_max); i < log.size(); ++i)
      text += "  | " + log[i] + '\n';
    return text;
  }

  std::string at_rest() {
    if (knobs_[Knob::w_lie] != 0) faults_.begin_to_lie(options_.seed);
    std::vector<std::pair<const Cluster::ClientProcess*, uint64_t>> before;
    for (const auto& process : cluster_.clients) {
      if (process.work && !cluster_.work_is_over())
        before.emplace_back(&process, process.work->completed());
    }
    const bool works = advance(
        [&] {
          return std::all_of(before.begin(), before.end(), [](const auto& entry) {
            return !entry.first->work || entry.first->work->completed() > entry.second;
          });
        },
        idle_limit);
    if (!wrong_.empty()) return wrong_;
    if (!works)
      return "liveness: operations do not go on though everything is well" + cluster_.waiting() +
             "; " + cluster_.leaks();
    cluster_.stop_work();
    const auto idle = [&] {
      return std::all_of(cluster_.clients.begin(), cluster_.clients.end(),
                         [](const auto& process) { return !process.work || process.work->idle(); });
    };
    const bool ended = advance(idle, idle_limit);
    if (!wrong_.empty()) return wrong_;
    if (!ended)
      return "liveness: operations do not end though everything is well" + cluster_.waiting();
    if (auto wrong = read_back(); !wrong.empty()) return wrong;
    if (auto difference = compare(); !difference.empty()) return difference;
    advance([this] { return cluster_.leaks().empty(); }, idle_limit);
    if (!wrong_.empty()) return wrong_;
    if (auto leak = cluster_.leaks(); !leak.empty()) return "leak: " + leak;
    if (const auto wrong = cluster_.history.check()) return "linearizability: " + *wrong;
    // What stores note lazily, such as decisions, is on the media by then.
    advance([] { return false; }, seconds(2));
    if (!wrong_.empty()) return wrong_;
    if (auto difference = compare(); !difference.empty()) return difference;
    if (auto wrong = forget_at_rest(); !wrong.empty()) return wrong;
    if (auto wrong = cluster_.check_disks(); !wrong.empty()) return "disk check: " + wrong;
    return "";
  }

  // Power fails everywhere, and a disk that has lied since before the last writes loses them. It
  // may be the first that is back, and alone for a moment: so nobody reads. The others find it out.
  std::string forget_at_rest() {
    if (!faults_.lies_at_rest()) return "";
    const auto before = cluster_.contents();
    for (auto& node : cluster_.nodes) cluster_.end_node(node, io::SimHost::Death::power);
    faults_.end_of_lies();
    // Until the servers have registered anew, the map says that all is as it was.
    advance([] { return false; }, seconds(3));
    if (!wrong_.empty()) return wrong_;
    const bool settled = advance(
        [this] {
          return all_disks_opened() && faults_.unsettled().empty() && cluster_.unsettled().empty();
        },
        heal_limit);
    if (!wrong_.empty()) return wrong_;
    if (!settled)
      return "liveness: not healed after a lie: " + faults_.unsettled() + cluster_.unsettled();
    if (auto difference = compare(); !difference.empty()) return difference;
    for (const auto& [disk, content] : cluster_.contents()) {
      const auto known = before.find(disk);
      if (known == before.end()) continue;
      for (const auto& [set, blocks] : content.sets) {
        const auto were = known->second.sets.find(set);
        if (were == known->second.sets.end()) continue;
        const auto lost =
            difference(set, were->second, "before the power failed disk " + std::to_string(disk),
                       blocks, "it");
        if (!lost.empty()) return "copies: lost by a lie: " + lost;
      }
    }
    return "";
  }

  bool all_disks_opened() const {
    return std::all_of(cluster_.nodes.begin(), cluster_.nodes.end(), [](const auto& node) {
      const auto& server = node.server;
      return !server || !node.belongs ||
             (server->server && server->server->all_opened() &&
              server->server->disks().size() == server->disks.size());
    });
  }

  // What was decided last is told to all copies soon.
  std::string compare() {
    std::string difference;
    for (int attempt = 0; attempt < 50; ++attempt) {
      advance([] { return false; }, milliseconds(100));
      if (!wrong_.empty()) return wrong_;
      if (!cluster_.unsettled().empty()) continue;
      difference = cluster_.compare_copies();
      if (difference.empty()) return "";
    }
    return "copies: they differ at rest: " + difference + cluster_.unsettled();
  }

  template <class Predicate>
  bool advance(Predicate reached, io::Duration limit) {
    const io::Instant until = cluster_.world.now() + limit;
    while (cluster_.world.now() < until) {
      if (reached()) return true;
      cluster_.world.run_for(look_interval);
      wrong_ = cluster_.check_now();
      if (const auto& why = administrators_.success().failure(); !why.empty())
        wrong_ = "success: " + why;
      if (wrong_.empty()) wrong_ = photographer_.failure();
      if (wrong_.empty()) wrong_ = faults_.check();
      if (!wrong_.empty()) return false;
      if (cluster_.world.now() < next_tend_) continue;
      next_tend_ = cluster_.world.now() + tend_interval;
      faults_.tend();
      cluster_.tend();
      if (!looks_at_liveness_) continue;
      if (wrong_ = liveness_.look(faults_.spoiled()); wrong_.empty()) continue;
      wrong_ = "liveness: " + wrong_;
      return false;
    }
    return reached();
  }

  const RunOptions& options_;
  Knobs knobs_;
  Cluster cluster_;
  std::vector<Fault> plan_;
  ClusterFaults faults_;
  Administrators administrators_;
  Photographer photographer_;
  Liveness liveness_{cluster_};
  bool looks_at_liveness_ = true, destroyed_ = false;
  std::string wrong_;
  io::Instant next_tend_{};
};

}  // namespace

ClusterRunResult run_cluster(const RunOptions& options) { return Run(options).execute(); }

}  // namespace sp::sim
