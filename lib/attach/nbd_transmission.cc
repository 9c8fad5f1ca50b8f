// The transmission phase of an NbdConnection: requests in, operations on the device, replies out in
// whatever order they end.
#include <algorithm>
#include <cstring>

#include "attach/nbd_connection.h"
#include "base/limits.h"

namespace sp::attach {

using namespace nbd;

namespace {

Errno errno_of(Code code) {
  switch (code) {
    case Code::invalid: return Errno::invalid;
    case Code::no_space: return Errno::no_space;
    case Code::closed:
    case Code::stale: return Errno::shutdown;
    case Code::refused:
    case Code::not_authorised: return Errno::permission;
    default: return Errno::io;
  }
}

// Pieces begin on a block, but for the first, so that only the ends of a request cover parts of
// blocks.
uint64_t piece_size(uint64_t offset, uint64_t rest) {
  return std::min<uint64_t>(rest, limits::io_bytes_max - offset % limits::block_bytes);
}

bool carries_data(Command command) { return command == Command::read || command == Command::write; }

}  // namespace

bool NbdConnection::take_request() {
  if (available() < request_bytes) {
    receive();
    return false;
  }
  const nbd::Request wire = parse_request(Bytes(input_).subspan(input_begin_, request_bytes));
  if (wire.magic != request_magic) {
    fail("a request without its magic number");
    return false;
  }
  if (wire.command == Command::write && wire.length > payload_bytes_max) {
    fail("a write of more than 32 MiB");
    return false;
  }
  if (!has_room(wire)) return false;
  input_begin_ += request_bytes;
  if (wire.command == Command::disconnect) {
    phase_ = Phase::draining;
    return true;
  }
  Request* request = acquire(wire);
  std::string_view why;
  request->error = check(wire, why);
  if (request->error != Errno::none) request->error_text = why;
  if (wire.command == Command::write && wire.length > 0) {
    request->discarded = request->error != Errno::none;
    request->parts = 1;
    writing_ = request;
    phase_ = Phase::payload;
  } else if (request->error != Errno::none) {
    finish(request);
  } else {
    begin(request);
  }
  return true;
}

bool NbdConnection::has_room(const nbd::Request& wire) const {
  if (requests_in_flight_ >= limits::nbd_requests_in_flight) return false;
  const uint64_t cost =
      carries_data(wire.command) && wire.length <= payload_bytes_max ? wire.length : 0;
  return bytes_in_flight_ == 0 || bytes_in_flight_ + cost <= limits::nbd_bytes_in_flight;
}

Errno NbdConnection::check(const nbd::Request& wire, std::string_view& why) const {
  uint16_t allowed = command_fua;
  if (wire.command == Command::read && structured_) allowed |= command_df;
  if (wire.command == Command::write_zeroes) allowed |= command_no_hole | command_fast_zero;
  if (wire.command == Command::block_status) allowed |= command_req_one;
  const auto refuse = [&](Errno error, std::string_view text) {
    why = text;
    return error;
  };
  if ((wire.flags & ~allowed) != 0)
    return refuse(Errno::invalid, "a flag that this command does not take");
  const bool changes = wire.command == Command::write || wire.command == Command::trim ||
                       wire.command == Command::write_zeroes;
  switch (wire.command) {
    case Command::flush: return Errno::none;
    case Command::read:
    case Command::write:
    case Command::trim:
    case Command::write_zeroes: break;
    case Command::block_status:
      if (!allocation_context_) return refuse(Errno::invalid, "no metadata context was agreed on");
      break;
    default: return refuse(Errno::invalid, "unknown command");
  }
  if (changes && export_->read_only()) return refuse(Errno::permission, "the export is read-only");
  if (wire.length == 0) return refuse(Errno::invalid, "a length of zero");
  const uint64_t size = export_->settings.device->size_bytes();
  if (wire.offset > size || wire.length > size - wire.offset)
    return refuse(wire.command == Command::write || wire.command == Command::write_zeroes
                      ? Errno::no_space
                      : Errno::invalid,
                  "beyond the end of the export");
  if (wire.command == Command::read && wire.length > payload_bytes_max)
    return refuse(Errno::overflow, "a read of more than 32 MiB");
  if ((wire.flags & command_df) != 0 && wire.length > piece_size(wire.offset, wire.length))
    return refuse(Errno::overflow, "too long for a reply in one chunk");
  if ((wire.flags & command_fast_zero) != 0) {
    // Zeroing whole blocks only changes metadata; anything else costs as much as writing.
    const bool whole =
        wire.offset % limits::block_bytes == 0 && wire.length % limits::block_bytes == 0;
    if (!whole || (wire.flags & command_no_hole) != 0)
      return refuse(Errno::not_supported, "this range cannot be zeroed faster than by writing");
  }
  return Errno::none;
}

bool NbdConnection::take_payload() {
  Request* request = writing_;
  const uint64_t length = request->wire.length;
  while (true) {
    if (request->received == request->allocated || request->discarded) {
      if (request->issued < request->pieces.size()) issue_write(request);
      if (request->received == length) break;
      if (!request->discarded) {
        const uint64_t size =
            piece_size(request->wire.offset + request->received, length - request->received);
        request->pieces.push_back(Buffer::allocate(size));
        request->allocated += size;
      }
    }
    const uint64_t wanted = (request->discarded ? length : request->allocated) - request->received;
    const size_t count = std::min<uint64_t>(available(), wanted);
    if (count == 0) {
      receive();
      return false;
    }
    if (!request->discarded) {
      const MutableBytes rest = request->pieces.back().mutable_bytes().last(wanted);
      std::memcpy(rest.data(), input_.data() + input_begin_, count);
    }
    input_begin_ += count;
    request->received += count;
  }
  writing_ = nullptr;
  phase_ = Phase::request;
  drop_part(request);
  return true;
}

void NbdConnection::issue_write(Request* request) {
  const Buffer& piece = request->pieces[request->issued++];
  const uint64_t offset = request->wire.offset + request->allocated - piece.size();
  export_->bytes.write(offset, piece.bytes(), operation(request));
}

void NbdConnection::begin(Request* request) {
  const auto& wire = request->wire;
  request->parts = 1;
  switch (wire.command) {
    case Command::read: begin_read(request); break;
    case Command::flush: export_->bytes.flush(operation(request)); break;
    case Command::trim: export_->bytes.discard(wire.offset, wire.length, operation(request)); break;
    case Command::write_zeroes:
      if ((wire.flags & command_no_hole) != 0) {
        if (!zeros_) zeros_ = Buffer::zeroed(limits::io_bytes_max);
        continue_zeroes(request);
      } else {
        export_->bytes.write_zeroes(wire.offset, wire.length, operation(request));
      }
      break;
    default: break;  // block status is known at once
  }
  drop_part(request);
}

void NbdConnection::begin_read(Request* request) {
  const auto& wire = request->wire;
  while (request->allocated < wire.length) {
    const uint64_t offset = wire.offset + request->allocated;
    const size_t index = request->pieces.size();
    request->pieces.push_back(
        Buffer::allocate(piece_size(offset, wire.length - request->allocated)));
    request->allocated += request->pieces.back().size();
    ++request->parts;
    ++operations_;
    export_->bytes.read(offset, request->pieces.back().mutable_bytes(),
                        [this, request, index, offset](const Status& status) {
                          read_ended(request, index, offset, status);
                        });
  }
}

// Writes zeros out as data, a few pieces at a time, for a client that wants the range to stay
// allocated.
void NbdConnection::continue_zeroes(Request* request) {
  while (request->started < request->wire.length &&
         request->parts <= limits::nbd_zero_pieces_in_flight && request->error == Errno::none) {
    const uint64_t offset = request->wire.offset + request->started;
    const uint64_t size = piece_size(offset, request->wire.length - request->started);
    request->started += size;
    ++request->parts;
    ++operations_;
    export_->bytes.write(offset, zeros_.bytes().first(size), [this, request](const Status& status) {
      note_error(request, status);
      if (phase_ != Phase::closed) continue_zeroes(request);
      drop_part(request);
      operation_ended();
    });
  }
}

Unaligned::Done NbdConnection::operation(Request* request) {
  ++request->parts;
  ++operations_;
  return [this, request](const Status& status) {
    note_error(request, status);
    drop_part(request);
    operation_ended();
  };
}

void NbdConnection::operation_ended() {
  SP_ASSERT_OP(operations_, >, 0u);
  if (--operations_ == 0 && phase_ == Phase::closed) server_.connection_changed();
}

void NbdConnection::note_error(Request* request, const Status& status) {
  if (status.ok() || request->error != Errno::none) return;
  request->error = errno_of(status.error().code());
  request->error_text = status.error().message().substr(0, string_bytes_max);
}

void NbdConnection::drop_part(Request* request) {
  SP_ASSERT_OP(request->parts, >, 0u);
  if (--request->parts == 0) finish(request);
}

// With structured replies each piece of a read leaves as soon as it is there.
void NbdConnection::read_ended(Request* request, size_t index, uint64_t offset,
                               const Status& status) {
  if (!structured_) {
    note_error(request, status);
    drop_part(request);
    return operation_ended();
  }
  const bool last = --request->parts == 0;
  Reply reply;
  BigWriter head;
  Buffer& piece = request->pieces[index];
  if (status.ok()) {
    chunk_header(head, last, Chunk::offset_data, request->wire.cookie,
                 static_cast<uint32_t>(8 + piece.size()));
    head.number(offset);
    reply.data = std::move(piece);
  } else {
    const std::string_view text =
        std::string_view(status.error().message()).substr(0, string_bytes_max);
    chunk_header(head, last, Chunk::error_offset, request->wire.cookie,
                 static_cast<uint32_t>(4 + 2 + text.size() + 8));
    head.number(static_cast<uint32_t>(errno_of(status.error().code())))
        .number(static_cast<uint16_t>(text.size()));
    head.raw(as_bytes(text)).number(offset);
  }
  reply.head = std::move(head).take();
  if (last) reply.finishes = request;
  queue(std::move(reply));
  operation_ended();
}

void NbdConnection::finish(Request* request) {
  if (request->error != Errno::none) return send_error(request);
  if (request->wire.command == Command::block_status) return send_block_status(request);
  Reply reply;
  BigWriter head;
  head.number(simple_reply_magic).number(uint32_t{0}).number(request->wire.cookie);
  reply.head = std::move(head).take();
  if (request->wire.command == Command::read) {
    reply.data = std::move(request->pieces[0]);
    for (size_t i = 1; i < request->pieces.size(); ++i)
      reply.more.push_back(std::move(request->pieces[i]));
  }
  reply.finishes = request;
  queue(std::move(reply));
}

void NbdConnection::send_error(Request* request) {
  Reply reply;
  BigWriter head;
  const auto error = static_cast<uint32_t>(request->error);
  if (structured_) {
    const std::string& text = request->error_text;
    chunk_header(head, true, Chunk::error, request->wire.cookie,
                 static_cast<uint32_t>(4 + 2 + text.size()));
    head.number(error).number(static_cast<uint16_t>(text.size())).raw(as_bytes(text));
  } else {
    head.number(simple_reply_magic).number(error).number(request->wire.cookie);
  }
  reply.head = std::move(head).take();
  reply.finishes = request;
  queue(std::move(reply));
}

// One extent over all that was asked for: data. Which blocks are allocated is not asked of the
// cluster.
void NbdConnection::send_block_status(Request* request) {
  Reply reply;
  BigWriter head;
  chunk_header(head, true, Chunk::block_status, request->wire.cookie, 4 + 8);
  head.number(allocation_context_id).number(request->wire.length).number(uint32_t{0});
  reply.head = std::move(head).take();
  reply.finishes = request;
  queue(std::move(reply));
}

NbdConnection::Request* NbdConnection::acquire(const nbd::Request& wire) {
  if (spare_.empty()) {
    requests_.push_back(std::make_unique<Request>());
    spare_.push_back(requests_.back().get());
  }
  Request* request = spare_.back();
  spare_.pop_back();
  auto pieces = std::move(request->pieces);
  pieces.clear();
  *request = Request{};
  request->pieces = std::move(pieces);
  request->wire = wire;
  if (carries_data(wire.command) && wire.length <= payload_bytes_max) request->cost = wire.length;
  ++requests_in_flight_;
  bytes_in_flight_ += request->cost;
  return request;
}

void NbdConnection::release(Request* request) {
  --requests_in_flight_;
  bytes_in_flight_ -= request->cost;
  request->pieces.clear();
  spare_.push_back(request);
}

}  // namespace sp::attach
