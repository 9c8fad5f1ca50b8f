#include "serve/joiner.h"

#include <algorithm>

#include "base/planted.h"
#include "base/probe.h"
#include "serve/copies.h"
#include "serve/records.h"
#include "serve/repair.h"
#include "serve/trace.h"

namespace sp::serve {

namespace {
constexpr io::Duration pause_min = std::chrono::milliseconds(100);
constexpr io::Duration pause_max = std::chrono::seconds(5);
constexpr int object_patience = 10;  // times limits::copy_timeout; these are large
constexpr io::Duration interrupted_below =
    std::chrono::milliseconds(400);  // buggify; well within what liveness allows
// Copies that do not answer may hold a block that is damaged here: so long they are waited for.
constexpr io::Duration absent_waited_below = std::chrono::milliseconds(800);
}  // namespace

// Part of one object on its way: at most limits::io_blocks_max carried blocks.
struct Joiner::Chunk {
  store::ObjectState state;
  std::vector<uint16_t> wanted;  // indices into state.blocks, of the whole object
  size_t first = 0;              // of this chunk in wanted
  size_t count = 0;
  size_t read_to = 0;  // of this chunk
  size_t run = 0;      // blocks of the read at work
  std::vector<store::BlockState> carried;
  std::shared_ptr<LostBlocks> run_lost;  // of that run: no copy has their content
  std::vector<store::BlockState> lost;   // of this chunk
  Buffer data;                           // content of carried, in order
};

Joiner::Joiner(Primary& primary, DiskId disk) : primary_(primary), disk_(disk) {}
Joiner::~Joiner() { leave(); }

Joiner* Joiner::find(const std::weak_ptr<Primary>& weak, DiskId disk, uint32_t round,
                     std::shared_ptr<Primary>& keep) {
  keep = weak.lock();
  if (!keep || keep->phase_ != Primary::Phase::active) return nullptr;
  for (auto& joiner : keep->joiners_) {
    if (joiner->disk_ == disk && joiner->round_ == round) return joiner.get();
  }
  return nullptr;
}

// For closures: finds the joiner of the same round, or returns from them.
#define SP_JOINER_OR_RETURN(name)                              \
  std::shared_ptr<Primary> keep_;                              \
  Joiner* const name = Joiner::find(weak, disk, round, keep_); \
  if (name == nullptr) return

void Joiner::tick() {
  const io::Instant now = primary_.context_.now();
  if (step_ == Step::resting && now >= next_) begin();
  if (stands_still()) fail("does not answer");
  if (step_ == Step::promoting && !command_open_ && now >= next_) promote();
}

// A server may answer for all but one disk. The copy of that one holds a place that others wait
// for, and from draining on the writes of the set. (In the map it acts once it is promoted, and is
// evicted.)
bool Joiner::stands_still() const {
  const io::Duration waited = primary_.context_.now() - moved_;
  switch (step_) {
    case Step::beginning:
    case Step::draining:
    case Step::finishing: return waited >= limits::copy_timeout;
    case Step::sending: return waited >= limits::copy_timeout * object_patience;
    case Step::resting:
    case Step::promoting:
    case Step::stopped: break;
  }
  return false;
}

// Never the number of another joiner of this leadership: what a stopped one has on its way finds
// nobody, also when the same copy is being joined again.
void Joiner::next_round() { round_ = ++primary_.joiner_round_last_; }

void Joiner::leave() {
  if (holds_place_) --primary_.context_.recoveries;
  holds_place_ = false;
}

void Joiner::stop() {
  leave();
  next_round();
  if (step_ == Step::promoting) --primary_.open_commands_;
  if (Primary::Copy* copy = primary_.find_copy(disk_);
      copy != nullptr && step_ != Step::stopped && primary_.phase_ != Primary::Phase::stopped)
    primary_.remove_copy(*copy);
  step_ = Step::stopped;
}

void Joiner::fail(const std::string& why) {
  if (step_ == Step::resting || step_ == Step::stopped) return;
  SP_ASSERT(step_ != Step::promoting);
  primary_.context_.host.log.info("recovery of a copy begins again",
                                  {{"set", primary_.set().index}, {"disk", disk_}, {"why", why}});
  SP_PROBE(serve_recovery_begins_again);
  leave();
  next_round();
  if (Primary::Copy* copy = primary_.find_copy(disk_)) primary_.remove_copy(*copy);
  step_ = Step::resting;
  pause_ = std::clamp(pause_ * 2, pause_min, pause_max);
  next_ = primary_.context_.now() + pause_;
  primary_.advance();  // what waited for this copy waits no more
}

void Joiner::begin() {
  Context& context = primary_.context_;
  if (context.recoveries >= context.tuning.recoveries || !context.map().disk_serves(disk_)) return;
  ++context.recoveries;
  holds_place_ = true;
  moved_ = context.now();
  step_ = Step::beginning;
  next_round();
  objects_.clear();
  object_next_ = 0;
  if (!SP_PLANTED_BUG(serve_recovery_goes_on_behind_listed)) cursor_ = {};
  scanned_ = false;
  objects_in_flight_ = 0;
  objects_all_ = objects_done_ = 0;
  ask_begin(false);
}

void Joiner::ask_begin(bool clear) {
  Context& context = primary_.context_;
  const Place place = context.place(disk_);
  wire::BeginEpoch request;
  request.set = primary_.set();
  request.disk = disk_;
  request.uuid = place.uuid;
  request.epoch = primary_.epoch();
  request.revision = promote_revision_ = primary_.row_.revision;
  // In base it is complete, and may hold records that nobody else has: nothing is dropped, and it
  // is not sent anything.
  const auto& base = primary_.row_.base;
  request.recovering = std::find(base.begin(), base.end(), disk_) == base.end();
  request.create = clear;
  begin_epoch(context, place, request,
              [weak = primary_.weak_from_this(), disk = disk_, round = round_,
               recovering = request.recovering, clear](Result<wire::BeginEpochReply> reply) {
                SP_JOINER_OR_RETURN(joiner);
                if (reply.ok() && !recovering && joiner->has_lost(*reply))
                  return joiner->tell_lost();
                if (reply.ok() && reply->ok && !recovering) {
                  SP_PROBE(serve_complete_copy_joins);
                  if (joiner->told_old_row()) return joiner->ask_begin(false);
                  return joiner->start_promotion();
                }
                joiner->began(std::move(reply), clear);
              });
}

// A copy of base that lacks what we know to be decided, or says itself that it has lost its memory.
bool Joiner::has_lost(const wire::BeginEpochReply& reply) const {
  if (!reply.ok) return reply.lost;
  wire::BeginEpochReply ours;
  for (const auto& [operation, version] : primary_.disk_.store->operations(primary_.set()))
    ours.operations.push_back({{}, operation.number, version});
  return !vouches_for(reply, newest_known(ours, primary_.decided_to_));
}

// It is out of base by the row that follows, and recovers then.
void Joiner::tell_lost() {
  SP_PROBE(serve_copy_forgot_newest);
  map::SetEvict command;
  command.set = primary_.set();
  command.epoch = primary_.epoch();
  command.disk = disk_;
  command.lost = true;
  primary_.context_.member.command(command, [](Result<uint64_t>) {});
  fail("it has lost what it acknowledged");
}

void Joiner::began(Result<wire::BeginEpochReply> reply, bool cleared) {
  if (!reply.ok()) return fail(reply.error().message());
  if (!reply->ok) {
    if (reply->epoch > primary_.epoch()) primary_.superseded_ = true;
    return fail(reply->text);
  }
  // A copy that had left the set may hold blocks whose discards nobody remembers any more.
  const auto own = primary_.disk_.store->set_record(primary_.set());
  const bool too_old = own && reply->complete_to < own->complete_to;
  if (!cleared && too_old && !SP_PLANTED_BUG(serve_completes_from_any_age)) {
    SP_PROBE(serve_copy_too_old_is_cleared);
    return take_lost(0);
  }
  Primary::Copy* const copy = primary_.add_copy(disk_, false);
  if (copy == nullptr) return fail("too many copies of the set");
  primary_.context_.space.told(disk_, reply->blocks_free, primary_.context_.now());
  cleared_ = cleared;
  after_ = reply->complete_to;
  step_ = Step::sending;
  moved_ = primary_.context_.now();
  primary_.pump(*copy);
  send_more();
}

// What is sent is what is there by now: of what was discarded before nothing is, and the copy would
// keep it.
void Joiner::discards_forgotten() {
  if (step_ != Step::sending || cleared_ || SP_PLANTED_BUG(serve_joins_without_discards)) return;
  SP_PROBE(serve_discards_forgotten_while_joining);
  fail("discards that it has missed were forgotten");
}

// What came here as lost the copy may still have, and nobody after it is cleared.
void Joiner::take_lost(uint32_t first_slot) {
  if (source_failed()) return;
  Context& context = primary_.context_;
  moved_ = context.now();
  auto next = primary_.disk_.store->lost(first_slot, 1);
  while (!next.empty() && next[0].set != primary_.set())
    next = primary_.disk_.store->lost(next[0].slot + 1, 1);
  if (next.empty()) return ask_begin(true);
  take_lost_block(context, primary_.disk_, context.place(disk_), next[0],
                  [weak = primary_.weak_from_this(), disk = disk_, round = round_,
                   slot = next[0].slot](const Status& asked) {
                    SP_JOINER_OR_RETURN(joiner);
                    if (!asked.ok()) return joiner->fail(asked.error().message());
                    joiner->take_lost(slot + 1);
                  });
}

// A store that has failed takes no decisions any more: what it shows may lack what was decided
// since. Its server gives it up with the next tick.
bool Joiner::source_failed() {
  if (!primary_.disk_.store->failure()) return false;
  fail("the disk of the primary has failed");
  return true;
}

// objects

void Joiner::send_more() {
  if (source_failed()) return;
  const uint32_t round = round_;
  const Tuning& tuning = primary_.context_.tuning;
  while (step_ == Step::sending && round == round_ &&
         objects_in_flight_ < tuning.recovery_objects) {
    if (object_next_ == objects_.size()) {
      if (!scanned_) {
        objects_ = primary_.disk_.store->changed_objects(primary_.set(), after_, cursor_,
                                                         tuning.recovery_batch_objects);
        object_next_ = 0;
        objects_all_ += objects_.size();
        scanned_ = objects_.size() < tuning.recovery_batch_objects;
        if (!objects_.empty()) cursor_ = objects_.back();
      }
      if (object_next_ == objects_.size()) {
        if (scanned_ && objects_in_flight_ == 0) drain();
        if (scanned_) return;
        continue;
      }
    }
    ++objects_in_flight_;
    start_object(objects_[object_next_++]);
  }
}

void Joiner::start_object(ObjectId object) {
  primary_.disk_.store->object_state(
      object, [weak = primary_.weak_from_this(), disk = disk_, round = round_,
               object](Result<store::ObjectState> state) {
        SP_JOINER_OR_RETURN(joiner);
        if (joiner->source_failed()) return;
        if (!state.ok()) return joiner->fail(state.error().message());
        auto chunk = std::make_shared<Chunk>();
        chunk->state = std::move(state).value();
        chunk->state.object = object;
        joiner->send_object(std::move(chunk));
      });
}

void Joiner::send_object(std::shared_ptr<Chunk> chunk) {
  for (size_t i = 0; i < chunk->state.blocks.size(); ++i) {
    if (chunk->state.blocks[i].version > after_) chunk->wanted.push_back(static_cast<uint16_t>(i));
  }
  if (chunk->wanted.empty() && SP_PLANTED_BUG(serve_recovers_content_only)) {
    --objects_in_flight_;
    return send_more();
  }
  read_chunk(std::move(chunk));
}

void Joiner::read_chunk(std::shared_ptr<Chunk> chunk) {
  chunk->count = std::min<size_t>(chunk->wanted.size() - chunk->first,
                                  primary_.context_.tuning.recovery_blocks);
  chunk->read_to = 0;
  chunk->carried.clear();
  chunk->lost.clear();
  chunk->data = chunk->count == 0 ? Buffer() : Buffer::allocate(chunk->count * limits::block_bytes);
  read_run(std::move(chunk));
}

// Reads the next run of neighbouring blocks; the data is packed, so a block that is gone meanwhile
// leaves no gap.
void Joiner::read_run(std::shared_ptr<Chunk> chunk) {
  if (chunk->read_to == chunk->count) {
    io::Host& host = primary_.context_.host;
    const uint32_t draw = SP_BUGGIFY(serve_recovery_pauses, host);
    if (draw == 0) return send_chunk(std::move(chunk));
    return host.reactor.later(
        std::chrono::milliseconds(1 + draw % 50),
        [weak = primary_.weak_from_this(), disk = disk_, round = round_, chunk] {
          SP_JOINER_OR_RETURN(joiner);
          joiner->send_chunk(chunk);
        });
  }
  const auto at = [&](size_t i) -> const store::BlockState& {
    return chunk->state.blocks[chunk->wanted[chunk->first + i]];
  };
  chunk->run = 1;
  while (chunk->read_to + chunk->run < chunk->count &&
         at(chunk->read_to + chunk->run).block == at(chunk->read_to).block + chunk->run)
    ++chunk->run;
  const MutableBytes into = chunk->data.mutable_bytes().subspan(
      chunk->carried.size() * limits::block_bytes, chunk->run * limits::block_bytes);
  const auto first = at(chunk->read_to).block;
  const auto object = chunk->state.object;
  const auto run = static_cast<uint16_t>(chunk->run);
  const auto lost = chunk->run_lost = std::make_shared<LostBlocks>();
  lost->wait_for_absent = pause_ < absent_waited_below;
  auto done = [weak = primary_.weak_from_this(), disk = disk_, round = round_,
               chunk = std::move(chunk), into](Result<std::vector<store::BlockRead>> read) {
    SP_JOINER_OR_RETURN(joiner);
    if (!read.ok()) return joiner->fail(read.error().message());
    size_t kept = 0;
    for (size_t i = 0; i < chunk->run; ++i) {
      const uint16_t index = chunk->wanted[chunk->first + chunk->read_to + i];
      const store::BlockRead& block = (*read)[i];
      if (block.version < chunk->state.blocks[index].version)
        continue;  // discarded meanwhile: the copy hears of that by itself
      if (block.version > chunk->state.blocks[index].version)
        SP_PROBE(serve_recovered_block_written_meanwhile);
      const uint16_t number = chunk->state.blocks[index].block;
      const auto& lost_here = chunk->run_lost->blocks;
      if (std::binary_search(lost_here.begin(), lost_here.end(), number)) {
        chunk->lost.push_back({number, block.version, block.crc});
        continue;
      }
      if (kept != i)
        std::copy_n(into.data() + i * limits::block_bytes, limits::block_bytes,
                    into.data() + kept * limits::block_bytes);
      ++kept;
      chunk->carried.push_back({number, block.version, block.crc});
    }
    chunk->read_to += chunk->run;
    joiner->read_run(chunk);
  };
  careful_read(primary_.context_, primary_.disk_, primary_.set(), object, first, run, into, false,
               lost, std::move(done));
}

// With the state of the object as it is now.
void Joiner::send_chunk(std::shared_ptr<Chunk> chunk) {
  const ObjectId object = chunk->state.object;
  if (source_failed()) return;
  primary_.disk_.store->object_state(
      object, [weak = primary_.weak_from_this(), disk = disk_, round = round_,
               chunk = std::move(chunk)](Result<store::ObjectState> now) {
        SP_JOINER_OR_RETURN(joiner);
        if (joiner->source_failed()) return;
        if (!now.ok()) return joiner->fail(now.error().message());
        joiner->send_chunk_as(std::move(chunk), *now);
      });
}

void Joiner::send_chunk_as(std::shared_ptr<Chunk> chunk, const store::ObjectState& now) {
  Primary::Copy* const copy = primary_.find_copy(disk_);
  if (copy == nullptr) return fail("the copy is gone");
  primary_.tell_decided(*copy);  // it must have decided whatever it is sent
  // A block that was written or discarded since it was read is named and not carried: that write
  // has been decided after the copy joined, so it has its own way there.
  wire::RecoverObject request;
  request.set = primary_.set();
  request.disk = disk_;
  request.epoch = primary_.epoch();
  request.revision = primary_.row_.revision;
  request.object = chunk->state.object;
  request.changed = std::max(now.changed, chunk->state.changed);
  request.blocks.reserve(now.blocks.size());
  for (const auto& block : now.blocks)
    request.blocks.push_back({block.block, block.version, block.crc});
  Buffer data = chunk->data;
  const auto is_current = [&now](const store::BlockState& read) {
    const auto listed =
        std::lower_bound(now.blocks.begin(), now.blocks.end(), read.block,
                         [](const auto& state, uint16_t block) { return state.block < block; });
    return listed != now.blocks.end() && listed->block == read.block &&
           listed->version == read.version;
  };
  for (size_t i = 0; i < chunk->carried.size(); ++i) {
    const store::BlockState& read = chunk->carried[i];
    if (!is_current(read)) continue;
    const auto from = data.bytes().subspan(i * limits::block_bytes, limits::block_bytes);
    if (request.carried.size() != i)
      std::copy(from.begin(), from.end(),
                data.data() + request.carried.size() * limits::block_bytes);
    request.carried.push_back(read.block);
  }
  const size_t bytes = request.carried.size() * limits::block_bytes;
  if (bytes == 0)
    data = {};
  else if (bytes != data.size())
    data = Buffer::copy_of(data.bytes().first(bytes));
  for (const store::BlockState& block : chunk->lost) {
    if (!is_current(block)) continue;
    primary_.context_.host.log.error(
        "block is lost: the copy gets it without content",
        {{"disk", disk_}, {"block", block_text(request.object, block.block)}});
    request.carried.push_back(static_cast<uint16_t>(block.block | wire::carried_lost));
  }
  bytes_moved_ += bytes;
  trace_recovery(primary_.context_.host, request.set, request.object, disk_, request.blocks.size(),
                 request.carried.size());
  primary_.context_.counters.bytes_recovered += bytes;
  recover_object(primary_.context_, primary_.context_.place(disk_), request, data,
                 [weak = primary_.weak_from_this(), disk = disk_, round = round_,
                  chunk](Result<wire::RecoverObjectReply> reply) {
                   SP_JOINER_OR_RETURN(joiner);
                   joiner->chunk_applied(chunk, std::move(reply));
                 });
}

void Joiner::chunk_applied(std::shared_ptr<Chunk> chunk, Result<wire::RecoverObjectReply> reply) {
  if (!reply.ok()) return fail(reply.error().message());
  if (!reply->ok) return fail(reply->text);
  // Not again and again: a recovery of many small steps would never end.
  if (pause_ < interrupted_below && SP_BUGGIFY(serve_recovery_interrupted, primary_.context_.host))
    return fail("interrupted");
  moved_ = primary_.context_.now();
  chunk->first += chunk->count;
  if (chunk->first < chunk->wanted.size()) return read_chunk(std::move(chunk));
  --objects_in_flight_;
  ++objects_done_;
  ++primary_.context_.counters.objects_recovered;
  send_more();
}

// the end

void Joiner::drain() {
  Primary::Copy* const copy = primary_.find_copy(disk_);
  if (copy == nullptr) return fail("the copy is gone");
  step_ = Step::draining;
  moved_ = primary_.context_.now();
  copy->counted = !SP_PLANTED_BUG(serve_promotes_uncounted);
  // All that was ordered until now: what was decided without it, and what waits.
  drain_to_ = copy->sent_to;
  if (!primary_.undecided_.empty())
    drain_to_ = std::max(drain_to_, primary_.undecided_.back()->prepare.record.version);
  progress();
}

void Joiner::progress() {
  if (step_ != Step::draining) return;
  const Primary::Copy* const copy = primary_.find_copy(disk_);
  if (copy == nullptr) return;
  if (copy->acked_to != std::exchange(acked_seen_, copy->acked_to))
    moved_ = primary_.context_.now();
  if (copy->acked_to >= drain_to_) finish();
}

void Joiner::finish() {
  if (source_failed()) return;
  step_ = Step::finishing;
  moved_ = primary_.context_.now();
  wire::RecoverObject request;
  request.set = primary_.set();
  request.disk = disk_;
  request.epoch = primary_.epoch();
  // Promotion is asked for at this very revision: a row between this one and an older one may have
  // been without the disk, and its server may have cleared it by that row until it heard of this.
  request.revision = promote_revision_ = primary_.row_.revision;
  request.last = true;
  request.complete_to = primary_.decided_to_;
  recover_object(primary_.context_, primary_.context_.place(disk_), request, {},
                 [weak = primary_.weak_from_this(), disk = disk_,
                  round = round_](Result<wire::RecoverObjectReply> reply) {
                   SP_JOINER_OR_RETURN(joiner);
                   if (!reply.ok()) return joiner->fail(reply.error().message());
                   if (!reply->ok) return joiner->fail(reply->text);
                   if (joiner->told_old_row()) return joiner->finish();
                   joiner->primary_.context_.host.log.debug(
                       "copy is complete", {{"set", joiner->primary_.set().index},
                                            {"group", joiner->primary_.set().group},
                                            {"disk", disk}});
                   joiner->start_promotion();
                 });
}

// The row has changed since the copy was told of it, so its promotion would be refused.
bool Joiner::told_old_row() const { return promote_revision_ != primary_.row_.revision; }

void Joiner::start_promotion() {
  step_ = Step::promoting;
  ++primary_.open_commands_;
  promote();
}

void Joiner::row_changed() {
  if (step_ != Step::promoting || !told_old_row()) return;
  SP_PROBE(serve_promotion_overtaken);
  --primary_.open_commands_;
  step_ = Step::finishing;
  fail("the set changed while its promotion was asked for");
}

void Joiner::promote() {
  command_open_ = true;
  map::SetPromote command;
  command.set = primary_.set();
  command.revision = promote_revision_;
  command.disk = disk_;
  primary_.context_.member.command(command, [weak = primary_.weak_from_this(), disk = disk_,
                                             round = round_](Result<uint64_t> result) {
    SP_JOINER_OR_RETURN(joiner);
    joiner->command_open_ = false;
    joiner->promoted(result.ok() ? Status() : Status(result.error()));
  });
}

// Whatever the answer, the row that follows decides: an earlier request may have been agreed though
// this one was refused.
void Joiner::promoted(Status status) {
  next_ = primary_.context_.now() + limits::command_retry;
  if (status.ok()) ++primary_.context_.counters.promotions;
}

void Joiner::add_task(member::TaskReport& task) const {
  task.disk = disk_;
  task.objects_all += objects_all_;
  task.objects_completed += objects_done_;
  task.objects_in_flight += objects_in_flight_;
  task.bytes_moved += bytes_moved_;
}

#undef SP_JOINER_OR_RETURN

}  // namespace sp::serve
