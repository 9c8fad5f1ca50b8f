// Activation of a set in a new epoch: what the copies hold is collected, made equal, and reported.
#include <algorithm>
#include <map>

#include "base/planted.h"
#include "base/probe.h"
#include "serve/copies.h"
#include "serve/joiner.h"
#include "serve/primary.h"
#include "serve/trace.h"

namespace sp::serve {

void Primary::drive() {
  const io::Instant now = context_.now();
  if (phase_ == Phase::collecting) {
    for (Copy& copy : copies_) {
      if (copy.disk == 0) continue;
      if (copy.begin == Begin::idle && now >= copy.begin_next) ask_begin(copy);
      // begin_since is the first unanswered question's time, kept over lost connections.
      if ((copy.begin == Begin::idle || copy.begin == Begin::asked) &&
          now - copy.begin_since >= limits::copy_timeout)
        evict(copy, "does not answer");
    }
    const bool all = std::all_of(copies_.begin(), copies_.end(), [](const Copy& copy) {
      return copy.disk == 0 || copy.begin == Begin::agreed || copy.begin == Begin::unknown;
    });
    if (all) collected();
  }
  if (phase_ == Phase::equalizing) {
    for (Copy& copy : copies_) {
      if (copy.disk != 0) pump(copy);
    }
    const uint32_t needed = counted();
    const bool equal = std::all_of(undecided_.begin(), undecided_.end(), [&](const Write* write) {
      return (write->acked & needed) == needed;
    });
    if (!equal) return;
    phase_ = Phase::asking;
    activation_next_ = {};
  }
  if (phase_ == Phase::asking && !activation_asked_ && now >= activation_next_) ask_activation();
}

void Primary::ask_begin(Copy& copy) {
  copy.begin = Begin::asked;
  if (copy.begin_since.ns == 0) copy.begin_since = context_.now();
  const size_t index = static_cast<size_t>(&copy - copies_.data());
  const uint32_t round = ++copy.begin_round;
  wire::BeginEpoch request;
  const Place place = context_.place(copy.disk);
  request.set = set();
  request.disk = copy.disk;
  request.uuid = place.uuid;
  request.epoch = epoch();
  request.revision = row_.revision;
  request.create = copy.create;
  begin_epoch(context_, place, request,
              [weak = weak_from_this(), index, round](Result<wire::BeginEpochReply> reply) {
                if (const auto self = weak.lock())
                  self->begin_replied(index, round, std::move(reply));
              });
}

void Primary::begin_replied(size_t index, uint32_t round, Result<wire::BeginEpochReply> reply) {
  Copy& copy = copies_[index];
  if (phase_ != Phase::collecting || copy.begin_round != round || copy.begin != Begin::asked)
    return;
  if (!reply.ok()) {
    copy.begin = Begin::idle;
    copy.begin_next = context_.now() + limits::server_tick;
    copy.trouble = reply.error().message();
    return drive();
  }
  if (reply->ok) {
    copy.begin = Begin::agreed;
    copy.reply = std::move(*reply);
    context_.space.told(copy.disk, copy.reply.blocks_free, context_.now());
    copy.trouble.clear();
    copy.told = copy.reply.decided_to;
  } else if (reply->epoch > epoch()) {
    superseded_ = true;
    SP_PROBE(serve_superseded_while_collecting);
    copy.begin = Begin::idle;
    copy.begin_next = context_.now() + limits::copy_timeout;
  } else if (!reply->known) {
    copy.begin = Begin::unknown;
    copy.trouble = reply->text;
  } else {
    copy.begin = Begin::idle;
    copy.begin_next = context_.now() + limits::server_tick;
    evict(copy, reply->text, reply->lost);
  }
  drive();
}

// Copies without any record of the set are new when nobody has anything, and have lost their memory
// otherwise. Fewer than may decide cannot tell: the others may have what these have lost.
bool Primary::settle_unknown() {
  bool any_unknown = false, any_content = false;
  for (const Copy& copy : copies_) {
    if (copy.disk == 0) continue;
    any_unknown |= copy.begin == Begin::unknown;
    if (copy.begin == Begin::agreed)
      any_content |= !copy.reply.decided_to.is_zero() || !copy.reply.undecided.empty() ||
                     !copy.reply.operations.empty();
  }
  if (!any_unknown) return true;
  const size_t enough = std::min<size_t>(min_copies_, row_.base.size());
  if (!any_content && row_.acting.size() < enough &&
      !SP_PLANTED_BUG(serve_believes_forgetful_copy)) {
    SP_PROBE(serve_lone_copy_without_record_waits);
    return false;
  }
  for (Copy& copy : copies_) {
    if (copy.disk == 0 || copy.begin != Begin::unknown) continue;
    if (any_content && !SP_PLANTED_BUG(serve_believes_lost_copy)) {
      SP_PROBE(serve_copy_lost_its_record);
      evict(copy, "has lost what it held of the set", true);
    } else {
      copy.create = true;
      ask_begin(copy);
    }
  }
  return false;
}

// Acting copies hold every decided write, decided or as a record: one that lacks the newest that
// another one knows has lost what it had acknowledged last, as a disk does whose flush lied before
// the power failed. (A store loses rounds from its end only, or it does not open.)
bool Primary::settle_forgetful() {
  Version newest;
  for (const Copy& copy : copies_) {
    if (copy.disk != 0) newest = std::max(newest, newest_known(copy.reply, decided_to_));
  }
  bool all = true;
  for (Copy& copy : copies_) {
    if (copy.disk == 0 || vouches_for(copy.reply, newest)) continue;
    if (copy.create && SP_PLANTED_BUG(serve_believes_lost_copy)) continue;
    SP_PROBE(serve_copy_forgot_newest);
    evict(copy, "has lost what it acknowledged", true);
    all = false;
  }
  return all;
}

void Primary::collected() {
  if (!settle_unknown()) return;
  for (const Copy& copy : copies_) {
    if (copy.disk != 0) decided_to_ = std::max(decided_to_, copy.reply.decided_to);
  }
  if (!settle_forgetful()) return;
  merge_records();
  replica_.note_decided(decided_to_);
  phase_ = Phase::equalizing;
}

void Primary::merge_records() {
  std::map<Version, Write*> records;
  for (Copy& copy : copies_) {
    if (copy.disk == 0) continue;
    for (const auto& record : copy.reply.undecided) {
      if (record.version <= decided_to_) continue;
      const bool foreign = copy.disk != disk_.id && records.count(record.version) == 0;
      if (foreign && SP_PLANTED_BUG(serve_takes_own_records_only)) continue;
      Write*& write = records[record.version];
      if (write == nullptr) {
        write = writes_.take();
        *write = Write();
        write->prepare.record = record;
        write->prepare.epoch = epoch();
        write->loaded = record.discard;
        write->since = context_.now();
      }
      write->acked |= bit(copy);
    }
  }
  for (const auto& [version, write] : records) undecided_.push_back(write);
  if (!undecided_.empty()) SP_PROBE(serve_primary_inherits_records);
  for (Copy& copy : copies_) {
    for (const auto& known : copy.reply.operations) {
      if (SP_PLANTED_BUG(serve_forgets_operations)) break;
      if (known.version <= decided_to_ || records.count(known.version) != 0)
        operations_.add(known.attachment, known.operation, known.version);
      if (known.version <= decided_to_)
        generation_decided_ = std::max(generation_decided_, known.attachment.generation);
    }
    copy.reply = {};
  }
  for (const auto& [version, write] : records) {
    const auto& record = write->prepare.record;
    if (!SP_PLANTED_BUG(serve_forgets_operations))
      operations_.add(record.attachment, record.operation, version);
    trace(context_.host, "taken over undecided", record);
    if ((write->acked & counted()) == counted()) continue;
    ++context_.counters.records_equalized;
    SP_PROBE(serve_record_equalized);
  }
}

void Primary::ask_activation() {
  activation_asked_ = true;
  map::SetActivated command;
  command.set = set();
  command.epoch = epoch();
  if (SP_BUGGIFY(serve_activation_asked_twice, context_.host))
    context_.member.command(command, [](Result<uint64_t>) {});
  // When agreed, our map shows it before this answer comes; when not, it is asked again until the
  // map moves on.
  context_.member.command(command, [weak = weak_from_this()](Result<uint64_t>) {
    const auto self = weak.lock();
    if (!self) return;
    self->activation_asked_ = false;
    self->activation_next_ = self->context_.now() + limits::command_retry;
  });
}

}  // namespace sp::serve
