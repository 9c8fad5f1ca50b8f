// Replies to a volume's requests, and the end of its attachment.
#include <algorithm>
#include <cstring>

#include "base/checksum.h"
#include "base/planted.h"
#include "base/probe.h"
#include "client/volume_impl.h"
#include "wire/handshake.h"

namespace sp::client {

void VolumeImpl::replied(uint64_t id, Result<wire::Message> message) {
  const auto found = pieces_.find(id);
  if (found == pieces_.end()) return;
  Piece& piece = found->second;
  if (!message.ok()) {
    SP_PROBE(client_loses_connection_with_requests_open);
    return rest(piece, piece.attempts == 0, message.error().message());
  }
  if (piece.operation->kind == Kind::read) {
    const auto reply = wire::decode<wire::ReadReply>(message->body);
    if (message->type != wire::MessageType::read_reply || !reply)
      return rest(piece, false, "an answer without sense");
    if (reply->status != wire::DataStatus::ok)
      return outcome(piece, reply->status, reply->current, reply->text);
    if (take_read(piece, *reply, message->data)) return finish(piece, std::nullopt);
    ++counters_.checksum_mismatches;
    piece.checksum_failed = true;
    host_.log.warning("a read did not match its checksum", {{"volume", piece.object.volume},
                                                            {"object", piece.object.index},
                                                            {"block", piece.first_block}});
    return rest(piece, false, "the content did not match its checksum");
  }
  const auto reply = wire::decode<wire::WriteReply>(message->body);
  if (message->type != wire::MessageType::write_reply || !reply)
    return rest(piece, false, "an answer without sense");
  if (reply->status == wire::DataStatus::ok) return finish(piece, std::nullopt);
  outcome(piece, reply->status, reply->current, reply->text);
}

void VolumeImpl::outcome(Piece& piece, wire::DataStatus status,
                         const std::optional<map::DiskSet>& current, const std::string& text) {
  switch (status) {
    case wire::DataStatus::stale_epoch:
      if (piece.operation->kind == Kind::read && piece.attempts > 0)
        SP_PROBE(client_retried_read_meets_new_epoch);
      if (current) {
        map::DiskSet& known = newer_rows_[current->id];
        SP_PROBE(client_learns_row_from_refusal);
        if (known.revision < current->revision && !SP_PLANTED_BUG(client_keeps_first_row))
          known = *current;
      }
      if (SP_PLANTED_BUG(client_forgets_refused_request)) return;
      return rest(piece, piece.attempts == 0, text);
    case wire::DataStatus::not_ready:
      if (is_beyond_end(piece))
        return finish(piece, Error(Code::invalid, "the range ends beyond the end of the volume"));
      return rest(piece, false, text);
    case wire::DataStatus::busy:
      if (let_oldest_go(piece)) return;
      piece.crowded = crowded_ = true;
      return rest(piece, false, text);
    case wire::DataStatus::fenced: return fence(text);
    case wire::DataStatus::damaged: return finish(piece, Error(Code::damaged, text));
    case wire::DataStatus::no_space: return finish(piece, Error(Code::no_space, text));
    case wire::DataStatus::invalid: return finish(piece, Error(Code::invalid, text));
    case wire::DataStatus::ok: break;
  }
  SP_UNREACHABLE();
}

// The volume has become smaller since the request came.
bool VolumeImpl::is_beyond_end(const Piece& piece) const {
  const auto row = member_.map().volumes.find(options_.volume);
  const uint64_t end = uint64_t{piece.object.index} * limits::object_bytes +
                       (uint64_t{piece.first_block} + piece.block_count) * limits::block_bytes;
  return row != member_.map().volumes.end() && end > row->second.end();
}

// Into the caller's memory if every block is what its writer made it.
bool VolumeImpl::take_read(Piece& piece, const wire::ReadReply& reply, const Buffer& data) {
  const size_t size = size_t{piece.block_count} * limits::block_bytes;
  if (reply.crcs.size() != piece.block_count || !data || data.size() != size) return false;
  for (size_t i = 0; i < piece.block_count; ++i) {
    if (crc64(data.bytes().subspan(i * limits::block_bytes, limits::block_bytes)) !=
            reply.crcs[i] &&
        !SP_PLANTED_BUG(client_reads_unverified))
      return false;
  }
  std::memcpy(piece.operation->into.data() + piece.at, data.data(), size);
  return true;
}

void VolumeImpl::finish(Piece& piece, std::optional<Error> error) {
  const auto keep = shared_from_this();
  const auto operation = piece.operation;
  trace(piece, "answered", error ? error->message() : "ok");
  leave_queue(piece);
  const uint32_t object = piece.object.index;
  const bool numbered = piece.number != 0;
  pieces_.erase(piece.id);
  if (pieces_.empty()) crowded_ = false;
  if (numbered) hurry_oldest(object);
  if (error && !operation->error) operation->error = std::move(error);
  if (--operation->pieces_open == 0) {
    if (operation->error)
      operation->done.call_once(std::move(*operation->error));
    else
      operation->done.call_once(Status());
  }
  if (!closed_ && !fenced_) start_waiting();
}

void VolumeImpl::leave_queue(const Piece& piece) {
  switch (piece.state) {
    case PieceState::held: break;
    case PieceState::waiting:
      waiting_.erase(std::find(waiting_.begin(), waiting_.end(), piece.id));
      break;
    case PieceState::resting:
    case PieceState::sent: --started_; break;
  }
  if (piece.number == 0) return;
  answered_[piece.number - oldest_open_] = true;
  while (!answered_.empty() && answered_.front()) {
    answered_.pop_front();
    ++oldest_open_;
  }
  for (const uint64_t id : open_writes_.remove(piece.id, piece.range())) {
    pieces_.at(id).state = PieceState::waiting;
    waiting_.push_back(id);
  }
}

void VolumeImpl::check_attachment() {
  const map::Map& map = member_.map();
  if (fenced_ || map.index == 0) return;
  if (options_.generation > map.cluster.generation_last)
    return;  // our map is older than our attachment
  const map::Attachment* row = map.attachment(options_.volume, client_);
  if (row == nullptr || row->generation != options_.generation)
    fence("the volume is not attached here any more");
}

void VolumeImpl::fence(const std::string& why) {
  if (fenced_) return;
  if (!pieces_.empty()) SP_PROBE(client_fenced_with_requests_open);
  fenced_ = true;
  fenced_why_ = why.empty() ? "the volume was attached elsewhere" : why;
  if (!detaching_)
    host_.log.warning("volume is fenced",
                      {{"volume", options_.volume}, {"generation", options_.generation}});
  host_.reactor.post([self = shared_from_this()] {
    if (self->closed_) return;
    self->timer_.cancel();
    while (!self->pieces_.empty() && !self->closed_)
      self->finish(self->pieces_.begin()->second, Error(Code::closed, self->fenced_why_));
    if (!self->closed_ && self->on_fenced_) self->on_fenced_.call_once();
  });
}

void VolumeImpl::on_fenced(Callback<void()> fenced) {
  on_fenced_ = std::move(fenced);
  if (!fenced_) return;
  host_.reactor.post([self = shared_from_this()] {
    if (!self->closed_ && self->on_fenced_) self->on_fenced_.call_once();
  });
}

std::string VolumeImpl::waits_for() const {
  constexpr size_t named_max = 8;  // the oldest ones
  std::string text;
  size_t named = 0;
  for (const auto& [id, piece] : pieces_) {
    if (named++ == named_max) return text + "; and " + std::to_string(pieces_.size() - named_max);
    text += (text.empty() ? "" : "; ") + wait_text(piece);
  }
  return text;
}

std::string VolumeImpl::wait_text(const Piece& piece) const {
  const char* const kinds[] = {"read", "write", "discard"};
  std::string text = std::string(kinds[static_cast<size_t>(piece.operation->kind)]) +
                     " of object " + std::to_string(piece.object.index) + " of volume " +
                     std::to_string(piece.object.volume) + ", blocks " +
                     std::to_string(piece.first_block) + "+" + std::to_string(piece.block_count);
  Route to;
  const bool routed = route(piece, to);
  text += ", set " + std::to_string(to.set.index);
  if (routed)
    text += " epoch " + std::to_string(to.epoch) + " at " + wire::service_text(to.server->id);
  text += piece.state == PieceState::sent      ? ": sent, not answered"
          : piece.state == PieceState::waiting ? ": not sent, others are before it"
          : piece.state == PieceState::held    ? ": not sent, it touches a block of an open write"
                                               : ": to be asked again";
  if (piece.attempts > 0)
    text += " after " + std::to_string(piece.attempts) + " tries (" + piece.refusal + ")";
  return text;
}

VolumeCounters VolumeImpl::counters() const {
  VolumeCounters out = counters_;
  out.in_flight = pieces_.size();
  out.requests_open = servers_->open_requests();
  if (!pieces_.empty()) {
    const auto age = host_.clock.now() - pieces_.begin()->second.since;
    out.oldest_request_ms =
        static_cast<uint64_t>(std::chrono::duration_cast<std::chrono::milliseconds>(age).count());
  }
  return out;
}

}  // namespace sp::client
