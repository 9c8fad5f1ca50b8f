// skeleton_bench: what three copies must cost at the least. The same processes, connections and
// bytes as a cluster of three servers and a client, with CRC-64 and one copy into memory, over
// plain epoll and TCP on loopback, and nothing else: no versions, no durability, no failures.
//
//   skeleton_bench read|write [DEPTH [BLOCK [SECONDS]]]
//
// Prints one tab-separated line: operation, depth, block bytes, operations a second, median and
// 99th percentile latency in us, CPU us an operation of the client and of the servers together.
#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <map>
#include <memory>
#include <vector>

#include "base/checksum.h"
#include "bench/histogram.h"

namespace {

constexpr size_t server_count = 3;
constexpr size_t memory_bytes = 64u << 20;

enum class Kind : uint32_t { write, copy, copied, written, read, content };
struct Header {
  Kind kind{};
  uint32_t data_bytes = 0;
  uint64_t number = 0, offset = 0, crc = 0;
  char rest[24] = {};  // about as long as the heads of real requests
};
static_assert(sizeof(Header) == 56);

[[noreturn]] void die(const char* what) {
  std::perror(what);
  std::_Exit(1);
}

int64_t now_ns() {
  timespec t{};
  clock_gettime(CLOCK_MONOTONIC, &t);
  return t.tv_sec * 1'000'000'000LL + t.tv_nsec;
}

double cpu_us(int who) {
  rusage usage{};
  getrusage(who, &usage);
  const auto us = [](const timeval& t) {
    return static_cast<double>(t.tv_sec) * 1e6 + static_cast<double>(t.tv_usec);
  };
  return us(usage.ru_utime) + us(usage.ru_stime);
}

// One connection: what came in and was not understood yet, what has to go out.
class Peer {
 public:
  explicit Peer(int fd) : fd_(fd), in_(1u << 20) {
    const int one = 1;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    fcntl(fd, F_SETFL, O_NONBLOCK);
  }
  int fd() const { return fd_; }

  void put(const Header& header, const std::byte* data) {
    const auto* bytes = reinterpret_cast<const std::byte*>(&header);
    out_.insert(out_.end(), bytes, bytes + sizeof header);
    if (header.data_bytes > 0) out_.insert(out_.end(), data, data + header.data_bytes);
  }
  void flush() {
    while (sent_ < out_.size()) {
      const ssize_t n = send(fd_, out_.data() + sent_, out_.size() - sent_, MSG_NOSIGNAL);
      if (n < 0 && errno == EAGAIN) return;
      if (n <= 0) std::_Exit(0);
      sent_ += static_cast<size_t>(n);
    }
    out_.clear();
    sent_ = 0;
  }
  bool blocked() const { return !out_.empty(); }

  // Calls `handle(header, data)` for each whole message that is here.
  template <class F>
  void receive(F handle) {
    const ssize_t n = recv(fd_, in_.data() + filled_, in_.size() - filled_, 0);
    if (n < 0 && errno == EAGAIN) return;
    if (n <= 0) std::_Exit(0);
    filled_ += static_cast<size_t>(n);
    size_t at = 0;
    while (filled_ - at >= sizeof(Header)) {
      Header header;
      std::memcpy(&header, in_.data() + at, sizeof header);
      const size_t whole = sizeof header + header.data_bytes;
      if (whole > in_.size() - at && at == 0) in_.resize(whole * 2);
      if (filled_ - at < whole) break;
      handle(header, in_.data() + at + sizeof header);
      at += whole;
    }
    std::memmove(in_.data(), in_.data() + at, filled_ - at);
    filled_ -= at;
    if (in_.size() - filled_ < (64u << 10)) in_.resize(in_.size() * 2);
  }

 private:
  int fd_;
  std::vector<std::byte> in_, out_;
  size_t filled_ = 0, sent_ = 0;
};

class Poll {
 public:
  Poll() : fd_(epoll_create1(0)) {}
  void add(Peer& peer) {
    epoll_event event{};
    event.events = EPOLLIN;
    event.data.ptr = &peer;
    if (epoll_ctl(fd_, EPOLL_CTL_ADD, peer.fd(), &event) != 0) die("epoll_ctl");
  }
  template <class F>
  void wait(bool sleep, F ready) {
    epoll_event events[16];
    const int count = epoll_wait(fd_, events, 16, sleep ? 1000 : 0);
    for (int i = 0; i < count; ++i) ready(*static_cast<Peer*>(events[i].data.ptr));
  }

