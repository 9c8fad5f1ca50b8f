// The start of Consensus: log, snapshot file and State are opened in this order, made where they
// are missing, and fitted together.
#include "base/planted.h"
#include "base/probe.h"
#include "beacon/consensus.h"

namespace sp::beacon {

namespace {

constexpr uint64_t page_bytes = 4096;

uint64_t random_id(io::Random& random) {
  uint64_t id = 0;
  while (id == 0) id = random.number();
  return id;
}

}  // namespace

void Consensus::open_log() {
  auto disk = host_.disks.open(options_.log_path, {.mode = io::OpenOptions::Mode::read_write});
  if (!disk.ok() && disk.error().code() == Code::not_found) return format_log();
  if (!disk.ok()) return fail(std::move(disk).error().with("opening the agreement log"));
  opening_ = RaftLog::open(
      std::move(disk).value(), options_.cluster,
      [this](Result<std::unique_ptr<RaftLog::Opened>> opened) { log_opened(std::move(opened)); });
}

void Consensus::log_opened(Result<std::unique_ptr<RaftLog::Opened>> opened) {
  if (!opened.ok()) {
    if (opened.error().code() != Code::damaged || formatted_)
      return fail(std::move(opened).error().with(options_.log_path));
    host_.log.error("the agreement log cannot be identified: this node comes back as a new member",
                    {{"path", options_.log_path}, {"why", opened.error().message()}});
    // In a later turn: a completion must not destroy its disk.
    timer_.arm(io::Duration(0), [this] {
      opening_.reset();
      format_log();
    });
    return;
  }
  opened_ = std::move(opened).value();
  if (opened_->identity.node != options_.self) {
    return fail(Error(Code::refused, options_.log_path + " is the agreement log of node " +
                                         std::to_string(opened_->identity.node) + ", not of node " +
                                         std::to_string(options_.self) + "; check the node id"));
  }
  if (options_.bootstrap && !formatted_) {
    return fail(Error(Code::refused, options_.log_path +
                                         " exists: this node belongs to a cluster already. Start "
                                         "without --bootstrap, or move the file away "
                                         "to begin a new cluster"));
  }
  log_id_ = opened_->identity.log_id;
  log_ = std::move(opened_->log);
  if (opened_->lost_from != 0) {
    host_.log.error(
        "entries of the agreement log are lost: this node does not vote until it has caught up",
        {{"from", opened_->lost_from}, {"to", opened_->lost_to}});
  }
  open_snapshot();
}

// Without its log a node comes back as a new member of a group that others still form. The database
// is not believed, but asked whether there were others: false, and failed, when it says no.
bool Consensus::may_come_back() {
  const auto state = state::State::open(options_.state_path);
  if (!state.ok() || (*state)->map().cluster.id != options_.cluster) return true;
  uint32_t other_voters = 0;
  for (const auto& [id, node] : (*state)->map().nodes)
    other_voters += node.voting && id != options_.self ? 1 : 0;
  if (other_voters != 0) return true;
  fail(Error(Code::refused,
             options_.log_path +
                 " is lost, and no other node could bring this one up to date; restore the file, "
                 "or rebuild the cluster from its disks. If there are other voters, remove " +
                 options_.state_path + ", which does not know them"));
  return false;
}

// A new log is a new member: whatever the lost one promised is not attributed to it.
void Consensus::format_log() {
  if (!options_.bootstrap) SP_PROBE(consensus_log_made_anew);
  if (!options_.bootstrap && !may_come_back()) return;
  RaftLogIdentity identity;
  identity.cluster = options_.cluster;
  identity.node = options_.self;
  identity.log_id = random_id(host_.random);
  identity.frames_bytes = options_.log_frames_bytes;
  identity.snapshot_bytes = options_.snapshot_bytes;
  auto disk = host_.disks.open(options_.log_path, {.mode = io::OpenOptions::Mode::read_write});
  if (!disk.ok() && disk.error().code() == Code::not_found) {
    disk = host_.disks.open(options_.log_path, {.mode = io::OpenOptions::Mode::create,
                                                .size_bytes = identity.disk_bytes()});
  }
  if (!disk.ok()) return fail(std::move(disk).error().with("making the agreement log"));
  formatted_ = true;
  raft::Mark base;
  if (options_.bootstrap) base.config.members.push_back({options_.self, identity.log_id, true});
  formatting_ = std::move(disk).value();
  RaftLog::format(*formatting_, identity, base, [this](Status status) {
    if (!status.ok()) return fail(std::move(status).error().with("making the agreement log"));
    // In a later turn: a completion must not destroy its disk.
    timer_.arm(io::Duration(0), [this] {
      formatting_.reset();
      open_log();
    });
  });
}

void Consensus::open_snapshot() {
  auto disk = host_.disks.open(options_.snapshot_path, {.mode = io::OpenOptions::Mode::read_write});
  if (!disk.ok() && disk.error().code() == Code::not_found) {
    disk = host_.disks.open(options_.snapshot_path,
                            {.mode = io::OpenOptions::Mode::create,
                             .size_bytes = SnapshotFile::disk_bytes(options_.snapshot_bytes)});
  }
  if (!disk.ok()) return fail(std::move(disk).error().with("opening the state's snapshot file"));
  const uint64_t capacity = ((*disk)->size_bytes() / 2 - page_bytes) / page_bytes * page_bytes;
  snapshots_ = std::make_unique<SnapshotFile>(std::move(disk).value(), capacity, log_id_);
  snapshots_->load([this](Result<std::optional<SnapshotFile::Found>> found) {
    if (!found.ok()) return fail(std::move(found).error());
    if (Status made = make_state(*found); !made.ok()) return fail(std::move(made).error());
    start_raft();
  });
}

// From what was made durable, flushed and checked: the log, and the snapshot that stands where it
// begins or after. The database of the last run is none of that.
Status Consensus::make_state(const std::optional<SnapshotFile::Found>& own) {
  auto state = state::State::create_empty(options_.state_path);
  if (!state.ok()) {
    host_.log.warning("the state is not shown in a database: it cannot be made",
                      {{"path", options_.state_path}, {"why", state.error().message()}});
    state = state::State::create_empty("");
  }
  state_ = std::move(state).value();
  const raft::Index base = opened_->restored.base.index;
  const raft::Index last = base + opened_->restored.entries.size();
  // The received snapshot stands at the mark of the log or before; the own one anywhere: what was
  // written when the log went further may be kept although entries were lost since.
  const auto usable = [&](raft::Index index) { return index >= base && index <= last; };
  const bool take_own =
      own && (usable(own->index) || SP_PLANTED_BUG(consensus_takes_snapshot_before_log));
  const bool take_received =
      !take_own && opened_->snapshot && usable(opened_->snapshot->mark.index);
  if (!take_own && !take_received) {
    if (base == 0) return {};
    return Error(Code::damaged,
                 "the state cannot be made again: the agreement log begins behind entry " +
                     std::to_string(base) + " and ends at " + std::to_string(last) +
                     ", and no snapshot of the state lies there. If other voters are well, move " +
                     options_.log_path + " away: this node then comes back as a new member");
  }
  const Bytes bytes = take_own ? Bytes(own->bytes) : Bytes(*opened_->snapshot->bytes);
  if (Status restored = restore(bytes); !restored.ok())
    return std::move(restored).error().with("restoring the state from its snapshot");
  SP_PROBE(consensus_state_from_snapshot);
  host_.log.info("state made from a snapshot",
                 {{"index", take_own ? own->index : opened_->snapshot->mark.index}});
  return {};
}

void Consensus::start_raft() {
  opening_.reset();
  raft::Options options;
  static_cast<raft::Bounds&>(options) = options_.raft;
  options.self = options_.self;
  options.log_id = log_id_;
  options.seed = random_id(host_.random);
  if (const uint32_t draw = SP_BUGGIFY(consensus_elections_crowded, host_))
    options.election_timeout_max_ns =
        options.election_timeout_min_ns + int64_t{1 + draw % 50} * 1'000'000;
  raft::Restored restored = std::move(opened_->restored);
  restored.applied = std::max(restored.base.index, state_->applied_index());
  processed_ = restored.applied;
  opened_.reset();
  raft_ = std::make_unique<raft::Raft>(options, std::move(restored), host_.clock.now().ns);
  events_.started();
  submit(raft::Tick{});
}

}  // namespace sp::beacon
