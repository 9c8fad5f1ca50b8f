#include "wire/connection.h"

#include <cstring>
#include <deque>
#include <vector>

#include "wire/frame.h"
#include "wire/handshake.h"

namespace sp::wire {

namespace {

constexpr size_t body_copied_max =
    4096;  // bodies up to here are sent from one piece of memory with their headers
constexpr size_t frames_per_send_max = 256;
constexpr size_t direct_receive_bytes =
    16u << 10;  // this much missing block data is received straight into its Buffer

class ConnectionImpl;

// What callbacks on their way hold on to: the Connection may be destroyed inside an event, the
// event's own closure may not.
struct Anchor {
  ConnectionImpl* connection = nullptr;  // nullptr: destroyed
  Connection::Events events;
};
using AnchorPtr = std::shared_ptr<Anchor>;

class ConnectionImpl final : public Connection {
 public:
  ConnectionImpl(io::Host& host, std::unique_ptr<io::Socket> socket, const ClusterKey& key,
                 const Identity& self, bool accepting, Events events)
      : host_(host),
        socket_(std::move(socket)),
        self_(self),
        handshake_(key, self, accepting, host.random),
        timer_(host.reactor),
        anchor_(std::make_shared<Anchor>()),
        in_(Buffer::allocate(limits::connection_receive_bytes)) {
    anchor_->connection = this;
    anchor_->events = std::move(events);
    timer_.arm(limits::connect_timeout, [this] {
      close(Error(Code::timed_out, "handshake: the peer did not finish it in time"));
    });
    handshake_out_.assign(handshake_.hello().begin(), handshake_.hello().end());
    flush();
    receive();
  }
  ~ConnectionImpl() override { anchor_->connection = nullptr; }

  void send(Message message) override;
  bool ready() const override { return state_ == State::ready; }
  const Identity& peer() const override {
    SP_ASSERT(peer_known_);
    return peer_;
  }
  uint8_t protocol() const override {
    SP_ASSERT(peer_known_);
    return handshake_.protocol();
  }
  size_t queued_bytes() const override { return queued_bytes_; }

 private:
  enum class State : uint8_t { hello, proof, ready, closed };
  struct Outgoing {
    FrameHeader header;
    Message message;
    size_t bytes() const {
      return sizeof header + message.body.size() + (message.data ? message.data.size() : 0);
    }
  };

  void close(Error why);
  void want_flush();
  void flush();
  void sent(const Status& status);
  void receive();
  void received(const Result<size_t>& size);
  bool take_handshake();
  bool take_frames();
  bool take_frame(bool& progress);
  bool deliver(Message message);
  void make_room(size_t wanted);

  io::Host& host_;
  std::unique_ptr<io::Socket> socket_;
  Identity self_;
  Identity peer_;
  Handshake handshake_;
  io::Timer timer_;
  AnchorPtr anchor_;
  State state_ = State::hello;
  bool peer_known_ = false;

  std::vector<std::byte> handshake_out_;
  std::vector<std::byte> handshake_sending_;
  std::deque<Outgoing> queue_;  // the first sending_ of them are with the socket
  size_t sending_ = 0;
  bool send_under_way_ = false;
  bool flush_wanted_ = false;
  size_t queued_bytes_ = 0;
  uint64_t sequence_out_ = 0;
  std::vector<std::byte> arena_;  // headers and small bodies of the frames under way
  std::vector<Bytes> parts_;

