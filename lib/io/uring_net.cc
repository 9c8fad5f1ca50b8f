#include "io/uring_net.h"

#include <arpa/inet.h>
#include <fmt/format.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "io/file_lock.h"

namespace sp::io {

namespace {

struct SocketAddress {
  union {
    sockaddr any;
    sockaddr_in v4;
    sockaddr_in6 v6;
    sockaddr_un path;
  };
  socklen_t size = 0;
};

Result<SocketAddress> to_system(const Address& address) {
  SocketAddress out;
  std::memset(static_cast<void*>(&out), 0, sizeof out);
  if (address.host.starts_with('/')) {
    if (address.host.size() >= sizeof out.path.sun_path) {
      return Error(Code::invalid, fmt::format("{}: the path of a socket may have at most {} bytes",
                                              address.host, sizeof out.path.sun_path - 1));
    }
    out.path.sun_family = AF_UNIX;
    std::memcpy(out.path.sun_path, address.host.data(), address.host.size());
    out.size = sizeof out.path;
  } else if (inet_pton(AF_INET, address.host.c_str(), &out.v4.sin_addr) == 1) {
    out.v4.sin_family = AF_INET;
    out.v4.sin_port = htons(address.port);
    out.size = sizeof out.v4;
  } else if (inet_pton(AF_INET6, address.host.c_str(), &out.v6.sin6_addr) == 1) {
    out.v6.sin6_family = AF_INET6;
    out.v6.sin6_port = htons(address.port);
    out.size = sizeof out.v6;
  } else {
    return Error(
        Code::invalid,
        fmt::format("'{}' is neither an IP address nor the path of a socket", address.host));
  }
  return out;
}

Address from_system(const SocketAddress& address) {
  char text[INET6_ADDRSTRLEN] = {};
  if (address.any.sa_family == AF_INET) {
    inet_ntop(AF_INET, &address.v4.sin_addr, text, sizeof text);
    return {text, ntohs(address.v4.sin_port)};
  }
  if (address.any.sa_family == AF_INET6) {
    inet_ntop(AF_INET6, &address.v6.sin6_addr, text, sizeof text);
    return {text, ntohs(address.v6.sin6_port)};
  }
  return {};
}

void set_option(int fd, int level, int name, int value) {
  setsockopt(fd, level, name, &value, sizeof value);
}

Error stream_error(const Address& peer, int error_number) {
  switch (error_number) {
    case EPIPE:
    case ECONNRESET:
    case ECONNABORTED:
    case ENOTCONN:
    case ETIMEDOUT: return {Code::closed, peer.text() + ": " + std::strerror(error_number)};
    default: return {Code::io, peer.text() + ": " + std::strerror(error_number)};
  }
}

class UringSocket final : public Socket {
 public:
  UringSocket(UringReactor& reactor, OwnedFd fd, Address peer)
      : reactor_(reactor),
        fd_(std::move(fd)),
        peer_(std::move(peer)),
        receive_(&received, *this),
        send_(&sent, *this) {
    if (!peer_.host.starts_with('/')) set_option(fd_.get(), IPPROTO_TCP, TCP_NODELAY, 1);
  }
  ~UringSocket() override {
    UringOperation* const operations[] = {&receive_, &send_};
    reactor_.abandon(operations);
  }

  void receive(MutableBytes into, Callback<void(Result<size_t>)> done) override;
  void send(std::span<const Bytes> parts, Callback<void(Status)> done) override;
  Address peer() const override { return peer_; }

 private:
  struct Operation : UringOperation {
    Operation(Complete function, UringSocket& the_socket)
        : UringOperation(function), socket(the_socket) {}
    UringSocket& socket;
  };
  static constexpr size_t parts_per_call_max = 1024;  // IOV_MAX

  void submit_receive();
  void submit_send();
  static void received(UringOperation& operation);
  static void sent(UringOperation& operation);
  void send_progress(size_t size);

