// Reads: decided data only, and only while nobody else can lead.
#include "serve/primary.h"
#include "serve/repair.h"

namespace sp::serve {

struct Primary::ReadCall {
  ClientRequest request;
  Buffer data;
  bool careful = false;
};

void Primary::admit_read(ClientRequest request) {
  const wire::ReadRequest& r = request.read;
  if (!leads() || holds_reads()) return park(std::move(request));
  if ((!may_decide() || fenced_records_ || inherits()) &&
      disk_.store->has_undecided(r.object, r.first_block, r.block_count))
    return park(std::move(request));
  if (fenced_volumes_.count(r.object.volume) != 0) return park(std::move(request));
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
                        into, true, std::move(done));
  }
  disk_.store->read(body.object, body.first_block, body.block_count, into, std::move(done));
}

void Primary::read_done(ReadCall* raw, Result<std::vector<store::BlockRead>> read) {
  std::unique_ptr<ReadCall> call(raw);
  if (phase_ == Phase::stopped)
    return reply(call->request, wire::DataStatus::stale_epoch,
                 "the set has moved to another epoch");
  // Lease, epoch and fences are looked at after the versions were chosen: nobody can have decided
  // newer ones before.
  if (!leads() || holds_reads()) return park(std::move(call->request));
  if (!read.ok() && read.error().code() == Code::damaged && !call->careful && !disk_.failed) {
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
    return careful_read(context_, disk_, set(), object, first, count, into, false, std::move(done));
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
  wire::Message message;
  message.type = wire::MessageType::read_reply;
  message.request = call->request.request;
  message.body = encode(body);
  message.data = std::move(call->data);
  context_.reply(call->request.link, std::move(message));
}

}  // namespace sp::serve
