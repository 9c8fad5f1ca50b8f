#include "beacon/consensus.h"

#include "base/probe.h"
#include "map/command.h"

namespace sp::beacon {

namespace {

constexpr uint8_t envelope_version = 1;
constexpr auto disk_stalled_after = std::chrono::milliseconds(500);

Error too_old(uint32_t level, uint32_t newest) {
  return {Code::refused, "the cluster has feature level " + std::to_string(level) +
                             ", which is never lowered, and this version of sp-beacon knows only "
                             "levels up to " +
                             std::to_string(newest) + "; upgrade this node"};
}

}  // namespace

std::vector<std::byte> encode(const Envelope& envelope) {
  Writer out;
  out.number(envelope_version)
      .number(envelope.origin)
      .number(envelope.origin_start)
      .number(envelope.number)
      .raw(envelope.command);
  return std::move(out).take();
}

std::optional<Envelope> decode_envelope(Bytes bytes) {
  Reader in(bytes);
  if (in.number<uint8_t>() != envelope_version) return std::nullopt;
  Envelope envelope;
  envelope.origin = in.number<NodeId>();
  envelope.origin_start = in.number<uint64_t>();
  envelope.number = in.number<uint64_t>();
  if (in.failed()) return std::nullopt;
  envelope.command.assign(in.rest().begin(), in.rest().end());
  return envelope;
}

Consensus::Consensus(io::Host& host, Options options, Events events)
    : host_(host),
      options_(std::move(options)),
      events_(std::move(events)),
      timer_(host.reactor),
      late_timer_(host.reactor) {
  open_log();
}

void Consensus::submit(raft::Event event) {
  if (!running()) return;
  if (stepping_) {
    queue_.push_back(std::move(event));
    return;
  }
  stepping_ = true;
  carry_out(raft_->step(host_.clock.now().ns, std::move(event)));
  while (!queue_.empty() && !failed_) {
    raft::Event next = std::move(queue_.front());
    queue_.pop_front();
    carry_out(raft_->step(host_.clock.now().ns, std::move(next)));
  }
  stepping_ = false;
  if (failed_) return;
  arm();
  events_.settled();
}

void Consensus::arm() {
  const int64_t due = raft_->deadline_ns();
  if (due == INT64_MAX) return timer_.cancel();
  // Whoever hears the leader moves its deadline on all the time: the timer follows when it fires.
  if (timer_.armed() && armed_for_ns_ <= due) return;
  armed_for_ns_ = due;
  timer_.arm(io::Duration(std::max<int64_t>(due - host_.clock.now().ns, 0)), [this] {
    if (raft_->deadline_ns() > host_.clock.now().ns)
      arm();
    else
      submit(raft::Tick{});
  });
}

void Consensus::carry_out(raft::Output output) {
  if (output.persist) persist(std::move(*output.persist));
  for (raft::Message& message : output.messages) {
    const NodeId to = message.to;
    events_.send(to, {wire::MessageType::raft, 0, message.encode(), {}});
  }
  for (const raft::LogEntry& entry : output.apply) {
    apply(entry);
    if (failed_) return;
  }
  if (!output.apply.empty()) queue_.emplace_back(raft::Applied{output.apply.back().index});
  for (const raft::Answer& answer : output.answers) events_.answered(answer);
  for (const raft::Member& member : output.strangers) events_.stranger(member);
  if (output.snapshot_wanted) {
    auto bytes = std::make_shared<const std::vector<std::byte>>(state_->snapshot());
    host_.log.info("sending a snapshot of the state",
                   {{"index", processed_}, {"bytes", bytes->size()}});
    queue_.emplace_back(raft::SupplySnapshot{processed_, std::move(bytes)});
  }
  if (output.caught_up) {
    host_.log.info("caught up with the log after losing entries: this node votes again");
    log_->end_abstention([this](Status status) {
      if (!status.ok()) fail(std::move(status).error());
    });
  }
  if (output.leadership_changed) {
    moving_away_ = false;
    host_.log.info("leadership", {{"leader", raft_->leader()}, {"term", raft_->term()}});
  }
}

void Consensus::persist(raft::Persist batch) {
  const uint64_t ticket = batch.ticket;
  std::shared_ptr<raft::Snapshot> installed;
  if (batch.install) installed = std::make_shared<raft::Snapshot>(*batch.install);
  writing_.emplace_back(ticket, host_.clock.now());
  log_->write(std::move(batch), [this, ticket, installed](Status status) {
    if (!status.ok()) return fail(std::move(status).error().with("writing the agreement log"));
    while (!writing_.empty() && writing_.front().first <= ticket) writing_.pop_front();
    if (installed) {
      // Only now: the log holds the snapshot, so a State that is lost half-way can be made again.
      if (Status restored = restore(*installed->bytes); !restored.ok()) {
        return fail(std::move(restored).error().with("taking over a snapshot of the state"));
      }
      processed_ = installed->mark.index;
      host_.log.info("took over a snapshot of the state", {{"index", processed_}});
      events_.restored();
    }
    if (const uint32_t draw = SP_BUGGIFY(consensus_durable_told_late, host_);
        draw != 0 && !installed) {
      return late_timer_.arm(std::chrono::milliseconds(1 + draw % 60),
                             [this, ticket] { submit(raft::Persisted{ticket}); });
    }
    submit(raft::Persisted{ticket});
  });
}

void Consensus::apply(const raft::LogEntry& entry) {
  SP_ASSERT_OP(entry.index, ==, processed_ + 1);
  processed_ = entry.index;
  if (entry.kind != raft::EntryKind::command) return events_.applied(entry, nullptr, nullptr);
  const auto envelope = decode_envelope(entry.data);
  const auto command = envelope ? map::decode(envelope->command) : std::nullopt;
  if (command && map::feature_level_of(*command) > options_.feature_level_newest)
    return fail(too_old(map::feature_level_of(*command), options_.feature_level_newest));
  if (!command) {
    // Others may understand it and go on: to skip it would make this node's state differ from
    // theirs.
    return fail(
        Error(Code::damaged,
              "the agreed log holds a command that this version does not know; upgrade this node"));
  }
  if (entry.index <= state_->applied_index())
    return;  // restored from a state that was ahead of the mark
  const state::Applied applied = state_->apply(entry.index, *command);
  events_.applied(entry, &*envelope, &applied);
}

Status Consensus::restore(Bytes snapshot) {
  const uint32_t level = map::feature_level_of(snapshot);
  if (level > options_.feature_level_newest) return too_old(level, options_.feature_level_newest);
  return state_->restore(snapshot);
}

void Consensus::tick() {
  if (!running()) return;
  compact();
  look_at_database();
  const bool stalled =
      !writing_.empty() && host_.clock.now() - writing_.front().second > disk_stalled_after;
  if (stalled && raft_->role() == raft::Role::leader && !moving_away_) {
    host_.log.warning("the disk of the agreement log stands still: handing leadership over");
    SP_PROBE(consensus_stalled_leader_moves_away);
    moving_away_ = true;
    submit(raft::Transfer{});
  }
  if (!stalled) moving_away_ = false;
}

// It is a view for people: said once, and nothing else comes of it.
void Consensus::look_at_database() {
  const auto& error = state_->database_error();
  if (error.has_value() == database_behind_) return;
  database_behind_ = error.has_value();
  if (error)
    host_.log.warning("the database of the state is behind: it cannot be written",
                      {{"path", options_.state_path}, {"why", error->message()}});
  else
    host_.log.info("the database of the state is up to date again",
                   {{"path", options_.state_path}});
}

void Consensus::compact() {
  const raft::Index base = raft_->log().mark().index;
  const raft::Index applied = state_->applied_index();
  const bool full = log_->frames_used_bytes() > log_->frames_total_bytes() / 4;
  const bool many = applied > base + 2 * uint64_t{options_.log_entries_kept};
  if (compacting_ || applied <= base) return;
  const bool early = SP_BUGGIFY(consensus_compacts_early, host_) != 0;
  if (!full && !many && !early) return;
  compacting_ = true;
  const raft::Index through = full || early ? applied : applied - options_.log_entries_kept;
  snapshots_->write(applied, state_->snapshot(), [this, through](Status status) {
    compacting_ = false;
    if (!status.ok())
      return fail(std::move(status).error().with("writing a snapshot of the state"));
    submit(raft::Compact{through});
  });
}

void Consensus::fail(Error error) {
  if (failed_) return;
  failed_ = true;
  if (raft_) raft_->step(host_.clock.now().ns, raft::DiskFailed{});
  queue_.clear();
  timer_.arm(io::Duration(0), [this, reason = std::move(error)] { events_.failed(reason); });
}

}  // namespace sp::beacon