  UringReactor& reactor_;
  OwnedFd fd_;
  Address peer_;
  Operation receive_;
  Operation send_;
  MutableBytes receive_into_;
  bool more_to_receive_ = false;
  Callback<void(Result<size_t>)> receive_done_;
  std::vector<iovec> parts_;
  size_t first_part_ = 0;
  msghdr message_{};
  Callback<void(Status)> send_done_;
};

void UringSocket::receive(MutableBytes into, Callback<void(Result<size_t>)> done) {
  SP_ASSERT_OP(into.size(), >, 0u);
  SP_ASSERT(!receive_done_);
  receive_into_ = into;
  receive_done_ = std::move(done);
  submit_receive();
}

void UringSocket::submit_receive() {
  io_uring_sqe* sqe = reactor_.entry();
  io_uring_prep_recv(sqe, fd_.get(), receive_into_.data(), receive_into_.size(), 0);
  // An empty socket is better polled at once than tried first.
  if (!more_to_receive_) sqe->ioprio |= IORING_RECVSEND_POLL_FIRST;
  reactor_.started(sqe, receive_);
}

void UringSocket::received(UringOperation& operation) {
  UringSocket& self = static_cast<Operation&>(operation).socket;
  const int result = operation.result;
  self.more_to_receive_ = (operation.flags & IORING_CQE_F_SOCK_NONEMPTY) != 0;
  if (result == -EINTR || result == -EAGAIN) return self.submit_receive();
  if (result < 0) return self.receive_done_.call_once(stream_error(self.peer_, -result));
  self.receive_done_.call_once(static_cast<size_t>(result));
}

void UringSocket::send(std::span<const Bytes> parts, Callback<void(Status)> done) {
  SP_ASSERT(!send_done_);
  send_done_ = std::move(done);
  parts_.clear();
  first_part_ = 0;
  for (const Bytes part : parts) {
    if (!part.empty()) parts_.push_back({const_cast<std::byte*>(part.data()), part.size()});
  }
  if (parts_.empty())
    reactor_.complete_later(send_, 0);
  else
    submit_send();
}

void UringSocket::submit_send() {
  io_uring_sqe* sqe = reactor_.entry();
  constexpr int flags = MSG_NOSIGNAL | MSG_WAITALL;
  const size_t count = std::min(parts_.size() - first_part_, parts_per_call_max);
  if (count == 1) {
    io_uring_prep_send(sqe, fd_.get(), parts_[first_part_].iov_base, parts_[first_part_].iov_len,
                       flags);
  } else {
    message_.msg_iov = parts_.data() + first_part_;
    message_.msg_iovlen = count;
    io_uring_prep_sendmsg(sqe, fd_.get(), &message_, flags);
  }
  reactor_.started(sqe, send_);
}

void UringSocket::send_progress(size_t size) {
  while (size > 0) {
    iovec& part = parts_[first_part_];
    const size_t step = std::min(size, part.iov_len);
    part.iov_base = static_cast<std::byte*>(part.iov_base) + step;
    part.iov_len -= step;
    size -= step;
    if (part.iov_len == 0) ++first_part_;
  }
}

void UringSocket::sent(UringOperation& operation) {
  UringSocket& self = static_cast<Operation&>(operation).socket;
  const int result = operation.result;
  if (result == -EINTR || result == -EAGAIN) return self.submit_send();
  if (result < 0) return self.send_done_.call_once(stream_error(self.peer_, -result));
  self.send_progress(static_cast<size_t>(result));
  if (self.first_part_ < self.parts_.size()) return self.submit_send();
  self.send_done_.call_once(Status());
}

class UringListener final : public Listener {
 public:
  using Accepted = Callback<void(std::unique_ptr<Socket>)>;
  UringListener(UringReactor& reactor, Log& log, OwnedFd fd, Address address, Accepted accepted)
      : reactor_(reactor),
        log_(log),
        fd_(std::move(fd)),
        address_(std::move(address)),
        accept_(*this),
        pause_(reactor),
        accepted_(std::make_shared<Accepted>(std::move(accepted))) {
    arm();
  }
  ~UringListener() override {
    UringOperation* const operations[] = {&accept_};
    reactor_.abandon(operations);
    // Completed, and not yet handed out.
    if (accept_.result >= 0 && !accept_.handled) close(accept_.result);
    if (address_.host.starts_with('/')) unlink(address_.host.c_str());
  }
  Address address() const override { return address_; }

