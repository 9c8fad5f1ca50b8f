// Writes: ordering, copies, decision, answer.
#include <algorithm>
#include <bit>

#include "base/client_id.h"
#include "base/planted.h"
#include "base/probe.h"
#include "serve/copies.h"
#include "serve/joiner.h"
#include "serve/primary.h"
#include "serve/trace.h"

namespace sp::serve {

void Primary::admit_write(ClientRequest request) {
  const wire::WriteRequest& w = request.write;
  operations_.heard(w.attachment, request.client_start, w.oldest_open_operation);
  if (w.operation < w.oldest_open_operation || operations_.obsolete(w.attachment, w.operation))
    return reply(request, wire::DataStatus::invalid,
                 "a leftover of an operation that was answered before");
  if (const auto version = operations_.find(w.attachment, w.operation)) {
    ++context_.counters.duplicates;
    if (*version <= decided_to_) {
      SP_PROBE(serve_retry_answered_from_memory);
      if (!leads()) return park(std::move(request));
      return reply(request, wire::DataStatus::ok, "");
    }
    Write* const write = find_write(*version);
    SP_ASSERT(write != nullptr);
    SP_PROBE(serve_retry_of_undecided);
    write->link = request.link;
    write->request = request.request;
    write->ticket = std::move(request.ticket);
    return;
  }
  // A discard may need a record for holes before it.
  const uint32_t most = context_.tuning.undecided_max;
  const size_t records = w.discard && most > 1 ? 2 : 1;
  if (!may_decide() || !leads() || undecided_.size() + records > most)
    return park(std::move(request));
  if (map::in_open_cut(context_.map(), w.object.volume) &&
      !SP_PLANTED_BUG(serve_orders_during_cut)) {
    SP_PROBE(serve_write_held_by_cut);
    return park(std::move(request));
  }
  // The oldest one is taken always: until it is answered nothing is forgotten.
  const uint32_t kept = context_.tuning.operations_per_attachment_max;
  if (w.operation != w.oldest_open_operation && operations_.full(w.attachment, kept)) {
    SP_PROBE(serve_too_many_operations);
    return reply(request, wire::DataStatus::busy,
                 "too many operations of this attachment are remembered");
  }
  const Stand& stand = context_.stands.of(context_.map(), w.object.volume);
  store::BlockSet uncovered;
  if (w.discard && !stand.below.empty()) {
    if (!holes_known(stand, w.object.index)) return park(std::move(request));
    uncovered = layers_->uncovered(stand, w.object.index, w.first_block, w.block_count);
  }
  if (!w.discard || uncovered.any()) {
    DiskId disk = 0;
    const Space::Room room = room_for(w.discard ? 1 : w.block_count, disk);
    if (room == Space::Room::unknown) {
      SP_PROBE(serve_write_waits_to_know_of_room);
      return park(std::move(request));
    }
    if (room == Space::Room::full) {
      SP_PROBE(serve_write_refused_for_full_copy);
      return reply(request, wire::DataStatus::no_space,
                   "disk " + std::to_string(disk) +
                       " is full: delete volumes, add disks, or move disk sets to other disks");
    }
  }
  if (uncovered.any()) order_holes({stand.layer, w.object.index}, uncovered);
  order(std::move(request), stand.layer);
}

// Whether every copy has room for so many more blocks; else which disk has not, or has to be asked.
Space::Room Primary::room_for(uint32_t blocks, DiskId& disk) {
  if (SP_PLANTED_BUG(serve_orders_without_room)) return Space::Room::enough;
  const uint64_t needed = blocks + limits::space_margin_blocks;
  const io::Instant now = context_.now();
  for (const Copy& copy : copies_) {
    if (copy.disk == 0 || !copy.counted) continue;
    disk = copy.disk;
    if (LocalDisk* const local = context_.place(copy.disk).local) {
      // What was written over in between is free again: looked at anew before a refusal.
      if (local->blocks_free < needed) local->count_space(now);
      if (local->blocks_free < needed) return Space::Room::full;
      continue;
    }
    const Space::Room room = context_.space.room(copy.disk, needed, now);
    if (room == Space::Room::enough) continue;
    if (room == Space::Room::unknown) context_.ask_space(copy.disk);
    return room;
  }
  return Space::Room::enough;
}

void Primary::order(ClientRequest request, VolumeId layer) {
  ++context_.counters.writes;
  wire::WriteRequest& w = request.write;
  Write& write = new_write(w.discard, {layer, w.object.index}, w.first_block, w.block_count);
  wire::CopyRecord& record = write.prepare.record;
  record.attachment = w.attachment;
  record.operation = w.operation;
  write.prepare.crcs = std::move(w.crcs);
  write.data = std::move(request.data);
  write.link = request.link;
  write.request = request.request;
  write.ticket = std::move(request.ticket);
  operations_.add(w.attachment, w.operation, record.version);
  send_ordered(write);
}

// The next in order, of no client yet and without content.
OrderedWrite& Primary::new_write(bool discard, ObjectId object, uint16_t first, uint16_t count) {
  Write& write = *writes_.take();
  wire::CopyRecord& record = write.prepare.record;
  write.prepare.epoch = epoch();
  write.prepare.crcs.clear();
  record.discard = discard;
  record.set = set();
  record.version = Version(epoch(), ++sequence_);
  record.object = object;
  record.first_block = first;
  record.block_count = count;
  record.attachment = {servers_client, 0};
  record.operation = record.version.packed();
  write.loaded = true;
  write.loading = false;
  write.acked = write.failed = 0;
  write.since = context_.now();
  write.forget_client();
  undecided_.push_back(&write);
  return write;
}

void Primary::send_ordered(const Write& write) {
  trace(context_.host, "ordered", write.prepare.record);
  for (Copy& copy : copies_) {
    if (copy.disk != 0) pump(copy);
  }
}

// Whether a discard in this object can be ordered now. What an earlier primary has ordered, holes
// and content of parents, is part of what it has to know, so that is decided first.
bool Primary::holes_known(const Stand& stand, uint32_t index) {
  if (inherits()) return false;
  return layers_->ready(stand, index) && layers_->readable(stand, index);
}

// Before a discard that would uncover what a parent holds: two records, of which the first one says
// that nothing below counts any more, and the second one takes away what is above.
void Primary::order_holes(ObjectId top, const store::BlockSet& uncovered) {
  const store::BlockSet holes = layers_->add_holes(top, uncovered);
  if (SP_PLANTED_BUG(serve_discards_without_hole)) return;
  SP_PROBE(serve_hole_written);
  Write& write = new_write(false, holes_of(top), 0, 1);
  write.data = encode_holes(holes);
  write.prepare.crcs = {crc64(write.data.bytes())};
  send_ordered(write);
}

// What is remembered of layers has to follow.
void Primary::layer_decided(const Write& write) {
  const ObjectId object = write.prepare.record.object;
  if (write.prepare.record.version.epoch() < epoch())
    layers_
        ->forget_all();  // of an earlier primary: it may be of any layer, and without content here
  else if ((object.volume & map::hole_bit) != 0)
    layers_->holes_decided(object, write.data.bytes());
}

bool Primary::is_settled(VolumeId volume) const {
  if (phase_ != Phase::active || superseded_ || !leads() || !may_decide()) return false;
  if (SP_PLANTED_BUG(serve_settles_with_writes_open)) return true;
  const VolumeId layer = map::layer_of(context_.map(), volume);
  return std::none_of(undecided_.begin(), undecided_.end(), [&](const Write* write) {
    return map::layer_of_holes(write->prepare.record.object.volume) == layer;
  });
}

Primary::Write* Primary::find_write(Version version) {
  const auto found = std::lower_bound(
      undecided_.begin(), undecided_.end(), version,
      [](const Write* write, Version v) { return write->prepare.record.version < v; });
  return found != undecided_.end() && (*found)->prepare.record.version == version ? *found
                                                                                  : nullptr;
}

// Sends what the copy has not been sent, in order. Stops at a record whose content has to be
// fetched first.
void Primary::pump(Copy& copy) {
  if (phase_ != Phase::equalizing && phase_ != Phase::active && phase_ != Phase::asking) return;
  const Place place = context_.place(copy.disk);
  if (place.local == nullptr && !context_.peers.ready(place.server)) {
    const bool lacks = std::any_of(undecided_.begin(), undecided_.end(), [&](const Write* write) {
      return (write->acked & bit(copy)) == 0;
    });
    if (lacks && place.server.node != 0 && place.server != context_.self.service)
      context_.peers.want(place.server);
    return;
  }
  auto next = std::upper_bound(
      undecided_.begin(), undecided_.end(), copy.sent_to,
      [](Version v, const Write* write) { return v < write->prepare.record.version; });
  for (; next != undecided_.end(); ++next) {
    Write& write = **next;
    if ((write.acked & bit(copy)) == 0) {
      if (!write.loaded && !load(write)) return;
      send(copy, write);
    }
    copy.sent_to = write.prepare.record.version;
  }
}

// Fetches the content of a record that this leadership has inherited, from any copy that holds it.
// True when there is nothing to wait for.
bool Primary::load(Write& write) {
  if (write.loading) return false;
  if (context_.map().is_deleted(write.prepare.record.object.volume)) {
    // Copies drop such content by themselves, and nobody will read it: as good as discarded.
    SP_PROBE(serve_record_of_deleted_volume);
    write.prepare.record.discard = true;
    return write.loaded = true;
  }
  SP_PROBE(serve_record_content_fetched);
  Copy* holder = nullptr;
  for (Copy& copy : copies_) {
    if (copy.disk != 0 && (write.acked & ~write.failed & bit(copy)) != 0 &&
        (holder == nullptr || copy.disk == disk_.id))
      holder = &copy;
  }
  if (holder == nullptr) {
    write.failed = 0;  // all of them are asked again
    return false;
  }
  write.loading = true;
  const size_t index = static_cast<size_t>(holder - copies_.data());
  const uint32_t round = holder->round;
  const Version version = write.prepare.record.version;
  wire::FetchUndecided request;
  request.set = set();
  request.disk = holder->disk;
  request.epoch = epoch();
  request.version = version;
  fetch_undecided(context_, context_.place(holder->disk), request,
                  [weak = weak_from_this(), index, round, version](
                      Result<wire::FetchUndecidedReply> reply, Buffer data) {
                    const auto self = weak.lock();
                    if (!self || self->phase_ == Phase::stopped) return;
                    Write* const write = self->find_write(version);
                    if (write == nullptr) return;
                    write->loading = false;
                    Copy& holder = self->copies_[index];
                    const wire::CopyRecord& r = write->prepare.record;
                    if (!reply.ok()) return;  // asked again by the next tick
                    const std::string wrong =
                        reply->ok ? check_content(r.discard, r.first_block, r.block_count,
                                                  reply->crcs, data ? data.bytes() : Bytes())
                                  : reply->text;
                    if (!wrong.empty()) {  // the next tick asks another one
                      if (holder.round == round) self->holder_failed(*write, holder, wrong);
                      return;
                    }
                    write->prepare.crcs = std::move(reply->crcs);
                    write->data = std::move(data);
                    write->loaded = true;
                    for (Copy& copy : self->copies_) {
                      if (copy.disk != 0) self->pump(copy);
                    }
                  });
  return false;
}

// What a copy cannot show it does not hold: it has to recover. When no other can show it either,
// and a complete copy has never had the record, it was never decided, and goes with those that held
// it: too few copies are better than a set that waits for it for ever.
void Primary::holder_failed(Write& write, Copy& holder, const std::string& why) {
  if (context_.map().is_deleted(write.prepare.record.object.volume)) return;
  write.failed |= bit(holder);
  const bool others = (write.acked & ~write.failed) != 0;
  const bool lost = phase_ == Phase::equalizing && !others;
  if (lost) SP_PROBE(serve_record_lost_by_holders);
  evict(holder, why, lost);
}

void Primary::send(Copy& copy, Write& write) {
  const size_t index = static_cast<size_t>(&copy - copies_.data());
  const uint32_t round = copy.round;
  const Version version = write.prepare.record.version;
  write.prepare.disk = copy.disk;
  if (!SP_BUGGIFY(serve_decided_not_carried, context_.host)) copy.told = decided_to_;
  write.prepare.decided_to = SP_PLANTED_BUG(serve_tells_decided_early) ? version : copy.told;
  const Place place = context_.place(copy.disk);
  const uint32_t blocks = write.prepare.record.discard ? 0 : write.prepare.record.block_count;
  if (place.local != nullptr) {
    place.local->take_space(blocks);
    place.local->replica(context_.host, set())
        .prepare(write.prepare, write.data, true,
                 [weak = weak_from_this(), index, round](const wire::PrepareReply& reply) {
                   if (const auto self = weak.lock())
                     self->prepared(index, round, reply.version, reply);
                 });
    return;
  }
  context_.space.sent(copy.disk, blocks);
  context_.peers.request(
      place.server, wire::MessageType::prepare, encode(write.prepare), write.data,
      [weak = weak_from_this(), &context = context_, disk = copy.disk, blocks, index, round,
       version](Result<wire::Message> message) {
        context.space.ended(disk, blocks);
        const auto self = weak.lock();
        if (!message.ok()) {
          if (self) self->prepared(index, round, version, message.error());
          return;
        }
        auto reply = wire::decode<wire::PrepareReply>(message->body);
        if (reply && reply->ok) context.space.told(disk, reply->blocks_free, context.now());
        if (!self) return;
        if (!reply || reply->version != version)
          return self->prepared(index, round, version, Error(Code::damaged, "a malformed reply"));
        self->prepared(index, round, version, std::move(*reply));
      });
}

void Primary::prepared(size_t index, uint32_t round, Version version,
                       const Result<wire::PrepareReply>& reply) {
  Copy& copy = copies_[index];
  if (phase_ == Phase::stopped || copy.round != round || copy.disk == 0) return;
  if (reply.ok() && reply->ok) {
    copy.acked_to = std::max(copy.acked_to, version);
    copy.trouble.clear();
    if (Write* const write = find_write(version)) {
      write->acked |= bit(copy);
      trace(context_.host, "durable on copy", write->prepare.record, copy.disk);
    }
    if (SP_PLANTED_BUG(serve_reads_undecided) && copy.disk == disk_.id)
      replica_.note_decided(version);
    if (phase_ == Phase::active)
      advance();
    else
      drive();
    return;
  }
  std::string why = reply.ok() ? reply->text : reply.error().message();
  if (reply.ok() && reply->epoch > epoch()) {
    superseded_ = true;
    SP_PROBE(serve_superseded_while_active);
  }
  const DiskId disk = copy.disk;
  for (auto& joiner : joiners_) {
    if (joiner->disk() == disk && !joiner->promotion_open()) return joiner->fail(why);
  }
  // A lost connection: everything unacknowledged is sent again, in order, when there is a new one.
  // A refusal: it is taken out, unless it only had no room, which there may be with the next tick.
  copy.sent_to = {};
  copy.trouble = why;
  if (reply.ok() && reply->no_space) return;
  if (reply.ok() && !superseded_) {
    context_.host.reactor.post([weak = weak_from_this(), index, round, why] {
      const auto self = weak.lock();
      if (self && self->phase_ != Phase::stopped && self->copies_[index].round == round)
        self->evict(self->copies_[index], why);
    });
  }
}

bool Primary::is_everywhere(const Write& write, uint32_t needed) const {
  if (SP_PLANTED_BUG(serve_decides_by_majority))
    return std::popcount(write.acked & needed) >= static_cast<int>(min_copies_);
  return (write.acked & needed) == needed;
}

void Primary::advance() {
  if (phase_ != Phase::active) return;
  const Version before = decided_to_;
  const uint32_t needed = counted();
  std::vector<Write*> decided;
  while (may_decide() && !undecided_.empty() && is_everywhere(*undecided_.front(), needed)) {
    decided.push_back(undecided_.front());
    undecided_.pop_front();
    decided_to_ = decided.back()->prepare.record.version;
  }
  if (may_decide() && !inherits()) {
    fenced_volumes_.clear();
    knows_fences_ = true;
  }
  if (decided_to_ != before) {
    replica_.note_decided(decided_to_);
    for (Write* write : decided) {
      trace(context_.host, "decided", write->prepare.record);
      layer_decided(*write);
      answer(*write);
      write->data = {};
      if (!SP_PLANTED_BUG(serve_keeps_write_records)) writes_.release(write);
    }
    if (!decided_timer_.armed()) {
      const uint32_t late = SP_BUGGIFY(serve_decided_told_late, context_.host) % 1000;
      decided_timer_.arm(limits::decided_delay + std::chrono::milliseconds(late),
                         [this] { tell_decided(); });
    }
    if (fenced_records_)
      attachments_changed();
    else if (!parked_.empty())
      retry_parked();
  }
  for (auto& joiner : joiners_) joiner->progress();
}

void Primary::answer(Write& write) {
  if (write.link == 0) return;
  write.ticket = {};
  const bool sure = leads();
  reply_write(write.link, write.request, sure ? wire::DataStatus::ok : wire::DataStatus::not_ready,
              sure ? "" : "no lease");
}

void Primary::tell_decided() {
  for (Copy& copy : copies_) {
    if (copy.disk != 0) tell_decided(copy);
  }
}

void Primary::tell_decided(Copy& copy) {
  if (copy.told >= decided_to_ || copy.disk == disk_.id) return;
  wire::Decided message;
  message.set = set();
  message.disk = copy.disk;
  message.epoch = epoch();
  message.decided_to = decided_to_;
  const Place place = context_.place(copy.disk);
  if (place.local != nullptr)
    place.local->replica(context_.host, set()).decided(message);
  else if (context_.peers.ready(place.server))
    context_.peers.send(place.server, wire::MessageType::decided, encode(message));
  else
    return;
  copy.told = decided_to_;
}

void Primary::check_overdue() {
  const io::Instant now = context_.now();
  if (undecided_.empty()) return;
  for (Copy& copy : copies_) {
    if (copy.disk == 0) continue;
    pump(copy);  // what could not be sent, or not be fetched, is tried again
    if (!copy.counted) continue;
    if (std::find(row_.acting.begin(), row_.acting.end(), copy.disk) == row_.acting.end()) continue;
    const auto oldest = std::find_if(undecided_.begin(), undecided_.end(), [&](const Write* write) {
      return (write->acked & bit(copy)) == 0;
    });
    if (oldest == undecided_.end()) continue;
    if (now - (*oldest)->since < limits::copy_timeout &&
        !SP_BUGGIFY(serve_complains_early, context_.host))
      continue;
    evict(copy, copy.trouble.empty() ? "does not acknowledge writes" : copy.trouble);
  }
}

}  // namespace sp::serve
