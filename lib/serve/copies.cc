#include "serve/copies.h"

#include "base/checksum.h"

namespace sp::serve {

namespace {

using wire::MessageType;

// Sends to another server and decodes what comes back.
template <class ReplyBody>
void ask(Context& context, const Place& place, MessageType type, MessageType reply_type,
         std::vector<std::byte> body, const Buffer& data,
         Callback<void(Result<ReplyBody>, Buffer)> done) {
  auto box = std::make_unique<Callback<void(Result<ReplyBody>, Buffer)>>(std::move(done));
  if (place.server == context.self.service || place.server.node == 0) {
    const DiskId disk = place.disk;
    context.host.reactor.post([box = std::move(box), disk] {
      box->call_once(
          Error(Code::unreachable, "disk " + std::to_string(disk) + " is held by no server"), {});
    });
    return;
  }
  context.peers.request(
      place.server, type, std::move(body), data,
      [box = std::move(box), reply_type](Result<wire::Message> message) {
        if (!message.ok()) return box->call_once(std::move(message).error(), {});
        auto reply =
            message->type == reply_type ? wire::decode<ReplyBody>(message->body) : std::nullopt;
        if (!reply)
          return box->call_once(Error(Code::damaged, "a malformed reply between servers"), {});
        box->call_once(std::move(*reply), message->data);
      });
}

template <class ReplyBody>
Callback<void(Result<ReplyBody>, Buffer)> without_data(Callback<void(Result<ReplyBody>)> done) {
  auto box = std::make_unique<Callback<void(Result<ReplyBody>)>>(std::move(done));
  return
      [box = std::move(box)](Result<ReplyBody> reply, Buffer) { box->call_once(std::move(reply)); };
}

}  // namespace

void begin_epoch(Context& context, const Place& place, const wire::BeginEpoch& request,
                 Callback<void(Result<wire::BeginEpochReply>)> done) {
  if (place.local == nullptr) {
    return ask<wire::BeginEpochReply>(context, place, MessageType::begin_epoch,
                                      MessageType::begin_epoch_reply, encode(request), {},
                                      without_data(std::move(done)));
  }
  auto box = std::make_unique<Callback<void(Result<wire::BeginEpochReply>)>>(std::move(done));
  place.local->replica(context.host, request.set)
      .begin_epoch(request, [&context, box = std::move(box)](wire::BeginEpochReply reply) mutable {
        auto carried = std::make_unique<wire::BeginEpochReply>(std::move(reply));
        context.host.reactor.post([box = std::move(box), carried = std::move(carried)] {
          box->call_once(std::move(*carried));
        });
      });
}

void fetch_undecided(Context& context, const Place& place, const wire::FetchUndecided& request,
                     Callback<void(Result<wire::FetchUndecidedReply>, Buffer)> done) {
  if (place.local == nullptr) {
    return ask<wire::FetchUndecidedReply>(context, place, MessageType::fetch_undecided,
                                          MessageType::fetch_undecided_reply, encode(request), {},
                                          std::move(done));
  }
  auto box =
      std::make_unique<Callback<void(Result<wire::FetchUndecidedReply>, Buffer)>>(std::move(done));
  place.local->replica(context.host, request.set)
      .fetch_undecided(request,
                       [box = std::move(box)](wire::FetchUndecidedReply reply, Buffer data) {
                         box->call_once(std::move(reply), data);
                       });
}

void fetch_block(Context& context, const Place& place, const wire::FetchBlock& request,
                 Callback<void(Result<wire::FetchBlockReply>, Buffer)> done) {
  if (place.local == nullptr) {
    return ask<wire::FetchBlockReply>(context, place, MessageType::fetch_block,
                                      MessageType::fetch_block_reply, encode(request), {},
                                      std::move(done));
  }
  auto box =
      std::make_unique<Callback<void(Result<wire::FetchBlockReply>, Buffer)>>(std::move(done));
  answer_fetch_block(*place.local, request,
                     [box = std::move(box)](wire::FetchBlockReply reply, Buffer data, bool) {
                       box->call_once(std::move(reply), data);
                     });
}

void recover_object(Context& context, const Place& place, const wire::RecoverObject& request,
                    const Buffer& data, Callback<void(Result<wire::RecoverObjectReply>)> done) {
  if (place.local == nullptr) {
    return ask<wire::RecoverObjectReply>(context, place, MessageType::recover_object,
                                         MessageType::recover_object_reply, encode(request), data,
                                         without_data(std::move(done)));
  }
  auto box = std::make_unique<Callback<void(Result<wire::RecoverObjectReply>)>>(std::move(done));
  place.local->replica(context.host, request.set)
      .recover_object(
          request, data, [&context, box = std::move(box)](wire::RecoverObjectReply reply) mutable {
            auto carried = std::make_unique<wire::RecoverObjectReply>(std::move(reply));
            context.host.reactor.post([box = std::move(box), carried = std::move(carried)] {
              box->call_once(std::move(*carried));
            });
          });
}

void answer_fetch_block(LocalDisk& disk, const wire::FetchBlock& request,
                        Callback<void(wire::FetchBlockReply, Buffer, bool)> done) {
  struct Call {
    wire::FetchBlock request;
    Buffer data;
    Callback<void(wire::FetchBlockReply, Buffer, bool)> done;
  };
  auto call = std::make_unique<Call>();
  call->request = request;
  call->data = Buffer::allocate(limits::block_bytes);
  call->done = std::move(done);
  const MutableBytes into = call->data.mutable_bytes();
  disk.store->read(request.object, request.block, 1, into,
                   [call = std::move(call)](Result<std::vector<store::BlockRead>> read) {
                     wire::FetchBlockReply reply;
                     bool damaged = false;
                     if (!read.ok()) {
                       damaged = read.error().code() == Code::damaged;
                       reply.ok = reply.perhaps_later = !damaged;
                       reply.text = read.error().message();
                     } else if (read->front().version != call->request.version) {
                       reply.perhaps_later = true;
                       reply.text = "another version is decided there";
                     } else if (crc64(call->data.bytes()) != read->front().crc) {
                       reply.text = "content and checksum differ";
                     } else {
                       reply.ok = true;
                       reply.crc = read->front().crc;
                     }
                     const Buffer data = reply.ok && read.ok() ? call->data : Buffer();
                     call->done.call_once(std::move(reply), data, damaged);
                   });
}

}  // namespace sp::serve
