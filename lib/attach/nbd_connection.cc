#include "attach/nbd_connection.h"

#include <algorithm>
#include <chrono>
#include <cstring>

#include "base/limits.h"

namespace sp::attach {

using namespace nbd;

namespace {
constexpr size_t input_bytes = 64u << 10;
static_assert(input_bytes >= option_header_bytes + option_bytes_max);
constexpr size_t option_replies_waiting_max = 64;
constexpr auto handshake_timeout = std::chrono::seconds(30);
constexpr size_t replies_per_send = 64;
}  // namespace

NbdConnection::NbdConnection(NbdServer& server, io::Host& host, std::unique_ptr<io::Socket> socket)
    : server_(server),
      host_(host),
      socket_(std::move(socket)),
      peer_(socket_->peer().text()),
      handshake_timer_(host.reactor),
      input_(input_bytes) {}

NbdConnection::~NbdConnection() = default;

void NbdConnection::start() {
  Reply greeting;
  BigWriter out;
  out.number(greeting_magic).number(option_magic);
  out.number(static_cast<uint16_t>(flag_fixed_newstyle | flag_no_zeroes));
  greeting.head = std::move(out).take();
  queue(std::move(greeting));
  handshake_timer_.arm(handshake_timeout, [this] { fail("no export was chosen in time"); });
  receive();
}

void NbdConnection::close() {
  if (phase_ == Phase::closed) return;
  phase_ = Phase::closed;
  handshake_timer_.cancel();
  socket_.reset();
  sending_.clear();
  replies_.clear();
  server_.connection_changed();
}

void NbdConnection::fail(std::string_view reason) {
  host_.log.warning("NBD client cut off",
                    {{"peer", peer_},
                     {"export", export_ == nullptr ? "" : export_->settings.name},
                     {"reason", reason}});
  close();
}

// ---- Input

void NbdConnection::receive() {
  if (receiving_ || phase_ == Phase::closed || phase_ == Phase::draining) return;
  MutableBytes into;
  if (phase_ == Phase::payload && !writing_->discarded && available() == 0) {
    const Buffer& piece = writing_->pieces.back();
    into = piece.mutable_bytes().last(writing_->allocated - writing_->received);
  }
  const bool direct =
      into.size() > input_bytes / 4;  // less is better taken together with what follows it
  if (!direct) {
    if (input_begin_ == input_end_) input_begin_ = input_end_ = 0;
    if (input_begin_ > input_bytes / 2) {
      std::memmove(input_.data(), input_.data() + input_begin_, available());
      input_end_ = available();
      input_begin_ = 0;
    }
    into = MutableBytes(input_).subspan(input_end_);
  }
  receiving_ = true;
  socket_->receive(into, [this, direct](Result<size_t> count) {
    receiving_ = false;
    if (!count.ok() || *count == 0) return close();
    if (direct)
      writing_->received += *count;
    else
      input_end_ += *count;
    consume();
  });
}

void NbdConnection::consume() {
  if (std::exchange(consuming_, true)) return;
  while (consume_some()) {
  }
  consuming_ = false;
}

// Works off one item of input. Starts receiving where input is what is missing; where room is
// missing, sent() comes back here.
bool NbdConnection::consume_some() {
  switch (phase_) {
    case Phase::client_flags: return take_client_flags();
    case Phase::option_header: return take_option_header();
    case Phase::option_data: return take_option_data();
    case Phase::request: return take_request();
    case Phase::payload: return take_payload();
    case Phase::draining:
      if (requests_in_flight_ == 0 && replies_.empty() && sending_.empty()) close();
      return false;
    case Phase::closed: return false;
  }
  SP_UNREACHABLE();
}

Bytes NbdConnection::take(size_t count) {
  if (available() < count) {
    receive();
    return {};
  }
  const Bytes taken = Bytes(input_).subspan(input_begin_, count);
  input_begin_ += count;
  return taken;
}

// ---- Handshake

bool NbdConnection::take_client_flags() {
  const Bytes bytes = take(4);
  if (bytes.empty()) return false;
  const auto flags = BigReader(bytes).number<uint32_t>();
  if ((flags & ~uint32_t{flag_fixed_newstyle | flag_no_zeroes}) != 0) {
    fail("unknown handshake flags");
    return false;
  }
  no_zeroes_ = (flags & flag_no_zeroes) != 0;
  phase_ = Phase::option_header;
  return true;
}

bool NbdConnection::take_option_header() {
  if (replies_.size() >= option_replies_waiting_max) return false;
  const Bytes bytes = take(option_header_bytes);
  if (bytes.empty()) return false;
  option_ = parse_option_header(bytes);
  if (option_.magic != option_magic || option_.size > option_bytes_max) {
    fail(option_.magic != option_magic ? "an option without its magic number"
                                       : "an option of more than 16 KiB");
    return false;
  }
  phase_ = Phase::option_data;
  return true;
}

bool NbdConnection::take_option_data() {
  Bytes data;
  if (option_.size > 0 && (data = take(option_.size)).empty()) return false;
  phase_ = Phase::option_header;
  switch (option_.option) {
    case Option::export_name: return option_export_name(data);
    case Option::abort:
      answer(OptionReply::ack);
      phase_ = Phase::draining;
      return true;
    case Option::list: option_list(data); break;
    case Option::info:
    case Option::go: option_info(data); break;
    case Option::structured_reply:
      if (!data.empty()) {
        refuse(OptionReply::error_invalid, "this option takes no data");
        break;
      }
      structured_ = true;
      answer(OptionReply::ack);
      break;
    case Option::list_meta_context:
    case Option::set_meta_context: option_meta_context(data); break;
    case Option::starttls:
      refuse(OptionReply::error_unsupported, "this server does not speak TLS");
      break;
    default: refuse(OptionReply::error_unsupported, "unknown option"); break;
  }
  return true;
}

void NbdConnection::option_list(Bytes data) {
  if (!data.empty()) return refuse(OptionReply::error_invalid, "this option takes no data");
  for (const auto& [name, exported] : server_.exports_) {
    if (exported->removing) continue;
    BigWriter out;
    out.number(static_cast<uint32_t>(name.size())).raw(as_bytes(name));
    answer(OptionReply::server, out.view());
  }
  answer(OptionReply::ack);
}

bool NbdConnection::option_export_name(Bytes data) {
  NbdServer::Export* exported = server_.find_export(std::string(as_text(data)));
  if (exported == nullptr) {  // the one option that cannot be refused by a reply
    fail("it asked for an export that does not exist: " +
         std::string(as_text(data.first(std::min<size_t>(data.size(), 200)))));
    return false;
  }
  export_ = exported;
  BigWriter out;
  out.number(exported->settings.device->size_bytes()).number(transmission_flags());
  if (!no_zeroes_) out.zeros(124);
  Reply reply;
  reply.head = std::move(out).take();
  queue(std::move(reply));
  enter_transmission(exported);
  return true;
}

void NbdConnection::option_info(Bytes data) {
  InfoQuery query;
  if (!parse_info_query(data, query))
    return refuse(OptionReply::error_invalid, "malformed request for information");
  NbdServer::Export* exported = server_.find_export(query.export_name);
  if (exported == nullptr)
    return refuse(OptionReply::error_unknown, "no export named " + query.export_name);
  export_ = exported;
  const auto wants = [&](Info info) {
    return std::find(query.wanted.begin(), query.wanted.end(), static_cast<uint16_t>(info)) !=
           query.wanted.end();
  };
  BigWriter size;
  size.number(exported->settings.device->size_bytes()).number(transmission_flags());
  send_info(Info::export_, size.view());
  if (wants(Info::name)) send_info(Info::name, as_bytes(exported->settings.name));
  if (wants(Info::description) && !exported->settings.description.empty())
    send_info(Info::description, as_bytes(exported->settings.description));
  BigWriter blocks;
  blocks.number(uint32_t{1}).number(limits::block_bytes).number(payload_bytes_max);
  send_info(Info::block_size, blocks.view());
  answer(OptionReply::ack);
  if (option_.option == Option::go)
    enter_transmission(exported);
  else
    export_ = nullptr;
}

void NbdConnection::option_meta_context(Bytes data) {
  const bool set = option_.option == Option::set_meta_context;
  MetaQuery query;
  if (set) allocation_context_ = false;
  if (!structured_)
    return refuse(OptionReply::error_invalid, "structured replies must be agreed on first");
  if (!parse_meta_query(data, query))
    return refuse(OptionReply::error_invalid, "malformed query for contexts");
  NbdServer::Export* exported = server_.find_export(query.export_name);
  if (exported == nullptr)
    return refuse(OptionReply::error_unknown, "no export named " + query.export_name);
  const bool matched =
      (!set && query.queries.empty()) ||
      std::any_of(query.queries.begin(), query.queries.end(), [&](const std::string& text) {
        return text == allocation_context || (!set && text == "base:");
      });
  if (matched) {
    BigWriter out;
    out.number(set ? allocation_context_id : 0).raw(as_bytes(allocation_context));
    answer(OptionReply::meta_context, out.view());
  }
  if (set) {
    allocation_context_ = matched;
    meta_export_ = exported->settings.name;
  }
  answer(OptionReply::ack);
}

uint16_t NbdConnection::transmission_flags() const {
  uint16_t flags = export_has_flags | export_send_flush | export_send_fua | export_can_multi_conn;
  if (structured_) flags |= export_send_df;
  if (export_->read_only())
    flags |= export_read_only;
  else
    flags |= export_send_trim | export_send_write_zeroes | export_send_fast_zero;
  return flags;
}

void NbdConnection::enter_transmission(NbdServer::Export* exported) {
  export_ = exported;
  if (meta_export_ != exported->settings.name) allocation_context_ = false;
  handshake_timer_.cancel();
  phase_ = Phase::request;
}

void NbdConnection::answer(OptionReply type, Bytes data) {
  Reply reply;
  reply.head = option_reply(option_.option, type, data);
  queue(std::move(reply));
}

void NbdConnection::refuse(OptionReply type, std::string_view text) {
  answer(type, as_bytes(text.substr(0, string_bytes_max)));
}

void NbdConnection::send_info(Info type, Bytes data) {
  BigWriter out;
  out.number(static_cast<uint16_t>(type)).raw(data);
  answer(OptionReply::info, out.view());
}

// ---- Output

void NbdConnection::queue(Reply reply) {
  if (phase_ == Phase::closed) return;
  replies_.push_back(std::move(reply));
  if (sending_.empty() && !std::exchange(send_posted_, true))
    // One turn later, so that the replies of all that completed in this turn leave together.
    host_.reactor.post([this, alive = std::weak_ptr<bool>(alive_)] {
      if (alive.expired()) return;
      send_posted_ = false;
      send();
    });
}

void NbdConnection::send() {
  if (phase_ == Phase::closed || !sending_.empty() || replies_.empty()) return;
  send_parts_.clear();
  while (!replies_.empty() && sending_.size() < replies_per_send) {
    sending_.push_back(std::move(replies_.front()));
    replies_.pop_front();
  }
  for (const Reply& reply : sending_) {
    send_parts_.push_back(reply.head);
    if (reply.data) send_parts_.push_back(reply.data.bytes());
    for (const Buffer& buffer : reply.more) send_parts_.push_back(buffer.bytes());
  }
  socket_->send(send_parts_, [this](const Status& status) { sent(status); });
}

void NbdConnection::sent(const Status& status) {
  for (Reply& reply : sending_)
    if (reply.finishes != nullptr) release(reply.finishes);
  sending_.clear();
  if (!status.ok()) return close();
  send();
  consume();
}

}  // namespace sp::attach