 private:
  int fd_;
};

// Peers: [0] the client, [1..] the other servers.
class Server {
 public:
  explicit Server(const std::vector<int>& fds) : memory_(memory_bytes) {
    for (const int fd : fds) peers_.push_back(std::make_unique<Peer>(fd));
    for (auto& peer : peers_) poll_.add(*peer);
  }

  [[noreturn]] void run() {
    for (;;) {
      const bool blocked = std::any_of(peers_.begin(), peers_.end(),
                                       [](const auto& peer) { return peer->blocked(); });
      poll_.wait(!blocked, [this](Peer& from) {
        from.receive([&](const Header& h, const std::byte* data) { handle(from, h, data); });
      });
      for (auto& peer : peers_) peer->flush();
    }
  }

 private:
  struct Open {
    Header answer;
    size_t missing = 0;
  };

  void store(const Header& h, const std::byte* data) {
    if (sp::crc64({data, h.data_bytes}) != h.crc) std::_Exit(3);
    std::memcpy(memory_.data() + h.offset % (memory_bytes - h.data_bytes), data, h.data_bytes);
  }

  void handle(Peer& from, const Header& h, const std::byte* data) {
    Header answer = h;
    answer.data_bytes = 0;
    switch (h.kind) {
      case Kind::write: {
        Header copy = h;
        copy.kind = Kind::copy;
        for (size_t i = 1; i < peers_.size(); ++i) peers_[i]->put(copy, data);
        store(h, data);
        answer.kind = Kind::written;
        open_[h.number] = {answer, peers_.size() - 1};
        return;
      }
      case Kind::copy:
        store(h, data);
        answer.kind = Kind::copied;
        return from.put(answer, nullptr);
      case Kind::copied: {
        const auto found = open_.find(h.number);
        if (--found->second.missing > 0) return;
        peers_[0]->put(found->second.answer, nullptr);
        open_.erase(found);
        return;
      }
      case Kind::read: {
        const std::byte* content = memory_.data() + h.offset % (memory_bytes - h.crc);
        answer.kind = Kind::content;
        answer.data_bytes = static_cast<uint32_t>(h.crc);  // a read carries its size there
        answer.crc = sp::crc64({content, answer.data_bytes});
        return from.put(answer, content);
      }
      default: std::_Exit(4);
    }
  }

  std::vector<std::byte> memory_;
  std::vector<std::unique_ptr<Peer>> peers_;
  std::map<uint64_t, Open> open_;
  Poll poll_;
};

struct Load {
  bool write = true;
  uint32_t depth = 32, block = 4096;
  int seconds = 4;
};

class Client {
 public:
  Client(const std::vector<int>& fds, const Load& load) : load_(load), data_(load.block) {
    for (size_t i = 0; i < data_.size(); ++i) data_[i] = static_cast<std::byte>(i * 7);
    for (const int fd : fds) peers_.push_back(std::make_unique<Peer>(fd));
    for (auto& peer : peers_) poll_.add(*peer);
    started_.resize(load.depth);
  }

  void run() {
    const int64_t begin = now_ns();
    end_ = begin + load_.seconds * 1'000'000'000LL;
    for (uint32_t slot = 0; slot < load_.depth; ++slot) issue(slot);
    while (open_ > 0) {
      bool blocked = false;
      for (auto& peer : peers_) {
        peer->flush();
        blocked = blocked || peer->blocked();
      }
      poll_.wait(!blocked, [this](Peer& from) {
        from.receive([&](const Header& h, const std::byte* data) { answered(h, data); });
      });
    }
    seconds_ = static_cast<double>(now_ns() - begin) / 1e9;
  }

  const sp::bench::Histogram& latency() const { return latency_; }
  double seconds() const { return seconds_; }