 private:
  struct Operation : UringOperation {
    explicit Operation(UringListener& the_listener)
        : UringOperation(&completed), listener(the_listener) {}
    UringListener& listener;
    bool handled = true;
  };

  void arm() {
    io_uring_sqe* sqe = reactor_.entry();
    peer_.size = sizeof(sockaddr_un);
    accept_.result = -EAGAIN;
    accept_.handled = false;
    io_uring_prep_accept(sqe, fd_.get(), &peer_.any, &peer_.size, SOCK_CLOEXEC);
    reactor_.started(sqe, accept_);
  }
  static void completed(UringOperation& operation);

  UringReactor& reactor_;
  Log& log_;
  OwnedFd fd_;
  Address address_;
  Operation accept_;
  SocketAddress peer_{};
  Timer pause_;
  std::shared_ptr<Accepted> accepted_;  // outlives a listener that is destroyed inside it
};

void UringListener::completed(UringOperation& operation) {
  UringListener& self = static_cast<Operation&>(operation).listener;
  static_cast<Operation&>(operation).handled = true;
  const int result = operation.result;
  if (result < 0) {
    const bool passing = result == -EINTR || result == -EAGAIN || result == -ECONNABORTED;
    if (passing) return self.arm();
    // Out of descriptors or memory: connections wait in the backlog until there are some again.
    constexpr auto pause = std::chrono::milliseconds(100);
    self.log_.warning("cannot accept, trying again",
                      {{"address", self.address_.text()}, {"why", std::strerror(-result)}});
    return self.pause_.arm(pause, [&self] { self.arm(); });
  }
  Address peer = self.address_.host.starts_with('/') ? self.address_ : from_system(self.peer_);
  auto socket = std::make_unique<UringSocket>(self.reactor_, OwnedFd(result), std::move(peer));
  const auto accepted = self.accepted_;
  self.arm();
  (*accepted)(std::move(socket));
}

class UringAttempt final : public Net::Attempt {
 public:
  using Done = Callback<void(Result<std::unique_ptr<Socket>>)>;
  UringAttempt(UringReactor& reactor, Address address, Done done)
      : reactor_(reactor),
        address_(std::move(address)),
        connect_(*this),
        timer_(reactor),
        done_(std::move(done)) {}
  ~UringAttempt() override {
    UringOperation* const operations[] = {&connect_};
    reactor_.abandon(operations);
  }

  void start(Duration timeout) {
    auto target = to_system(address_);
    if (!target.ok()) return fail_later(std::move(target).error());
    target_ = *target;
    fd_ = OwnedFd(socket(target_.any.sa_family, SOCK_STREAM | SOCK_CLOEXEC, 0));
    if (fd_.get() < 0)
      return fail_later({Code::io, address_.text() + ": no socket: " + std::strerror(errno)});
    io_uring_sqe* sqe = reactor_.entry();
    io_uring_prep_connect(sqe, fd_.get(), &target_.any, target_.size);
    reactor_.started(sqe, connect_);
    timer_.arm(timeout, [this] {
      done_.call_once(Error(Code::timed_out, address_.text() + ": connecting timed out"));
    });
  }