  Buffer in_;  // [begin_, end_) holds received bytes not yet parsed
  size_t begin_ = 0;
  size_t end_ = 0;
  uint64_t sequence_in_ = 0;
  std::optional<Message> partial_;  // header and body are here, block data is not complete
  size_t partial_have_ = 0;
  bool direct_ = false;  // the receive under way goes into partial_->data
};

void ConnectionImpl::close(Error why) {
  if (state_ == State::closed) return;
  state_ = State::closed;
  timer_.cancel();
  // The socket's completions are dropped with it, so nothing it may still point to is needed after
  // this.
  socket_.reset();
  queue_.clear();
  sending_ = 0;
  queued_bytes_ = 0;
  host_.reactor.post([anchor = anchor_, reason = std::move(why)] {
    if (anchor->connection != nullptr && anchor->events.closed) anchor->events.closed(reason);
  });
}

void ConnectionImpl::send(Message message) {
  if (state_ == State::closed) return;
  if (queue_.size() >= limits::send_queue_messages_max) {
    // Not Code::closed: that is the peer's end, and says that its process is gone.
    close(Error(Code::unreachable, "the peer takes no messages: the send queue is full"));
    return;
  }
  if (peer_known_)
    SP_ASSERT(may_say(self_.service.kind, peer_.service.kind, static_cast<uint8_t>(message.type)));
  Outgoing& out = queue_.emplace_back();
  out.message = std::move(message);
  // Before the version is agreed on there is no header yet.
  const uint64_t sequence = sequence_out_++;
  if (peer_known_) out.header = frame_header(out.message, sequence, protocol());
  queued_bytes_ += out.bytes();
  want_flush();
}

void ConnectionImpl::want_flush() {
  if (flush_wanted_ || send_under_way_) return;
  flush_wanted_ = true;
  auto work = [anchor = anchor_] {
    if (anchor->connection == nullptr) return;
    anchor->connection->flush_wanted_ = false;
    anchor->connection->flush();
  };
  if (const uint32_t draw = SP_BUGGIFY(wire_sends_late, host_))
    return host_.reactor.later(std::chrono::milliseconds(1 + draw % (draw % 16 == 0 ? 300 : 30)),
                               std::move(work));
  host_.reactor.post_last(std::move(work));
}

void ConnectionImpl::flush() {
  if (send_under_way_ || state_ == State::closed) return;
  parts_.clear();
  if (!handshake_out_.empty()) {
    handshake_sending_ = std::exchange(handshake_out_, {});
    parts_.push_back(handshake_sending_);
  } else if (state_ == State::ready && !queue_.empty()) {
    const bool one = SP_BUGGIFY(wire_frames_one_at_a_time, host_) != 0;
    sending_ = std::min(queue_.size(), one ? 1 : frames_per_send_max);
    size_t arena_bytes = 0;
    for (size_t i = 0; i < sending_; ++i) {
      const size_t body = queue_[i].message.body.size();
      arena_bytes += sizeof(FrameHeader) + (body <= body_copied_max ? body : 0);
    }
    arena_.clear();
    arena_.reserve(arena_bytes);  // parts_ point into it
    for (size_t i = 0; i < sending_; ++i) {
      const Outgoing& out = queue_[i];
      const auto append = [this](Bytes bytes) {
        std::byte* const at = arena_.data() + arena_.size();
        arena_.insert(arena_.end(), bytes.begin(), bytes.end());
        if (!parts_.empty() && parts_.back().data() + parts_.back().size() == at) {
          parts_.back() = Bytes(parts_.back().data(), parts_.back().size() + bytes.size());
        } else {
          parts_.emplace_back(at, bytes.size());
        }
      };
      append(struct_bytes(out.header));
      if (out.message.body.size() <= body_copied_max)
        append(out.message.body);
      else
        parts_.emplace_back(out.message.body);
      if (out.header.data_bytes != 0) parts_.push_back(out.message.data.bytes());
    }
  } else {
    return;
  }
  send_under_way_ = true;
  socket_->send(parts_, [this](Status status) { sent(status); });
}

void ConnectionImpl::sent(const Status& status) {
  send_under_way_ = false;
  if (!status.ok()) {
    close(Error(status.error()).with("sending"));
    return;
  }
  for (; sending_ > 0; --sending_) {
    queued_bytes_ -= queue_.front().bytes();
    queue_.pop_front();
  }
  flush();
}

void ConnectionImpl::receive() {
  if (state_ == State::closed) return;
  MutableBytes into;
  direct_ = partial_ && partial_->data.size() - partial_have_ >= direct_receive_bytes;
  if (direct_) {
    SP_ASSERT_OP(begin_, ==, end_);
    into = partial_->data.mutable_bytes().subspan(partial_have_);
  } else {
    into = in_.mutable_bytes().subspan(end_);
  }
  SP_ASSERT(!into.empty());
  if (const uint32_t draw = SP_BUGGIFY(wire_receives_little, host_))
    into = into.first(std::min<size_t>(into.size(), 1 + draw % 500));
  socket_->receive(into, [this](Result<size_t> size) { received(size); });
}

void ConnectionImpl::received(const Result<size_t>& size) {
  if (!size.ok()) {
    close(Error(size.error()).with("receiving"));
    return;
  }
  if (*size == 0) {
    close(Error(Code::closed, state_ == State::ready
                                  ? "the peer ended the connection"
                                  : "handshake: the peer refused and ended the connection"));
    return;
  }
  const AnchorPtr anchor = anchor_;  // events may destroy this
  if (direct_)
    partial_have_ += *size;
  else
    end_ += *size;
  if (state_ != State::ready && !take_handshake()) return;
  if (state_ == State::ready && !take_frames()) return;
  if (anchor->connection != nullptr) receive();
}

// false: closed or destroyed.
bool ConnectionImpl::take_handshake() {
  const auto fail = [this](Status status) {
    if (status.ok()) return false;
    host_.log.warning("connection refused",
                      {{"peer", socket_->peer().text()}, {"why", status.error().message()}});
    close(std::move(status).error());
    return true;
  };
  if (state_ == State::hello) {
    if (end_ - begin_ < sizeof(Hello)) return true;
    if (fail(handshake_.take_hello(in_.bytes().subspan(begin_, sizeof(Hello))))) return false;
    begin_ += sizeof(Hello);
    handshake_out_.insert(handshake_out_.end(), handshake_.proof().begin(),
                          handshake_.proof().end());
    flush();
    state_ = State::proof;
  }
  if (state_ == State::proof) {
    if (end_ - begin_ < sizeof(Digest256)) return true;
    if (fail(handshake_.take_proof(in_.bytes().subspan(begin_, sizeof(Digest256))))) return false;
    begin_ += sizeof(Digest256);
    peer_ = handshake_.peer();
    peer_known_ = true;
    uint64_t sequence = 0;  // nothing has left yet
    for (Outgoing& out : queue_) out.header = frame_header(out.message, sequence++, protocol());
    state_ = State::ready;
    timer_.cancel();
    const AnchorPtr anchor = anchor_;
    if (anchor->events.ready) anchor->events.ready(peer_);
    if (anchor->connection == nullptr || state_ == State::closed) return false;
    flush();
  }
  return true;
}

// false: closed or destroyed.
bool ConnectionImpl::take_frames() {
  for (bool progress = true; progress;) {
    progress = false;
    if (!take_frame(progress)) return false;
  }
  return true;
}

bool ConnectionImpl::take_frame(bool& progress) {
  const auto refuse = [this](Error error) {
    host_.log.warning("connection ended",
                      {{"peer", service_text(peer_.service)}, {"why", error.message()}});
    close(std::move(error));
    return false;
  };
  if (partial_) {
    const size_t take = std::min(partial_->data.size() - partial_have_, end_ - begin_);
    std::memcpy(partial_->data.data() + partial_have_, in_.data() + begin_, take);
    partial_have_ += take;
    begin_ += take;
    if (partial_have_ < partial_->data.size()) {
      make_room(1);
      return true;
    }
    progress = true;
    Message message = std::move(*partial_);
    partial_.reset();
    return deliver(std::move(message));
  }
  const Bytes bytes = in_.bytes().subspan(begin_, end_ - begin_);
  if (bytes.size() < sizeof(FrameHeader)) {
    make_room(sizeof(FrameHeader));
    return true;
  }
  const auto header = parse_header(bytes, sequence_in_, protocol());
  if (!header.ok()) return refuse(header.error());
  if (!may_say(peer_.service.kind, self_.service.kind, header->type)) {
    return refuse(Error(Code::not_authorised, "a " + std::string(role_name(peer_.service.kind)) +
                                                  " may not send messages of type " +
                                                  std::to_string(header->type) + " here"));
  }
  const size_t whole = sizeof(FrameHeader) + header->body_bytes;
  if (bytes.size() < whole) {
    make_room(whole);
    return true;
  }
  const Bytes body = bytes.subspan(sizeof(FrameHeader), header->body_bytes);
  if (!body_matches(*header, body))
    return refuse(Error(Code::invalid, "bad frame: the checksum does not match"));
  ++sequence_in_;
  begin_ += whole;
  progress = true;
  Message message{
      static_cast<MessageType>(header->type), header->request, {body.begin(), body.end()}, {}};
  if (header->data_bytes == 0) return deliver(std::move(message));
  message.data = Buffer::allocate(header->data_bytes);
  partial_ = std::move(message);
  partial_have_ = 0;
  return true;
}

bool ConnectionImpl::deliver(Message message) {
  const AnchorPtr anchor = anchor_;
  if (anchor->events.message) anchor->events.message(std::move(message));
  return anchor->connection != nullptr && state_ != State::closed;
}

// So that `wanted` bytes from begin_ on fit, and at least one more byte can be received.
void ConnectionImpl::make_room(size_t wanted) {
  if (begin_ == end_) begin_ = end_ = 0;
  if (begin_ + wanted <= in_.size() && end_ < in_.size()) return;
  Buffer larger;
  if (wanted > in_.size()) larger = Buffer::allocate(wanted);
  std::memmove((larger ? larger : in_).data(), in_.data() + begin_, end_ - begin_);
  if (larger) in_ = std::move(larger);
  end_ -= begin_;
  begin_ = 0;
}

}  // namespace

std::unique_ptr<Connection> Connection::start(io::Host& host, std::unique_ptr<io::Socket> socket,
                                              const ClusterKey& key, const Identity& self,
                                              bool accepting, Events events) {
  return std::make_unique<ConnectionImpl>(host, std::move(socket), key, self, accepting,
                                          std::move(events));
}

}  // namespace sp::wire
