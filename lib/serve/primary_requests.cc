// Requests of clients at a primary: what is refused at once, what waits, and for how long.
#include "base/planted.h"
#include "base/probe.h"
#include "serve/primary.h"

namespace sp::serve {

using wire::DataStatus;

void Primary::admit(ClientRequest request) {
  if (phase_ == Phase::stopped)
    return reply(request, DataStatus::stale_epoch, "the set has moved to another epoch");
  if (refuse_bad(request)) return;
  if (phase_ != Phase::active || superseded_) return park(std::move(request));
  if (request.is_write)
    admit_write(std::move(request));
  else
    admit_read(std::move(request));
}

// Answers what can never be served: true.
bool Primary::refuse_bad(ClientRequest& request) {
  const auto refuse = [&](DataStatus status, const char* text) {
    reply(request, status, text);
    return true;
  };
  const ObjectId object = request.is_write ? request.write.object : request.read.object;
  const uint32_t first = request.is_write ? request.write.first_block : request.read.first_block;
  const uint32_t count = request.is_write ? request.write.block_count : request.read.block_count;
  const wire::AttachmentId& id =
      request.is_write ? request.write.attachment : request.read.attachment;
  const map::Map& map = context_.map();

  if (!attachment_valid(object.volume, id) && !SP_PLANTED_BUG(serve_takes_fenced_writes)) {
    if (id.generation > map.cluster.generation_last)
      return refuse(DataStatus::not_ready, "the attachment is newer than this server's map");
    return refuse(DataStatus::fenced, "the volume is not attached with this generation any more");
  }
  const map::Attachment* row = map.attachment(object.volume, id.client);
  if (request.is_write && row != nullptr && row->rights != map::Rights::read_write)
    return refuse(DataStatus::invalid, "the volume is attached read-only");
  const auto volume = map.volumes.find(object.volume);
  if (volume == map.volumes.end()) return refuse(DataStatus::fenced, "the volume does not exist");
  const uint64_t end =
      uint64_t{object.index} * limits::object_bytes + uint64_t{first + count} * limits::block_bytes;
  const uint32_t count_max =
      request.is_write && request.write.discard ? limits::blocks_per_object : limits::io_blocks_max;
  if (count == 0 || count > count_max || first + count > limits::blocks_per_object)
    return refuse(DataStatus::invalid, "the blocks are not within an object");
  // The client keeps to the size that it knows, which may be newer; it looks again.
  if (end > volume->second.end())
    return refuse(DataStatus::not_ready,
                  "the range ends beyond the end of the volume, as far as this server knows");
  if (map::set_of(map, volume->second, object.index) != set())
    return refuse(DataStatus::invalid, "the object is not placed on this set");
  if (!request.is_write || request.verified) return false;
  const std::string wrong = check_content(request.write.discard, first, count, request.write.crcs,
                                          request.data ? request.data.bytes() : Bytes());
  if (!wrong.empty()) return refuse(DataStatus::invalid, wrong.c_str());
  request.verified = true;
  return false;
}

void Primary::park(ClientRequest request) {
  if (phase_ == Phase::stopped)
    return reply(request, DataStatus::stale_epoch, "the set has moved to another epoch");
  if (SP_BUGGIFY(serve_lets_nobody_wait, context_.host))
    return reply(request, DataStatus::not_ready, waits_for());
  if (parked_.size() >= context_.tuning.waiting_max) {
    SP_PROBE(serve_too_many_requests_wait);
    return reply(request, DataStatus::busy, "too many requests wait for this set");
  }
  // Others of its client, which may not wait for this set, need not wait with it.
  request.ticket = {};
  parked_.push_back(std::move(request));
}

// Every waiting request has another try, once. Called from inside itself it makes one more round
// instead.
void Primary::retry_parked() {
  if (phase_ == Phase::stopped || parked_.empty()) return;
  if (retrying_) {
    retry_again_ = true;
    return;
  }
  retrying_ = true;
  do {
    retry_again_ = false;
    auto requests = std::move(parked_);
    parked_.clear();
    for (auto& request : requests) admit(std::move(request));
  } while (retry_again_ && phase_ != Phase::stopped);
  retrying_ = false;
}

void Primary::expire_parked() {
  const io::Instant now = context_.now();
  if (!parked_.empty() && now >= context_.member.lease_until())
    SP_PROBE(serve_lease_ends_with_requests_waiting);
  std::deque<ClientRequest> kept;
  for (auto& request : parked_) {
    if (now - request.since < context_.tuning.request_parked_max)
      kept.push_back(std::move(request));
    else
      reply(request, DataStatus::not_ready, waits_for());
  }
  parked_ = std::move(kept);
  for (Write* write : undecided_) {
    if (write->link == 0 || now - write->since < context_.tuning.request_parked_max) continue;
    // It stays ordered; the client's retry finds it.
    reply_write(write->link, write->request, DataStatus::not_ready, waits_for());
    write->forget_client();
  }
}

void Primary::link_closed(uint64_t link) {
  std::deque<ClientRequest> kept;
  for (auto& request : parked_) {
    if (request.link != link) kept.push_back(std::move(request));
  }
  parked_ = std::move(kept);
  for (Write* write : undecided_) {
    if (write->link == link) write->forget_client();
  }
}

void Primary::reply(const ClientRequest& request, DataStatus status, std::string text) {
  if (request.is_write) return reply_write(request.link, request.request, status, std::move(text));
  wire::ReadReply body;
  body.status = status;
  body.text = std::move(text);
  if (status == DataStatus::stale_epoch) {
    if (const auto* row = context_.row(set())) body.current = *row;
  }
  wire::Message message;
  message.type = wire::MessageType::read_reply;
  message.request = request.request;
  message.body = encode(body);
  context_.reply(request.link, std::move(message));
}

void Primary::reply_write(uint64_t link, uint64_t request, DataStatus status, std::string text) {
  wire::WriteReply body;
  body.status = status;
  body.text = std::move(text);
  if (status == DataStatus::stale_epoch) {
    if (const auto* row = context_.row(set())) body.current = *row;
  }
  wire::Message message;
  message.type = wire::MessageType::write_reply;
  message.request = request;
  message.body = encode(body);
  context_.reply(link, std::move(message));
}

}  // namespace sp::serve
