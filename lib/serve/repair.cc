#include "serve/repair.h"

#include <algorithm>
#include <cstring>
#include <functional>
#include <optional>

#include "base/checksum.h"
#include "base/planted.h"
#include "base/probe.h"
#include "serve/copies.h"
#include "serve/records.h"

namespace sp::serve {

namespace {

constexpr io::Duration mend_pause = std::chrono::seconds(1);
constexpr size_t mends_remembered_max = 4096;
constexpr size_t lost_mended_at_a_time = 16;

bool is_whole(const wire::FetchBlockReply& reply, const Buffer& data) {
  return reply.ok && data && data.size() == limits::block_bytes && crc64(data.bytes()) == reply.crc;
}

wire::FetchBlock request_for(Context& context, const Place& place, SetId set, ObjectId object,
                             const store::BlockState& wanted) {
  wire::FetchBlock request;
  request.set = set;
  request.disk = place.disk;
  request.object = object;
  request.block = wanted.block;
  request.version = wanted.version;
  if (const map::DiskSet* row = context.row(set)) request.epoch = row->epoch;
  return request;
}

void note_repaired(Context& context, DiskId disk, ObjectId object, uint16_t block) {
  ++context.counters.blocks_repaired;
  SP_PROBE(serve_block_repaired);
  context.host.log.warning("block repaired from another copy",
                           {{"disk", disk}, {"block", block_text(object, block)}});
}

// One careful read: first as a whole; on damage block by block, each damaged one from the other
// copies in turn.
struct CarefulRead : std::enable_shared_from_this<CarefulRead> {
  Context& context;
  LocalDisk& disk;
  SetId set;
  ObjectId object;
  uint16_t first_block, block_count;
  MutableBytes into;
  bool compare;
  std::shared_ptr<LostBlocks> lost;
  CarefulReadDone done;

  std::vector<store::BlockRead> reads;
  uint16_t index = 0;  // block at work, counted from first_block
  uint32_t attempts = 0;
  std::vector<DiskId> others;  // copies not asked yet for this block
  store::BlockState wanted;    // what the block at work should be
  bool comparing = false;      // this copy is whole, another one is looked at
  DiskId asked = 0;
  bool unasked = false;  // some copy could not be asked, or has not decided yet: waiting may help
  bool leaving = false;  // one of these will not be asked later either, when others are complete
  std::string why;

  CarefulRead(Context& context_, LocalDisk& disk_) : context(context_), disk(disk_) {}

  void start() {
    if (compare) return next_block();
    disk.store->read(
        object, first_block, block_count, into,
        [self = shared_from_this()](Result<std::vector<store::BlockRead>> read) {
          if (!read.ok() && read.error().code() == Code::damaged && !self->disk.failed) {
            self->context.host.log.warning(
                "damage found", {{"disk", self->disk.id}, {"what", read.error().message()}});
            return self->next_block();
          }
          self->done.call_once(std::move(read));
        });
  }

  void next_block() {
    if (index == block_count) return done.call_once(std::move(reads));
    comparing = false;
    disk.store->read(object, static_cast<uint16_t>(first_block + index), 1, slice(),
                     [self = shared_from_this()](Result<std::vector<store::BlockRead>> read) {
                       self->block_read(std::move(read));
                     });
  }

  void block_read(Result<std::vector<store::BlockRead>> read) {
    if (read.ok()) {
      reads.push_back(read->front());
      if (!compare || read->front().version.is_zero()) return advance();
      wanted = {static_cast<uint16_t>(first_block + index), read->front().version,
                read->front().crc};
      comparing = true;
      return ask_others();
    }
    if (read.error().code() != Code::damaged || disk.failed)
      return done.call_once(std::move(read).error());
    why = read.error().message();
    stored_block([self = shared_from_this()](std::optional<store::BlockState> stored) {
      if (!stored) return self->again_or("the block vanished while it was repaired");
      self->wanted = *stored;
      self->ask_others();
    });
  }

