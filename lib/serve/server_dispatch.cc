// Messages that come in: from clients to the primaries, from primaries to the replicas.
#include "base/client_id.h"
#include "base/planted.h"
#include "base/probe.h"
#include "serve/copies.h"
#include "serve/joiner.h"
#include "serve/repair.h"
#include "serve/server_impl.h"

namespace sp::serve {

using wire::MessageType;

template <class T>
void ServerImpl::answer(uint64_t link, uint64_t request, MessageType type, const T& body,
                        Buffer data) {
  wire::Message message;
  message.type = type;
  message.request = request;
  message.body = encode(body);
  message.data = std::move(data);
  links_.reply(link, std::move(message));
}

void ServerImpl::handle(const Links::Peer& from, wire::Message message) {
  const auto type = static_cast<uint8_t>(message.type);
  const ServiceKind kind = from.identity.service.kind;
  if (type >= 32 && type < 64 && (kind == ServiceKind::client || kind == ServiceKind::server))
    return handle_client(from, std::move(message));
  if (type >= 64 && type < 96 && kind == ServiceKind::server)
    return handle_copy(from, std::move(message));
  host_.log.warning("a peer said what it may not say", {{"type", type}});
  links_.close(from.link);
}

void ServerImpl::answer_digest(const Links::Peer& from, const wire::Message& message) {
  const auto body = wire::decode<wire::Digest>(message.body);
  if (!body) return links_.close(from.link);
  const auto reply = [this, link = from.link, request = message.request](wire::DigestReply digest) {
    answer(link, request, MessageType::digest_reply, digest);
  };
  if (LocalDisk* const disk = context_.disk(body->disk))
    return disk->replica(host_, body->set).digest(reply);
  wire::DigestReply refusal;
  refusal.text = "disk " + std::to_string(body->disk) + " is not held by this server";
  reply(refusal);
}

void ServerImpl::answer_statistics(const Links::Peer& from, uint64_t request) {
  const Counters& counters = context_.counters;
  wire::StatisticsReply reply;
  reply.reads = counters.reads, reply.writes = counters.writes;
  reply.bytes_recovered = counters.bytes_recovered;
  reply.blocks_repaired = counters.blocks_repaired, reply.blocks_lost = counters.blocks_lost;
  for (const auto& [id, disk] : context_.disks) {
    const auto stats = disk->store->stats();
    wire::DiskStatistics row;
    row.disk = id;
    row.blocks_total = stats.blocks_total, row.blocks_used = stats.blocks_used;
    row.memory_bytes = stats.memory_bytes;
    if (const auto& counts = disk->counts) {
      row.device_reads = counts->reads, row.device_bytes_read = counts->bytes_read;
      row.device_writes = counts->writes, row.device_bytes_written = counts->bytes_written;
      row.device_flushes = counts->flushes;
    }
    reply.disks.push_back(row);
  }
  answer(from.link, request, MessageType::statistics_reply, reply);
}

void ServerImpl::handle_client(const Links::Peer& from, wire::Message message) {
  if (message.type == MessageType::digest) return answer_digest(from, message);
  if (message.type == MessageType::ask_statistics) return answer_statistics(from, message.request);
  ClientRequest request;
  request.link = from.link;
  request.request = message.request;
  request.client_start = from.identity.start_id;
  request.since = host_.clock.now();
  request.is_write = message.type == MessageType::write;
  bool good = false;
  if (message.type == MessageType::read) {
    if (auto body = wire::decode<wire::ReadRequest>(message.body))
      request.read = std::move(*body), good = true;
  } else if (message.type == MessageType::write) {
    if (auto body = wire::decode<wire::WriteRequest>(message.body))
      request.write = std::move(*body), good = true;
  }
  // A client speaks for itself only.
  const ClientId client =
      request.is_write ? request.write.attachment.client : request.read.attachment.client;
  if (!good || service_of_client(client) != from.identity.service) {
    host_.log.warning("a malformed request of a client", {{"node", from.identity.service.node}});
    return links_.close(from.link);
  }
  request.data = std::move(message.data);
  admission_.arrive(std::move(request));
}

void ServerImpl::serve_client(ClientRequest request) {
  const auto found = primaries_.find(request.set());
  if (found == primaries_.end() || found->second->epoch() != request.epoch())
    return refuse(request);
  const auto primary = found->second;
  primary->admit(std::move(request));
}

// For a set that we do not lead in the epoch that the client believes in.
void ServerImpl::refuse(const ClientRequest& request) {
  const map::DiskSet* const row = context_.row(request.set());
  wire::DataStatus status = wire::DataStatus::not_ready;
  std::string text = "this server's map is behind";
  std::optional<map::DiskSet> current;
  if (row != nullptr && request.epoch() <= row->epoch) {
    const bool ours = !row->acting.empty() && context_.place(row->acting.front()).local != nullptr;
    if (request.epoch() < row->epoch || !ours) {
      status = wire::DataStatus::stale_epoch;
      text = "the set is in epoch " + std::to_string(row->epoch);
      current = *row;
    } else {
      text = "the set is not led yet";
    }
  }
  if (request.is_write) {
    wire::WriteReply body;
    body.status = status, body.text = text, body.current = current;
    return answer(request.link, request.request, MessageType::write_reply, body);
  }
  wire::ReadReply body;
  body.status = status, body.text = text, body.current = current;
  answer(request.link, request.request, MessageType::read_reply, body);
}

void ServerImpl::link_closed(uint64_t link) {
  admission_.link_closed(link);
  for (auto& [set, primary] : primaries_) primary->link_closed(link);
}

void ServerImpl::prepare(uint64_t link, const wire::Message& message) {
  const auto body = wire::decode<wire::Prepare>(message.body);
  if (!body) return links_.close(link);
  LocalDisk* const disk = context_.disk(body->disk);
  if (disk == nullptr) {
    wire::PrepareReply reply;
    reply.set = body->record.set, reply.version = body->record.version;
    reply.text = "disk " + std::to_string(body->disk) + " is not held by this server";
    return answer(link, message.request, MessageType::prepare_reply, reply);
  }
  if (!body->record.discard) disk->take_space(body->record.block_count);
  disk->replica(host_, body->record.set)
      .prepare(*body, message.data, false,
               [this, disk, link, request = message.request](wire::PrepareReply reply) {
                 reply.blocks_free = disk->space_to_tell(context_.now());
                 answer(link, request, MessageType::prepare_reply, reply);
               });
}

// The sender's map is of before or after our time with this disk: what it holds is not what the
// sender believes of it.
void ServerImpl::refuse_other_disk(uint64_t link, uint64_t request, const LocalDisk& disk) {
  SP_PROBE(serve_other_disk_under_the_id);
  wire::BeginEpochReply reply;
  reply.known = true;
  reply.text = "what is here as disk " + std::to_string(disk.id) + " is another disk";
  answer(link, request, MessageType::begin_epoch_reply, reply);
}

void ServerImpl::handle_copy(const Links::Peer& from, wire::Message message) {
  const uint64_t link = from.link, request = message.request;
  // Decodes, finds the disk, and hands both to `work`; `gone` is the refusal when the disk is not
  // held.
  const auto with = [&]<class Body, class Reply>(MessageType reply_type, auto work) {
    const auto body = wire::decode<Body>(message.body);
    if (!body) return links_.close(link);
    if (LocalDisk* const disk = context_.disk(body->disk)) return work(*disk, *body);
    Reply reply;
    if constexpr (requires { reply.text; })
      reply.text = "disk " + std::to_string(body->disk) + " is not held by this server";
    if constexpr (requires { reply.known; }) reply.known = true;
    if constexpr (requires { reply.perhaps_later; }) reply.ok = reply.perhaps_later = true;
    answer(link, request, reply_type, reply);
  };
  switch (message.type) {
    case MessageType::prepare: return prepare(link, message);
    case MessageType::begin_epoch:
      return with.operator()<wire::BeginEpoch, wire::BeginEpochReply>(
          MessageType::begin_epoch_reply, [&](LocalDisk& disk, const wire::BeginEpoch& body) {
            if (body.uuid != disk.uuid && !SP_PLANTED_BUG(serve_believes_disk_by_id))
              return refuse_other_disk(link, request, disk);
            disk.replica(host_, body.set)
                .begin_epoch(body, [this, &disk, link, request](wire::BeginEpochReply reply) {
                  reply.blocks_free = disk.space_to_tell(context_.now());
                  answer(link, request, MessageType::begin_epoch_reply, reply);
                });
          });
    case MessageType::decided: {
      const auto body = wire::decode<wire::Decided>(message.body);
      if (!body) return links_.close(link);
      if (LocalDisk* const disk = context_.disk(body->disk))
        disk->replica(host_, body->set).decided(*body);
      return;
    }
    case MessageType::fetch_undecided:
      return with.operator()<wire::FetchUndecided, wire::FetchUndecidedReply>(
          MessageType::fetch_undecided_reply,
          [&](LocalDisk& disk, const wire::FetchUndecided& body) {
            disk.replica(host_, body.set)
                .fetch_undecided(body, [this, link, request](wire::FetchUndecidedReply reply,
                                                             Buffer data) {
                  answer(link, request, MessageType::fetch_undecided_reply, reply, std::move(data));
                });
          });
    case MessageType::recover_object:
      return with.operator()<wire::RecoverObject, wire::RecoverObjectReply>(
          MessageType::recover_object_reply, [&](LocalDisk& disk, const wire::RecoverObject& body) {
            disk.replica(host_, body.set)
                .recover_object(body, message.data,
                                [this, link, request](wire::RecoverObjectReply reply) {
                                  answer(link, request, MessageType::recover_object_reply, reply);
                                });
          });
    case MessageType::fetch_block:
      return with.operator()<wire::FetchBlock, wire::FetchBlockReply>(
          MessageType::fetch_block_reply, [&](LocalDisk& disk, const wire::FetchBlock& body) {
            answer_fetch_block(
                disk, body,
                [this, link, request, id = disk.id, set = body.set, object = body.object,
                 block = body.block](wire::FetchBlockReply reply, Buffer data, bool damaged) {
                  answer(link, request, MessageType::fetch_block_reply, reply, std::move(data));
                  LocalDisk* const disk = context_.disk(id);
                  if (damaged && disk != nullptr) mend_block(context_, *disk, set, object, block);
                });
          });
    case MessageType::ask_space:
      return with.operator()<wire::AskSpace, wire::AskSpaceReply>(
          MessageType::ask_space_reply, [&](LocalDisk& disk, const wire::AskSpace&) {
            wire::AskSpaceReply reply;
            reply.ok = true;
            disk.count_space(context_.now());
            reply.blocks_free = disk.blocks_free;
            answer(link, request, MessageType::ask_space_reply, reply);
          });
    default: return links_.close(link);
  }
}

}  // namespace sp::serve