 private:
  struct Operation : UringOperation {
    explicit Operation(UringAttempt& the_attempt)
        : UringOperation(&completed), attempt(the_attempt) {}
    UringAttempt& attempt;
  };
  void fail_later(Error error) {
    early_error_ = std::make_unique<Error>(std::move(error));
    reactor_.complete_later(connect_, -EINVAL);
  }
  static void completed(UringOperation& operation) {
    UringAttempt& self = static_cast<Operation&>(operation).attempt;
    self.timer_.cancel();
    if (!self.done_) return;  // timed out before
    self.done_.call_once(self.outcome(operation.result));
  }
  Result<std::unique_ptr<Socket>> outcome(int result) {
    if (early_error_) return std::move(*early_error_);
    if (result == 0) {
      return std::unique_ptr<Socket>(
          std::make_unique<UringSocket>(reactor_, std::move(fd_), address_));
    }
    const std::string why = address_.text() + ": " + std::strerror(-result);
    switch (-result) {
      case ECONNREFUSED:
      case ECONNRESET:
      case ENETUNREACH:
      case EHOSTUNREACH:
      case ENETDOWN:
      case EHOSTDOWN:
      case ENOENT:  // no such unix socket
      case EAGAIN: return Error(Code::unreachable, why);
      case ETIMEDOUT: return Error(Code::timed_out, why);
      case EACCES:
      case EPERM: return Error(Code::not_authorised, why);
      default: return Error(Code::io, why);
    }
  }

  UringReactor& reactor_;
  Address address_;
  SocketAddress target_{};
  OwnedFd fd_;
  Operation connect_;
  Timer timer_;
  std::unique_ptr<Error> early_error_;
  Done done_;
};

// A socket file whose listener is dead stands in the way of its successor. A living one sees a
// connection that ends at once.
void remove_stale(const SocketAddress& address) {
  const OwnedFd fd(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (fd.get() < 0) return;
  const bool dead = connect(fd.get(), &address.any, address.size) != 0 && errno == ECONNREFUSED;
  if (dead) unlink(address.path.sun_path);
}

}  // namespace

Result<std::unique_ptr<Listener>> UringNet::listen(
    const Address& address, Callback<void(std::unique_ptr<Socket>)> accepted) {
  SP_TRY(SocketAddress bound, to_system(address));
  const bool is_unix = bound.any.sa_family == AF_UNIX;
  OwnedFd fd(socket(bound.any.sa_family, SOCK_STREAM | SOCK_CLOEXEC, 0));
  const auto failed = [&](std::string_view what) {
    const int number = errno;
    Code code = Code::io;
    if (number == EADDRINUSE)
      code = Code::exists;
    else if (number == EADDRNOTAVAIL || number == ENOENT || number == ENOTDIR)
      code = Code::invalid;
    else if (number == EACCES || number == EPERM)
      code = Code::not_authorised;
    return Error(code, fmt::format("{}: {}: {}", address.text(), what, std::strerror(number)));
  };
  if (fd.get() < 0) return failed("socket");
  if (!is_unix) set_option(fd.get(), SOL_SOCKET, SO_REUSEADDR, 1);
  int result = bind(fd.get(), &bound.any, bound.size);
  if (result != 0 && errno == EADDRINUSE && is_unix) {
    remove_stale(bound);
    result = bind(fd.get(), &bound.any, bound.size);
  }
  if (result != 0) return failed("bind");
  constexpr int backlog = 1024;
  if (::listen(fd.get(), backlog) != 0) return failed("listen");
  Address actual = address;
  if (!is_unix) {
    if (getsockname(fd.get(), &bound.any, &bound.size) != 0) return failed("getsockname");
    actual = from_system(bound);
  }
  return std::unique_ptr<Listener>(std::make_unique<UringListener>(
      reactor_, log_, std::move(fd), std::move(actual), std::move(accepted)));
}

std::unique_ptr<Net::Attempt> UringNet::connect(
    const Address& address, Duration timeout,
    Callback<void(Result<std::unique_ptr<Socket>>)> done) {
  auto attempt = std::make_unique<UringAttempt>(reactor_, address, std::move(done));
  attempt->start(timeout);
  return attempt;
}

}  // namespace sp::io