  // The block at work as it is now, if it holds anything.
  void stored_block(std::function<void(std::optional<store::BlockState>)> then) {
    disk.store->object_state(object, [self = shared_from_this(),
                                      then = std::move(then)](Result<store::ObjectState> state) {
      if (!state.ok()) return self->finish(std::move(state).error());
      for (const store::BlockState& block : state->blocks)
        if (block.block == self->first_block + self->index) return then(block);
      then(std::nullopt);
    });
  }

  void ask_others() {
    others.clear();
    unasked = leaving = false;
    if (const map::DiskSet* row = context.row(set)) {
      for (const auto* list : {&row->acting, &row->recovering, &row->base, &row->target}) {
        for (const DiskId id : *list) {
          if (id != disk.id && std::find(others.begin(), others.end(), id) == others.end())
            others.push_back(id);
        }
      }
    }
    ask_next();
  }

  void ask_next() {
    if (others.empty()) {
      if (comparing) return advance();
      return again_or(why);
    }
    asked = others.front();
    const Place place = context.place(asked);
    others.erase(others.begin());
    if (!context.map().disk_serves(place.disk) && place.local == nullptr) {
      could_not_ask();
      return ask_next();
    }
    fetch_block(context, place, request_for(context, place, set, object, wanted),
                [self = shared_from_this()](Result<wire::FetchBlockReply> reply, Buffer data) {
                  self->fetched(std::move(reply), std::move(data));
                });
  }

  void fetched(Result<wire::FetchBlockReply> reply, Buffer data) {
    if (!reply.ok() || !is_whole(*reply, data)) {
      if (!reply.ok() || reply->ok || (reply->perhaps_later && is_complete(asked))) could_not_ask();
      return ask_next();
    }
    if (reply->crc != wanted.crc) {
      context.host.log.error("copies differ in the same version",
                             {{"disk", disk.id}, {"block", block_text(object, wanted.block)}});
      if (comparing)
        return finish(
            Error(Code::damaged, block_text(object, wanted.block) + ": the copies differ"));
      return ask_next();
    }
    if (comparing) return advance();
    std::memcpy(slice().data(), data.data(), limits::block_bytes);
    reads.push_back({wanted.version, wanted.crc});
    note_repaired(context, disk.id, object, wanted.block);
    disk.store->repair(object, wanted.block, wanted.version, wanted.crc, data, [](Status) {});
    advance();
  }

  void could_not_ask() {
    unasked = true;
    const map::DiskSet* row = context.row(set);
    const bool stays = row == nullptr || std::find(row->target.begin(), row->target.end(), asked) !=
                                             row->target.end();
    leaving |= is_complete(asked) && !stays;
    if (leaving) SP_PROBE(serve_block_waits_for_leaving_copy);
  }

  // A member of base has every decided write, at times still as an undecided record.
  bool is_complete(DiskId id) const {
    const map::DiskSet* row = context.row(set);
    return row != nullptr && std::find(row->base.begin(), row->base.end(), id) != row->base.end();
  }

  // The block may have been written anew meanwhile: then its new content is good.
  void again_or(const std::string& text) {
    if (++attempts < context.tuning.repair_attempts) return next_block();
    stored_block([self = shared_from_this(), text](std::optional<store::BlockState> stored) {
      self->give_up(text, !stored || stored->version != self->wanted.version);
    });
  }

  // `changed`: since it was asked for.
  void give_up(const std::string& text, bool changed) {
    if (changed || (unasked && (lost == nullptr || lost->wait_for_absent || leaving)))
      return finish(Error(Code::transient, block_text(object, first_block + index) +
                                               " is damaged here, and copies that may have it do "
                                               "not answer, or it keeps being written"));
    ++context.counters.blocks_lost;
    const std::string what = block_text(object, first_block + index) +
                             " is damaged on every copy that can be reached: " + text;
    context.host.log.error("block damaged on every copy", {{"disk", disk.id}, {"what", what}});
    if (lost == nullptr && SP_PLANTED_BUG(serve_answers_lost_as_zeros)) {
      std::memset(slice().data(), 0, limits::block_bytes);
      reads.push_back({wanted.version, crc64(slice())});
      return advance();
    }
    if (lost == nullptr) return finish(Error(Code::damaged, what));
    lost->blocks.push_back(wanted.block);
    reads.push_back({wanted.version, wanted.crc});
    advance();
  }

