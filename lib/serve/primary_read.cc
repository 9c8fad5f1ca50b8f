// Reads: decided data only, and only while nobody else can lead.
#include <algorithm>

#include "base/planted.h"
#include "base/probe.h"
#include "serve/primary.h"
#include "serve/repair.h"
#include "serve/trace.h"

namespace sp::serve {

struct Primary::ReadCall {
  ClientRequest request;
  Buffer data;
  bool careful = false;  // with repair, see careful_read
};

// Ordered, though the store of this disk may not have come to it yet.
bool Primary::writes_open_to(ObjectId object, uint32_t first, uint32_t count) const {
  if (SP_PLANTED_BUG(serve_open_writes_not_seen)) return false;
  return std::any_of(undecided_.begin(), undecided_.end(), [&](const Write* write) {
    const wire::CopyRecord& record = write->prepare.record;
    return record.object == object && record.first_block < first + count &&
           first < uint32_t{record.first_block} + record.block_count;
  });
}

// To any layer that the read may look at. Writes to the lower ones were decided when the snapshot
// was taken, but it may be that only the primary of that time knew.
bool Primary::writes_open_below(const Stand& stand, const wire::ReadRequest& r) const {
  const auto open_to = [&](VolumeId layer) {
    const ObjectId object{layer, r.object.index}, holes = holes_of(object);
    return writes_open_to(object, r.first_block, r.block_count) || writes_open_to(holes, 0, 1) ||
           disk_.store->has_undecided(object, r.first_block, r.block_count) ||
           disk_.store->has_undecided(holes, 0, 1);
  };
  if (open_to(stand.layer)) return true;
  return !SP_PLANTED_BUG(serve_reads_undecided_parents) &&
         std::any_of(stand.below.begin(), stand.below.end(), open_to);
}

// While the set may not decide, a copy that is away may bring back a write that nobody here knows.
// It may be of a client that has been fenced since, and then it must not appear after the volume
// was read. Fences that this process has seen are in fenced_volumes_. After a restart, or a change
// of the primary, that memory is gone. Then only volumes are served whose newest attachment is no
// newer than one of which a decided write is known: that write was ordered under a map that had
// this attachment and the fences that came with it, so what was ordered before them has a lower
// version and is decided too.
// Nobody writes to a snapshot, so nobody is fenced from it.
bool Primary::may_read(const wire::ReadRequest& r, const Stand& stand) const {
  const bool perhaps_decided = !may_decide() || inherits();
  const bool unsure =
      fenced_records_ || (perhaps_decided && !SP_PLANTED_BUG(serve_reads_beside_undecided));
  if (unsure && writes_open_below(stand, r)) {
    SP_PROBE(serve_read_waits_for_decision);
    return false;
  }
  if (map::is_snapshot(context_.map(), r.object.volume)) return true;
  if (fenced_volumes_.count(r.object.volume) != 0) {
    SP_PROBE(serve_read_waits_for_fence);
    return false;
  }
  if (may_decide() || knows_fences_) return true;
  const auto& all = context_.map().attachments;
  bool older = true;
  for (auto at = all.lower_bound({r.object.volume, 0});
       at != all.end() && at->first.first == r.object.volume; ++at)
    older = older && at->second.generation <= generation_decided_;
  if (older) return true;
  if (SP_PLANTED_BUG(serve_forgets_fences)) return true;
  SP_PROBE(serve_read_waits_for_unknown_fence);
  return false;
}

void Primary::admit_read(ClientRequest request) {
  const wire::ReadRequest& r = request.read;
  const Stand& stand = context_.stands.of(context_.map(), r.object.volume);
  if (!leads() || holds_reads() || !may_read(r, stand) || !layers_->ready(stand, r.object.index))
    return park(std::move(request));
  ++context_.counters.reads;
  auto call = std::make_unique<ReadCall>();
  call->data = Buffer::allocate(size_t{r.block_count} * limits::block_bytes);
  call->request = std::move(request);
  const bool compare = call->request.read.checksum_failed;
  call->careful = compare;
  start_read(std::move(call), compare);
}

// `compare`: the client's checksum has failed.
void Primary::start_read(std::unique_ptr<ReadCall> call, bool compare) {
  const wire::ReadRequest& r = call->request.read;
  const Stand& stand = context_.stands.of(context_.map(), r.object.volume);
  const ObjectId object{stand.layer, r.object.index};
  const auto first = r.first_block, count = r.block_count;
  const MutableBytes into = call->data.mutable_bytes();
  const bool careful = call->careful;
  if (careful) tell_decided();  // so that the others can show the same versions
  auto done = [weak = weak_from_this(), call = std::move(call),
               &context = context_](Result<std::vector<store::BlockRead>> read) mutable {
    if (const auto self = weak.lock()) return self->read_done(call.release(), std::move(read));
    // The epoch ended meanwhile.
    if (call->careful) SP_PROBE(serve_epoch_ends_while_read_is_repaired);
    wire::ReadReply stale;
    stale.status = wire::DataStatus::stale_epoch;
    if (const auto* row = context.row(call->request.read.set)) stale.current = *row;
    wire::Message message;
    message.type = wire::MessageType::read_reply;
    message.request = call->request.request;
    message.body = encode(stale);
    context.reply(call->request.link, std::move(message));
  };
  if (!stand.below.empty())
    return layers_->read(stand, object.index, first, count, into, careful, compare,
                         std::move(done));
  if (careful)
    return careful_read(context_, disk_, set(), object, first, count, into, compare, nullptr,
                        std::move(done));
  disk_.store->read(object, first, count, into, std::move(done));
}

void Primary::read_done(ReadCall* raw, Result<std::vector<store::BlockRead>> read) {
  std::unique_ptr<ReadCall> call(raw);
  if (call->careful && phase_ == Phase::stopped) SP_PROBE(serve_epoch_ends_while_read_is_repaired);
  if (phase_ == Phase::stopped)
    return reply(call->request, wire::DataStatus::stale_epoch,
                 "the set has moved to another epoch");
  // Lease, epoch and fences are looked at after the versions were chosen: nobody can have decided
  // newer ones before.
  if (!leads() || holds_reads()) {
    SP_PROBE(serve_read_overtaken);
    return park(std::move(call->request));
  }
  const bool repairs = !call->careful && !disk_.failed && !SP_PLANTED_BUG(serve_answers_damage);
  if (!read.ok() && read.error().code() == Code::damaged && repairs) {
    SP_PROBE(serve_read_meets_damage);
    call->careful = true;
    const wire::ReadRequest& r = call->request.read;
    const Stand& stand = context_.stands.of(context_.map(), r.object.volume);
    if (!layers_->ready(stand, r.object.index)) return park(std::move(call->request));
    return start_read(std::move(call), false);
  }
  if (!read.ok()) {
    if (read.error().code() == Code::damaged)
      return reply(call->request, wire::DataStatus::damaged, read.error().message());
    return park(std::move(call->request));  // the disk has failed and the epoch is about to end, or
                                            // a copy that may help does not answer
  }
  wire::ReadReply body;
  body.crcs.reserve(read->size());
  for (const auto& block : *read) body.crcs.push_back(block.crc);
  if (traces(context_.host)) {
    const wire::ReadRequest& r = call->request.read;
    std::string versions;
    for (const auto& block : *read)
      versions += (versions.empty() ? "" : ",") + version_text(block.version);
    trace_read(context_.host, set(), r.object, r.first_block, r.block_count, versions);
  }
  wire::Message message;
  message.type = wire::MessageType::read_reply;
  message.request = call->request.request;
  message.body = encode(body);
  message.data = std::move(call->data);
  context_.reply(call->request.link, std::move(message));
}

}  // namespace sp::serve