 private:
  void issue(uint32_t slot) {
    started_[slot] = now_ns();
    Header h;
    h.number = slot;
    h.offset = sp::mix64(++count_) / 4096 * 4096;
    if (load_.write) {
      h.kind = Kind::write;
      h.data_bytes = load_.block;
      std::memcpy(data_.data(), &h.offset, sizeof h.offset);
      h.crc = sp::crc64(data_);
    } else {
      h.kind = Kind::read;
      h.crc = load_.block;
    }
    peers_[count_ % peers_.size()]->put(h, data_.data());
    ++open_;
  }

  void answered(const Header& h, const std::byte* data) {
    if (h.kind == Kind::content && sp::crc64({data, h.data_bytes}) != h.crc) std::_Exit(5);
    --open_;
    const int64_t now = now_ns();
    latency_.add(now - started_[h.number]);
    if (now < end_) issue(static_cast<uint32_t>(h.number));
  }

  Load load_;
  std::vector<std::byte> data_;
  std::vector<std::unique_ptr<Peer>> peers_;
  std::vector<int64_t> started_;
  sp::bench::Histogram latency_;
  Poll poll_;
  uint64_t count_ = 0, open_ = 0;
  int64_t end_ = 0;
  double seconds_ = 0;
};

// A pair of connected TCP sockets on loopback.
std::pair<int, int> connected() {
  const int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  auto* raw = reinterpret_cast<sockaddr*>(&address);
  socklen_t size = sizeof address;
  if (bind(listener, raw, size) != 0 || listen(listener, 1) != 0) die("listen");
  getsockname(listener, raw, &size);
  const int to = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (connect(to, raw, size) != 0) die("connect");
  const int from = accept(listener, nullptr, nullptr);
  if (from < 0) die("accept");
  close(listener);
  return {to, from};
}

}  // namespace

int main(int argc, char** argv) {
  Load load;
  if (argc < 2)
    return std::fprintf(stderr, "skeleton_bench read|write [DEPTH [BLOCK [SECONDS]]]\n"), 2;
  load.write = std::strcmp(argv[1], "write") == 0;
  if (argc > 2) load.depth = static_cast<uint32_t>(std::atoi(argv[2]));
  if (argc > 3) load.block = static_cast<uint32_t>(std::atoi(argv[3]));
  if (argc > 4) load.seconds = std::atoi(argv[4]);

  std::vector<int> of_client;
  std::vector<std::vector<int>> of_server(server_count);
  for (size_t i = 0; i < server_count; ++i) {
    const auto [to, from] = connected();
    of_client.push_back(to);
    of_server[i].push_back(from);
  }
  // Each pair of servers has one connection for each direction of leading.
  for (size_t i = 0; i < server_count; ++i) {
    for (size_t k = i + 1; k < server_count; ++k) {
      const auto [a, b] = connected();
      of_server[i].push_back(a);
      of_server[k].push_back(b);
    }
  }
  std::vector<pid_t> children;
  for (size_t i = 0; i < server_count; ++i) {
    const pid_t child = fork();
    if (child < 0) die("fork");
    if (child == 0) {
      prctl(PR_SET_PDEATHSIG, SIGKILL);
      for (size_t k = 0; k < server_count; ++k) {
        close(of_client[k]);
        if (k == i) continue;
        for (const int fd : of_server[k]) close(fd);
      }
      Server(of_server[i]).run();
    }
    children.push_back(child);
  }
  for (const auto& fds : of_server) {
    for (const int fd : fds) close(fd);
  }
  const double before = cpu_us(RUSAGE_SELF);
  Client client(of_client, load);
  client.run();
  const double own = cpu_us(RUSAGE_SELF) - before;
  for (const int fd : of_client) shutdown(fd, SHUT_RDWR);
  for (const pid_t child : children) waitpid(child, nullptr, 0);
  const auto& latency = client.latency();
  const double count = static_cast<double>(std::max<uint64_t>(latency.count(), 1));
  std::printf("%s\t%u\t%u\t%.0f\t%.1f\t%.1f\t%.2f\t%.2f\n", load.write ? "write" : "read",
              load.depth, load.block, count / client.seconds(),
              static_cast<double>(latency.percentile(0.5)) / 1e3,
              static_cast<double>(latency.percentile(0.99)) / 1e3, own / count,
              cpu_us(RUSAGE_CHILDREN) / count);
  return 0;
}