  void advance() {
    ++index;
    attempts = 0;
    next_block();
  }
  void finish(Error error) { done.call_once(std::move(error)); }
  MutableBytes slice() {
    return into.subspan(size_t{index} * limits::block_bytes, limits::block_bytes);
  }
};

// One block that is lost here, from one other copy.
struct TakeBlock : std::enable_shared_from_this<TakeBlock> {
  Context& context;
  LocalDisk& disk;
  Place from;
  store::LostBlock block;
  Callback<void(Status)> done;
  store::BlockState wanted;

  TakeBlock(Context& context_, LocalDisk& disk_) : context(context_), disk(disk_) {}

  void start() {
    disk.store->object_state(block.object,
                             [self = shared_from_this()](Result<store::ObjectState> state) {
                               if (!state.ok())
                                 return self->done.call_once(std::move(state).error());
                               for (const store::BlockState& stored : state->blocks)
                                 if (stored.block == self->block.block) return self->ask(stored);
                               self->done.call_once(Status{});  // discarded since
                             });
  }
  void ask(const store::BlockState& stored) {
    wanted = stored;
    fetch_block(context, from, request_for(context, from, block.set, block.object, wanted),
                [self = shared_from_this()](Result<wire::FetchBlockReply> reply, Buffer data) {
                  self->take(std::move(reply), std::move(data));
                });
  }
  void take(Result<wire::FetchBlockReply> reply, Buffer data) {
    if (!reply.ok()) return done.call_once(std::move(reply).error());
    if (!is_whole(*reply, data) || reply->crc != wanted.crc || disk.failed)
      return done.call_once(Status{});
    note_repaired(context, disk.id, block.object, wanted.block);
    disk.store->repair(block.object, wanted.block, wanted.version, wanted.crc, std::move(data),
                       [self = shared_from_this()](const Status&) {
                         self->done.call_once(Status{});  // a failed store is noticed elsewhere
                       });
  }
};

}  // namespace

void careful_read(Context& context, LocalDisk& disk, SetId set, ObjectId object,
                  uint16_t first_block, uint16_t block_count, MutableBytes into, bool compare,
                  const std::shared_ptr<LostBlocks>& lost, CarefulReadDone done) {
  auto read = std::make_shared<CarefulRead>(context, disk);
  read->set = set;
  read->object = object;
  read->first_block = first_block;
  read->block_count = block_count;
  read->into = into;
  read->compare = compare;
  read->lost = lost;
  read->done = std::move(done);
  read->start();
}

void mend_block(Context& context, LocalDisk& disk, SetId set, ObjectId object, uint16_t block) {
  const io::Instant now = context.now();
  auto& until = disk.mended_until;
  if (until.size() >= mends_remembered_max)
    std::erase_if(until, [now](const auto& entry) { return entry.second <= now; });
  if (until.size() >= mends_remembered_max) return;
  const auto [entry, first] = until.try_emplace({object, block}, now + mend_pause);
  if (!first && now < entry->second) {
    SP_PROBE(serve_mend_left_alone);
    return;
  }
  entry->second = now + mend_pause;
  const Buffer data = Buffer::allocate(limits::block_bytes);
  careful_read(context, disk, set, object, block, 1, data.mutable_bytes(), false, nullptr,
               [data](Result<std::vector<store::BlockRead>>) {});
}

void take_lost_block(Context& context, LocalDisk& disk, const Place& from,
                     const store::LostBlock& block, Callback<void(Status)> done) {
  auto take = std::make_shared<TakeBlock>(context, disk);
  take->from = from;
  take->block = block;
  take->done = std::move(done);
  take->start();
}

void mend_lost_blocks(Context& context, LocalDisk& disk) {
  const auto blocks = disk.store->lost(disk.lost_slot_next, lost_mended_at_a_time);
  disk.lost_slot_next = blocks.size() < lost_mended_at_a_time ? 0 : blocks.back().slot + 1;
  for (const auto& block : blocks) mend_block(context, disk, block.set, block.object, block.block);
}

}  // namespace sp::serve
