#include "serve/replica.h"

#include <algorithm>
#include <span>

#include "base/checksum.h"
#include "base/planted.h"
#include "base/probe.h"
#include "serve/records.h"
#include "serve/trace.h"

namespace sp::serve {

Replica::Replica(io::Host& host, store::Store& store, DiskId disk, SetId set)
    : host_(host), store_(store), disk_(disk), set_(set) {
  if (const auto record = store_.set_record(set_)) promised_ = record->epoch;
}

std::string Replica::refusal(uint32_t epoch) const {
  if (change_ != Change::none)
    return "disk " + std::to_string(disk_) + " is changing to epoch " + std::to_string(promised_);
  return "disk " + std::to_string(disk_) + " is in epoch " + std::to_string(promised_) + ", not " +
         std::to_string(epoch);
}

// changes of epoch and membership, one at a time

void Replica::begin_epoch(const wire::BeginEpoch& request,
                          Callback<void(wire::BeginEpochReply)> done) {
  revision_ = std::max(revision_, request.revision);
  // A primary that asks again has given the answer before up; the disk may hang for long.
  if (begins_.size() > 1 && begins_.back().request.epoch == request.epoch) {
    wire::BeginEpochReply reply;
    reply.known = true;
    reply.epoch = promised_;
    reply.text = "the epoch was asked for again";
    auto earlier = std::move(begins_.back().done);
    begins_.pop_back();
    earlier(std::move(reply));
  }
  begins_.push_back({request, std::move(done)});
  if (change_ == Change::none) next_change();
}

void Replica::remove(uint64_t revision, Callback<void(Status)> done) {
  removals_.emplace_back(revision, std::move(done));
  if (change_ == Change::none) next_change();
}

void Replica::next_change() {
  while (change_ == Change::none && !begins_.empty()) {
    Begin& begin = begins_.front();
    const auto record = store_.set_record(set_);
    const bool has_record = record.has_value();
    wire::BeginEpochReply reply;
    reply.known = has_record;
    reply.epoch = promised_;
    if (begin.request.epoch < promised_) {
      reply.text = refusal(begin.request.epoch);
    } else if (!has_record && !begin.request.recovering && !begin.request.create) {
      reply.text = "disk " + std::to_string(disk_) + " has no record of the set";
    } else if (has_record && record->recovering && !begin.request.recovering &&
               !SP_PLANTED_BUG(serve_believes_forgetful_copy)) {
      // Promoted, so it had acknowledged that it is complete.
      reply.lost = true;
      reply.text = "disk " + std::to_string(disk_) + " has forgotten the end of its recovery";
    } else {
      promised_ = begin.request.epoch;
      change_ = Change::begin;
      change_started_ = false;
      break;
    }
    auto done = std::move(begin.done);
    begins_.pop_front();
    done(std::move(reply));
  }
  while (change_ == Change::none && !removals_.empty()) {
    if (removals_.front().first <= revision_) {
      auto done = std::move(removals_.front().second);
      removals_.pop_front();
      done(Error(Code::stale, "the disk belongs to the set again"));
      continue;
    }
    change_ = Change::remove;
    change_started_ = false;
  }
  ended();
}

// Runs the change once nothing of the past is in flight.
void Replica::ended() {
  if (change_ == Change::none || change_started_) return;
  if (working_ != 0) {
    SP_PROBE(serve_epoch_waits_for_writes);
    return;
  }
  change_started_ = true;
  if (change_ == Change::begin)
    begin_now();
  else
    remove_now();
}

void Replica::begin_now() {
  apply_decided();
  const wire::BeginEpoch& request = begins_.front().request;
  if (std::exchange(recovers_, false)) SP_PROBE(serve_recovery_source_lost);
  const auto record = store_.set_record(set_);
  if (!request.recovering) return begin_put(record ? record->complete_to : Version());
  if (request.create) {
    return store_.remove_set(set_, [this](Status status) {
      if (!status.ok()) return begin_answer(std::move(status));
      begin_put({});
    });
  }
  Version complete_to;
  if (record) {
    complete_to = record->complete_to;
    if (!record->recovering || SP_PLANTED_BUG(serve_live_writes_complete))
      complete_to = std::max(complete_to, store_.decided_to(set_));
  }
  // Decisions are remembered lazily, complete_to at once: what it vouches for may be found
  // undecided after a crash, and is not to be dropped.
  if (complete_to > store_.decided_to(set_)) store_.decide(set_, complete_to);
  if (SP_PLANTED_BUG(serve_returns_with_forks)) return begin_put(complete_to);
  if (!store_.undecided(set_).empty()) SP_PROBE(serve_returning_copy_drops_records);
  if (traces(host_)) {
    for (const auto& lost : store_.undecided(set_))
      trace(host_, "dropped undecided by copy", to_wire(lost), disk_);
  }
  store_.drop_undecided(set_, [this, complete_to](Status status) {
    if (!status.ok()) return begin_answer(std::move(status));
    begin_put(complete_to);
  });
}

void Replica::begin_put(Version complete_to) {
  store::SetRecord record;
  record.set = set_;
  record.epoch = promised_;
  record.recovering = begins_.front().request.recovering;
  record.complete_to = complete_to;
  store_.put_set(record, [this](Status status) { begin_answer(std::move(status)); });
}

void Replica::begin_answer(Status status) {
  Begin begin = std::move(begins_.front());
  begins_.pop_front();
  wire::BeginEpochReply reply;
  reply.known = true;
  reply.epoch = promised_;
  if (!status.ok()) {
    reply.text = status.error().message();
  } else {
    decided_wanted_ = {};
    reply.ok = true;
    reply.decided_to = store_.decided_to(set_);
    const auto record = store_.set_record(set_);
    if (record) reply.complete_to = record->complete_to;
    for (const auto& write : store_.undecided(set_)) reply.undecided.push_back(to_wire(write));
    // The newest of them, in the order of versions, as they are there.
    const auto operations = store_.operations(set_);
    const size_t count = std::min<size_t>(operations.size(), limits::set_operations_max);
    reply.operations.reserve(count);
    for (const auto& [operation, version] : std::span(operations).last(count))
      reply.operations.push_back(
          {{operation.client, operation.generation}, operation.number, version});
    if (reply.undecided.size() > limits::set_undecided_max) {
      reply.ok = false;
      reply.undecided.clear();
      reply.operations.clear();
      reply.text =
          "disk " + std::to_string(disk_) + " holds more undecided records than a set may have";
    }
  }
  change_ = Change::none;
  begin.done(std::move(reply));
  if (change_ == Change::none) next_change();
}

void Replica::remove_now() {
  store_.remove_set(set_, [this](Status status) {
    auto done = std::move(removals_.front().second);
    removals_.pop_front();
    if (status.ok()) promised_ = 0;
    decided_wanted_ = {};
    change_ = Change::none;
    done(std::move(status));
    if (change_ == Change::none) next_change();
  });
}

// writes

void Replica::prepare(const wire::Prepare& request, const Buffer& data, bool verified,
                      Callback<void(const wire::PrepareReply&)> done) {
  wire::PrepareReply reply;
  reply.set = set_;
  reply.epoch = promised_;
  reply.version = request.record.version;
  if (!is_current(request.epoch)) {
    reply.text = refusal(request.epoch);
    return done(reply);
  }
  if (!verified) {
    const wire::CopyRecord& r = request.record;
    reply.text = check_content(r.discard, r.first_block, r.block_count, request.crcs,
                               data ? data.bytes() : Bytes());
    if (reply.text.empty() && r.version.is_zero()) reply.text = "a write without a version";
    if (!reply.text.empty()) return done(reply);
  }
  note_decided(request.decided_to);
  PrepareCall* call = calls_.take();
  call->reply = reply;
  call->done = std::move(done);
  in_flight_.insert(std::upper_bound(in_flight_.begin(), in_flight_.end(), reply.version),
                    reply.version);
  ++working_;
  store_.prepare(to_store(request.record), request.crcs, data, 0, [this, call](Status status) {
    const auto place = std::lower_bound(in_flight_.begin(), in_flight_.end(), call->reply.version);
    SP_ASSERT(place != in_flight_.end() && *place == call->reply.version);
    in_flight_.erase(place);
    --working_;
    apply_decided();
    call->reply.ok = status.ok();
    if (!status.ok()) {
      call->reply.text = status.error().message();
      call->reply.no_space = status.error().code() == Code::no_space;
    }
    const auto answer = std::move(call->reply);
    auto done = std::move(call->done);
    calls_.release(call);
    done(answer);
    ended();
  });
}

std::string Replica::open_work() const {
  std::string text;
  const auto add = [&text](size_t count, const char* what) {
    if (count > 0) text += (text.empty() ? "" : ", ") + std::to_string(count) + " " + what;
  };
  add(working_, "calls of the store");
  add(begins_.size() + removals_.size(), "changes of epoch");
  add(calls_.in_use() - in_flight_.size(), "records of prepares that nobody gave back");
  return text;
}

void Replica::decided(const wire::Decided& request) {
  if (!is_current(request.epoch)) return;
  note_decided(request.decided_to);
  forget_discards_to(std::min(request.tombstones_passed, store_.decided_to(set_)), [] {});
}

void Replica::forget_discards(Callback<void()> forgotten) {
  if (change_ == Change::none) forget_discards_to(store_.decided_to(set_), std::move(forgotten));
}

void Replica::forget_discards_to(Version passed, Callback<void()> forgotten) {
  auto record = store_.set_record(set_);
  if (!record || record->recovering || passed <= record->complete_to) return;
  // First it is on record that tombstones may be missing, then they are.
  if (SP_PLANTED_BUG(serve_forgets_discards_early)) return store_.forget_tombstones(set_, passed);
  record->complete_to = passed;
  ++working_;
  auto box = std::make_unique<Callback<void()>>(std::move(forgotten));
  store_.put_set(*record, [this, passed, box = std::move(box)](const Status& status) {
    if (status.ok()) store_.forget_tombstones(set_, passed);
    if (status.ok()) (*box)();
    --working_;
    ended();
  });
}

void Replica::note_decided(Version up_to) {
  decided_wanted_ = std::max(decided_wanted_, up_to);
  apply_decided();
}

void Replica::apply_decided() {
  Version limit = decided_wanted_;
  if (!in_flight_.empty() && in_flight_.front() <= limit)
    limit = Version::from_packed(in_flight_.front().packed() - 1);
  if (limit > store_.decided_to(set_)) store_.decide(set_, limit);
}

void Replica::fetch_undecided(const wire::FetchUndecided& request,
                              Callback<void(wire::FetchUndecidedReply, Buffer)> done) {
  if (!is_current(request.epoch)) {
    wire::FetchUndecidedReply reply;
    reply.text = refusal(request.epoch);
    return done(std::move(reply), {});
  }
  auto box = std::make_unique<Callback<void(wire::FetchUndecidedReply, Buffer)>>(std::move(done));
  store_.read_undecided(
      set_, request.version,
      [box = std::move(box)](Result<Buffer> data, std::vector<uint64_t> crcs) mutable {
        wire::FetchUndecidedReply reply;
        reply.ok = data.ok();
        if (!data.ok()) reply.text = data.error().message();
        reply.crcs = std::move(crcs);
        (*box)(std::move(reply), data.ok() ? *data : Buffer());
      });
}

// recovery

void Replica::recover_object(const wire::RecoverObject& request, const Buffer& data,
                             Callback<void(wire::RecoverObjectReply)> done) {
  wire::RecoverObjectReply reply;
  const auto record = store_.set_record(set_);
  if (!is_current(request.epoch))
    reply.text = refusal(request.epoch);
  else if (!record || (!record->recovering && !request.last))
    reply.text = "disk " + std::to_string(disk_) + " is not recovering this set";
  std::vector<uint16_t> carried, lost;
  for (const uint16_t number : request.carried) {
    const auto block = static_cast<uint16_t>(number & ~wire::carried_lost);
    (number == block ? carried : lost).push_back(block);
  }
  if (reply.text.empty() && (data ? data.size() : 0) != carried.size() * limits::block_bytes)
    reply.text = "data does not fit the carried blocks";
  for (size_t i = 0; reply.text.empty() && i < carried.size(); ++i) {
    const auto listed =
        std::lower_bound(request.blocks.begin(), request.blocks.end(), carried[i],
                         [](const auto& b, uint16_t block) { return b.block < block; });
    if (listed == request.blocks.end() || listed->block != carried[i])
      reply.text = "a carried block is not listed";
    else if (crc64(block_of(data.bytes(), i)) != listed->crc)
      reply.text = "a carried block does not match its checksum";
  }
  if (!reply.text.empty()) return done(std::move(reply));

  revision_ = std::max(revision_, request.revision);
  auto box = std::make_unique<Callback<void(wire::RecoverObjectReply)>>(std::move(done));
  ++working_;
  auto finish = [this, box = std::move(box)](Status status) mutable {
    wire::RecoverObjectReply answer;
    answer.ok = status.ok();
    if (!status.ok()) answer.text = status.error().message();
    --working_;
    (*box)(std::move(answer));
    ended();
  };
  recovers_ = !request.last;
  if (request.last) {
    store::SetRecord complete = *record;
    complete.recovering = false;  // a promoted copy that says else has lost this record
    complete.complete_to = std::max(complete.complete_to, request.complete_to);
    return store_.put_set(complete, std::move(finish));
  }
  store::ObjectState state;
  state.object = request.object;
  state.set = set_;
  state.changed = request.changed;
  state.blocks.reserve(request.blocks.size());
  for (const auto& block : request.blocks)
    state.blocks.push_back({block.block, block.version, block.crc});
  for (const uint16_t block : lost) {
    SP_PROBE(serve_block_comes_as_lost);
    host_.log.error("block is lost on this copy as on all others",
                    {{"disk", disk_}, {"block", block_text(request.object, block)}});
  }
  store_.apply_recovered(state, carried, lost, data, std::move(finish));
}

// digest

struct DigestWork {
  wire::DigestReply reply;
  ObjectId cursor;
  Callback<void(wire::DigestReply)> done;
};

void Replica::digest(Callback<void(wire::DigestReply)> done) {
  auto work = std::make_shared<DigestWork>();
  work->done = std::move(done);
  digest_step(std::move(work));
}

void Replica::digest_step(std::shared_ptr<DigestWork> work) {
  const auto objects = store_.changed_objects(set_, {}, work->cursor, 1);
  if (objects.empty()) {
    work->reply.ok = true;
    return work->done(std::move(work->reply));
  }
  work->cursor = objects.front();
  store_.object_state(work->cursor, [this, work](Result<store::ObjectState> state) {
    if (!state.ok()) return work->done(std::move(work->reply));
    for (const auto& block : state->blocks) {
      ++work->reply.blocks;
      work->reply.hash += store::digest_share(work->cursor, block);
    }
    digest_step(work);
  });
}

}  // namespace sp::serve
