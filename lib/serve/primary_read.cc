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
  bool careful = false;
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

// While the set may not decide, a copy that is away may bring back a write that nobody here knows.
// It may be of a client that has been fenced since, and then it must not appear after the volume
// was read. Fences that this process has seen are in fenced_volumes_. After a restart, or a change
// of the primary, that memory is gone. Then only volumes are served whose newest attachment is no
// newer than one of which a decided write is known: that write was ordered under a map that had
// this attachment and the fences that came with it, so what was ordered before them has a lower
// version and is decided too.
bool Primary::may_read(const wire::ReadRequest& r) const {
  const bool perhaps_decided = !may_decide() || inherits();
  const bool unsure =
      fenced_records_ || (perhaps_decided && !SP_PLANTED_BUG(serve_reads_beside_undecided));
  if (unsure && (writes_open_to(r.object, r.first_block, r.block_count) ||
                 disk_.store->has_undecided(r.object, r.first_block, r.block_count))) {
    SP_PROBE(serve_read_waits_for_decision);
    return false;
  }
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
  if (!leads() || holds_reads() || !may_read(r)) return park(std::move(request));
  ++context_.counters.reads;
  auto call = std::make_unique<ReadCall>();
  call->data = Buffer::allocate(size_t{r.block_count} * limits::block_bytes);
  call->request = std::move(request);
  const wire::ReadRequest& body = call->request.read;
  const MutableBytes into = call->data.mutable_bytes();
  const bool careful = body.checksum_failed;
  ReadCall* const raw = call.get();
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
  if (careful) {
    raw->careful = true;
    return careful_read(context_, disk_, set(), body.object, body.first_block, body.block_count,
                        into, true, nullptr, std::move(done));
  }
  disk_.store->read(body.object, body.first_block, body.block_count, into, std::move(done));
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
    tell_decided();
    const wire::ReadRequest& body = call->request.read;
    const MutableBytes into = call->data.mutable_bytes();
    const auto object = body.object;
    const auto first = body.first_block, count = body.block_count;
    auto done = [weak = weak_from_this(),
                 call = std::move(call)](Result<std::vector<store::BlockRead>> again) mutable {
      if (const auto self = weak.lock()) self->read_done(call.release(), std::move(again));
    };
    return careful_read(context_, disk_, set(), object, first, count, into, false, nullptr,
                        std::move(done));
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
