// What both implementations of the seam must do alike. A Rig gives two hosts, runs their events,
// and names disks; sim_conformance_test.cc and real_conformance_test.cc run all of this with
// theirs.
#pragma once
#include <doctest/doctest.h>

#include <cstring>
#include <deque>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "base/buffer.h"
#include "base/checksum.h"
#include "io/host.h"

namespace sp::io::test {

using namespace std::chrono_literals;

class Rig {
 public:
  virtual ~Rig() = default;
  virtual Host& host(int index) = 0;  // 0 or 1
  virtual bool run_until(const std::function<bool()>& predicate) = 0;
  virtual std::string disk_path(const std::string& name) = 0;
  virtual std::string ip(int index) = 0;
  virtual std::string unix_path(const std::string& name) = 0;

  // Lets everything that is ready happen, on both hosts.
  void settle() {
    for (int index = 0; index < 2; ++index) {
      Timer timer(host(index).reactor);
      bool fired = false;
      timer.arm(20ms, [&] { fired = true; });
      REQUIRE(run_until([&] { return fired; }));
    }
  }
};

inline Buffer pattern(size_t size, uint64_t seed) {
  Buffer buffer = Buffer::allocate(size);
  for (size_t i = 0; i < size; i += 8) {
    const uint64_t word = mix64(seed + i);
    std::memcpy(buffer.data() + i, &word, std::min<size_t>(8, size - i));
  }
  return buffer;
}

inline bool same(Bytes a, Bytes b) {
  return a.size() == b.size() && std::memcmp(a.data(), b.data(), a.size()) == 0;
}

// Starts an operation with a completion that records, and runs until it came.
inline Status finish(Rig& rig, const std::function<void(DiskDone)>& start) {
  bool done = false;
  Status result;
  start([&](Status status) {
    done = true;
    result = std::move(status);
  });
  CHECK_FALSE(done);  // never inside the call
  REQUIRE(rig.run_until([&] { return done; }));
  return result;
}

inline std::unique_ptr<Disk> make_disk(Rig& rig, const std::string& name, uint64_t size) {
  auto disk = rig.host(0).disks.open(rig.disk_path(name), {OpenOptions::Mode::create, size});
  if (!disk.ok()) FAIL(disk.error().message());
  return std::move(disk).value();
}

inline Status read_all(Rig& rig, Disk& disk, uint64_t offset, const Buffer& into) {
  return finish(rig,
                [&](DiskDone done) { disk.read(offset, into.mutable_bytes(), std::move(done)); });
}
inline Status write_all(Rig& rig, Disk& disk, uint64_t offset, const Buffer& from) {
  return finish(rig, [&](DiskDone done) { disk.write(offset, from.bytes(), std::move(done)); });
}

// Two connected sockets: [0] of host 0, which connected, [1] of host 1, which accepted.
struct Pair {
  std::unique_ptr<Socket> socket[2];
};

inline Pair make_pair(Rig& rig, const Address& at) {
  Pair pair;
  auto listener = rig.host(1).net.listen(
      at, [&](std::unique_ptr<Socket> socket) { pair.socket[1] = std::move(socket); });
  if (!listener.ok()) FAIL(listener.error().message());
  auto attempt = rig.host(0).net.connect((*listener)->address(), 5s,
                                         [&](Result<std::unique_ptr<Socket>> socket) {
                                           if (!socket.ok()) FAIL(socket.error().message());
                                           pair.socket[0] = std::move(socket).value();
                                         });
  CHECK_FALSE(pair.socket[0]);
  REQUIRE(rig.run_until([&] { return pair.socket[0] && pair.socket[1]; }));
  return pair;
}
inline Pair make_pair(Rig& rig) { return make_pair(rig, {rig.ip(1), 0}); }

// Receives until `count` bytes are there or the stream ends.
class Receiver {
 public:
  Receiver(Socket& socket, size_t count) : socket_(socket), data_(count) { next(); }
  bool complete() const { return filled_ == data_.size(); }
  bool ended() const { return ended_; }
  const Status& status() const { return status_; }
  bool over() const { return complete() || ended_ || !status_.ok(); }
  Bytes data() const { return Bytes(data_).first(filled_); }

 private:
  void next() {
    socket_.receive(MutableBytes(data_).subspan(filled_), [this](Result<size_t> result) {
      if (!result.ok()) {
        status_ = std::move(result).error();
        return;
      }
      CHECK(*result <= data_.size() - filled_);
      filled_ += *result;
      ended_ = *result == 0;
      if (!over()) next();
    });
  }
  Socket& socket_;
  std::vector<std::byte> data_;
  size_t filled_ = 0;
  bool ended_ = false;
  Status status_;
};

TEST_CASE_TEMPLATE_DEFINE("posted work runs in a later turn, in order", R, conform_post) {
  R rig;
  Reactor& reactor = rig.host(0).reactor;
  std::vector<int> order;
  reactor.post([&] {
    order.push_back(1);
    reactor.post([&] { order.push_back(4); });
    order.push_back(2);
  });
  reactor.post([&] { order.push_back(3); });
  CHECK(order.empty());
  REQUIRE(rig.run_until([&] { return order.size() == 4; }));
  CHECK(order == std::vector<int>{1, 2, 3, 4});
}

TEST_CASE_TEMPLATE_DEFINE("work that comes last runs in a later turn, each once, in order", R,
                          conform_post_last) {
  R rig;
  Reactor& reactor = rig.host(0).reactor;
  std::vector<int> order;
  bool inside = true;
  reactor.post_last([&] {
    CHECK(!inside);
    order.push_back(1);
    reactor.post_last([&] { order.push_back(3); });
  });
  reactor.post_last([&] { order.push_back(2); });
  inside = false;
  REQUIRE(rig.run_until([&] { return order.size() == 3; }));
  bool over = false;
  reactor.post([&] { over = true; });
  REQUIRE(rig.run_until([&] { return over; }));
  CHECK(order == std::vector<int>{1, 2, 3});
}

TEST_CASE_TEMPLATE_DEFINE("timers fire in the order of their times and not too early", R,
                          conform_timer_order) {
  R rig;
  Host& host = rig.host(0);
  Timer late(host.reactor), early(host.reactor), at_once(host.reactor);
  std::vector<int> order;
  const Instant start = host.clock.now();
  late.arm(30ms, [&] {
    order.push_back(3);
    CHECK(host.clock.now() - start >= 30ms);
  });
  early.arm(10ms, [&] {
    order.push_back(2);
    CHECK(host.clock.now() - start >= 10ms);
    CHECK_FALSE(early.armed());
  });
  at_once.arm(0ms, [&] { order.push_back(1); });
  CHECK(order.empty());
  CHECK(late.armed());
  REQUIRE(rig.run_until([&] { return order.size() == 3; }));
  CHECK(order == std::vector<int>{1, 2, 3});
}

TEST_CASE_TEMPLATE_DEFINE("a timer that is cancelled, re-armed or destroyed does not fire", R,
                          conform_timer_cancel) {
  R rig;
  Reactor& reactor = rig.host(0).reactor;
  int fired = 0;
  Timer cancelled(reactor), moved(reactor);
  auto destroyed = std::make_unique<Timer>(reactor);
  cancelled.arm(5ms, [&] { fired += 100; });
  moved.arm(5ms, [&] { fired += 1000; });
  destroyed->arm(5ms, [&] { fired += 10000; });
  cancelled.cancel();
  moved.arm(8ms, [&] { fired += 1; });
  destroyed.reset();
  REQUIRE(rig.run_until([&] { return fired != 0; }));
  rig.settle();
  CHECK(fired == 1);
}

TEST_CASE_TEMPLATE_DEFINE("a timer may re-arm or destroy itself, or cancel another that is due", R,
                          conform_timer_self) {
  R rig;
  Reactor& reactor = rig.host(0).reactor;
  Timer again(reactor);
  int rounds = 0;
  std::function<void()> round = [&] {
    if (++rounds < 5) again.arm(1ms, [&] { round(); });
  };
  again.arm(1ms, [&] { round(); });
  auto self = std::make_unique<Timer>(reactor);
  self->arm(1ms, [&] { self.reset(); });
  Timer first(reactor), second(reactor);
  int wins = 0;
  first.arm(2ms, [&] {
    ++wins;
    second.cancel();
  });
  second.arm(2ms, [&] {
    ++wins;
    first.cancel();
  });
  REQUIRE(rig.run_until([&] { return rounds == 5 && self == nullptr; }));
  rig.settle();
  CHECK(rounds == 5);
  CHECK(wins == 1);
}

TEST_CASE_TEMPLATE_DEFINE("a disk returns what was written", R, conform_disk_read_back) {
  R rig;
  auto disk = make_disk(rig, "a", 8 << 20);
  CHECK(disk->size_bytes() == 8 << 20);
  CHECK((disk->alignment() == 512 || disk->alignment() == 4096));
  const Buffer small = pattern(4096, 1);
  const Buffer large = pattern(1 << 20, 2);
  CHECK(write_all(rig, *disk, 4096, small).ok());
  CHECK(write_all(rig, *disk, 1 << 20, large).ok());
  CHECK(finish(rig, [&](DiskDone done) { disk->flush(std::move(done)); }).ok());
  const Buffer small_back = Buffer::zeroed(4096);
  const Buffer large_back = Buffer::zeroed(1 << 20);
  CHECK(read_all(rig, *disk, 4096, small_back).ok());
  CHECK(read_all(rig, *disk, 1 << 20, large_back).ok());
  CHECK(same(small.bytes(), small_back.bytes()));
  CHECK(same(large.bytes(), large_back.bytes()));
}

TEST_CASE_TEMPLATE_DEFINE("many operations at once each do their part", R, conform_disk_many) {
  R rig;
  constexpr size_t count = 2000;
  auto disk = make_disk(rig, "a", count * 4096);
  std::vector<Buffer> buffers;
  size_t done = 0;
  for (size_t i = 0; i < count; ++i) {
    buffers.push_back(pattern(4096, i));
    disk->write(i * 4096, buffers[i].bytes(), [&](Status status) {
      CHECK(status.ok());
      ++done;
    });
  }
  REQUIRE(rig.run_until([&] { return done == count; }));
  std::vector<Buffer> back;
  for (size_t i = 0; i < count; ++i) {
    back.push_back(Buffer::zeroed(4096));
    disk->read(i * 4096, back[i].mutable_bytes(), [&](Status status) {
      CHECK(status.ok());
      --done;
    });
  }
  REQUIRE(rig.run_until([&] { return done == 0; }));
  bool all = true;
  for (size_t i = 0; i < count; ++i) all = all && same(buffers[i].bytes(), back[i].bytes());
  CHECK(all);
}

TEST_CASE_TEMPLATE_DEFINE("an operation beyond the end is an error and does nothing", R,
                          conform_disk_end) {
  R rig;
  auto disk = make_disk(rig, "a", 64 << 10);
  const Buffer data = pattern(8192, 1);
  CHECK(write_all(rig, *disk, (64 << 10) - 4096, data).error().code() == Code::invalid);
  CHECK(read_all(rig, *disk, 64 << 10, data).error().code() == Code::invalid);
  CHECK(write_all(rig, *disk, uint64_t{1} << 62, data).error().code() == Code::invalid);
  CHECK(finish(rig, [&](DiskDone done) { disk->discard(60 << 10, 8192, std::move(done)); })
            .error()
            .code() == Code::invalid);
  CHECK(disk->size_bytes() == 64 << 10);
  CHECK(write_all(rig, *disk, (64 << 10) - 8192, data).ok());
}

TEST_CASE_TEMPLATE_DEFINE("a discarded range can be written and read again", R,
                          conform_disk_discard) {
  R rig;
  auto disk = make_disk(rig, "a", 1 << 20);
  const Buffer kept = pattern(4096, 1);
  const Buffer later = pattern(4096, 2);
  CHECK(write_all(rig, *disk, 0, kept).ok());
  CHECK(write_all(rig, *disk, 64 << 10, kept).ok());
  CHECK(finish(rig, [&](DiskDone done) {
          disk->discard(64 << 10, 512 << 10, std::move(done));
        }).ok());
  CHECK(write_all(rig, *disk, 128 << 10, later).ok());
  const Buffer back = Buffer::zeroed(4096);
  CHECK(read_all(rig, *disk, 0, back).ok());
  CHECK(same(back.bytes(), kept.bytes()));
  CHECK(read_all(rig, *disk, 128 << 10, back).ok());
  CHECK(same(back.bytes(), later.bytes()));
  CHECK(read_all(rig, *disk, 64 << 10, back).ok());
}

TEST_CASE_TEMPLATE_DEFINE("content outlives its Disk, and create never takes what exists", R,
                          conform_disk_reopen) {
  R rig;
  const Buffer data = pattern(4096, 7);
  {
    auto disk = make_disk(rig, "a", 1 << 20);
    CHECK(write_all(rig, *disk, 8192, data).ok());
  }
  const std::string path = rig.disk_path("a");
  DiskOpener& disks = rig.host(0).disks;
  CHECK(disks.open(path, {OpenOptions::Mode::create, 1 << 20}).error().code() == Code::exists);
  auto again = disks.open(path, {OpenOptions::Mode::read_only});
  REQUIRE(again.ok());
  CHECK((*again)->size_bytes() == 1 << 20);
  const Buffer back = Buffer::zeroed(4096);
  CHECK(read_all(rig, **again, 8192, back).ok());
  CHECK(same(back.bytes(), data.bytes()));
  CHECK(write_all(rig, **again, 0, data).error().code() == Code::refused);
  CHECK(disks.open(rig.disk_path("nowhere"), {}).error().code() == Code::not_found);
  CHECK(disks.open(rig.disk_path("b"), {OpenOptions::Mode::create, 0}).error().code() ==
        Code::invalid);
}

TEST_CASE_TEMPLATE_DEFINE("only one may hold a disk exclusively", R, conform_disk_exclusive) {
  R rig;
  auto disk = make_disk(rig, "a", 1 << 20);
  const std::string path = rig.disk_path("a");
  CHECK(rig.host(0).disks.open(path, {}).error().code() == Code::refused);
  CHECK(rig.host(1).disks.open(path, {OpenOptions::Mode::read_only}).error().code() ==
        Code::refused);
  disk.reset();
  CHECK(rig.host(1).disks.open(path, {}).ok());
}

TEST_CASE_TEMPLATE_DEFINE(
    "a Disk destroyed with operations in flight drops them and leaves the memory alone", R,
    conform_disk_destroy) {
  R rig;
  auto disk = make_disk(rig, "a", 16 << 20);
  int calls = 0;
  {
    std::vector<std::unique_ptr<Buffer>> buffers;
    for (int i = 0; i < 600; ++i) {
      buffers.push_back(std::make_unique<Buffer>(pattern(16384, i)));
      const uint64_t offset = static_cast<uint64_t>(i) * 16384;
      if (i % 3 == 0)
        disk->read(offset, buffers.back()->mutable_bytes(), [&](Status) { ++calls; });
      else
        disk->write(offset, buffers.back()->bytes(), [&](Status) { ++calls; });
    }
    disk->flush([&](Status) { ++calls; });
    disk.reset();
  }
  rig.settle();
  CHECK(calls == 0);
  // From within a completion, with others in flight.
  auto again = rig.host(0).disks.open(rig.disk_path("a"), {});
  REQUIRE(again.ok());
  disk = std::move(again).value();
  const Buffer one = pattern(4096, 1);
  for (int i = 0; i < 20; ++i) {
    disk->write(0, one.bytes(), [&](Status) {
      ++calls;
      disk.reset();
    });
  }
  REQUIRE(rig.run_until([&] { return calls > 0; }));
  rig.settle();
  CHECK(calls == 1);
}

TEST_CASE_TEMPLATE_DEFINE("two hosts talk over a stream, both ways", R, conform_net_talk) {
  R rig;
  Pair pair = make_pair(rig);
  CHECK(pair.socket[0]->peer().host == rig.ip(1));
  CHECK(pair.socket[1]->peer().host == rig.ip(0));
  const Buffer there = pattern(100, 1);
  const Buffer back = pattern(5000, 2);
  Receiver at_one(*pair.socket[1], 100);
  Receiver at_zero(*pair.socket[0], 5000);
  int sent = 0;
  const Bytes parts[] = {there.bytes().first(1), {}, there.bytes().subspan(1)};
  pair.socket[0]->send(parts, [&](Status status) { sent += status.ok(); });
  const Bytes whole[] = {back.bytes()};
  pair.socket[1]->send(whole, [&](Status status) { sent += status.ok(); });
  CHECK(sent == 0);
  REQUIRE(rig.run_until([&] { return at_one.over() && at_zero.over() && sent == 2; }));
  CHECK(same(at_one.data(), there.bytes()));
  CHECK(same(at_zero.data(), back.bytes()));
}

TEST_CASE_TEMPLATE_DEFINE("one send takes thousands of parts", R, conform_net_parts) {
  R rig;
  Pair pair = make_pair(rig);
  const Buffer data = pattern(30'000, 5);
  Receiver receiver(*pair.socket[1], data.size());
  bool sent = false;
  {
    std::vector<Bytes> parts;  // the array itself may go at once
    for (size_t at = 0; at < data.size(); at += 10) parts.push_back(data.bytes().subspan(at, 10));
    pair.socket[0]->send(parts, [&](Status status) { sent = status.ok(); });
  }
  REQUIRE(rig.run_until([&] { return receiver.over() && sent; }));
  CHECK(same(receiver.data(), data.bytes()));
}

TEST_CASE_TEMPLATE_DEFINE("unix sockets work like others, and their path can be used again", R,
                          conform_net_unix) {
  R rig;
  const std::string path = rig.unix_path("s");
  for (int round = 0; round < 2; ++round) {
    std::unique_ptr<Socket> accepted;
    std::unique_ptr<Socket> connected;
    auto listener = rig.host(0).net.listen(
        {path, 0}, [&](std::unique_ptr<Socket> socket) { accepted = std::move(socket); });
    REQUIRE(listener.ok());
    CHECK((*listener)->address().text() == path);
    auto attempt =
        rig.host(0).net.connect({path, 0}, 5s, [&](Result<std::unique_ptr<Socket>> socket) {
          REQUIRE(socket.ok());
          connected = std::move(socket).value();
        });
    REQUIRE(rig.run_until([&] { return accepted && connected; }));
    const Buffer data = pattern(4096, 3);
    Receiver receiver(*accepted, 4096);
    const Bytes parts[] = {data.bytes()};
    bool sent = false;
    connected->send(parts, [&](Status status) { sent = status.ok(); });
    REQUIRE(rig.run_until([&] { return receiver.over() && sent; }));
    CHECK(same(receiver.data(), data.bytes()));
    // Last: to find out whether a socket file is stale an implementation may connect to it.
    CHECK(rig.host(0).net.listen({path, 0}, [](std::unique_ptr<Socket>) {}).error().code() ==
          Code::exists);
  }
  std::unique_ptr<Net::Attempt> attempt;
  Code code = Code::failed;
  attempt = rig.host(0).net.connect(
      {path, 0}, 5s, [&](Result<std::unique_ptr<Socket>> socket) { code = socket.error().code(); });
  REQUIRE(rig.run_until([&] { return code != Code::failed; }));
  CHECK(code == Code::unreachable);
}

TEST_CASE_TEMPLATE_DEFINE("large streams both ways at once arrive whole", R, conform_net_large) {
  R rig;
  Pair pair = make_pair(rig);
  constexpr size_t size = 24 << 20;
  constexpr size_t piece = 1 << 20;
  std::vector<std::byte> data(size);
  for (size_t i = 0; i < size; i += piece)
    std::memcpy(data.data() + i, pattern(piece, i).data(), piece);
  struct Sender {
    Socket* socket;
    Bytes rest;
    int failed = 0;
    void next() {
      if (rest.empty()) return;
      const Bytes parts[] = {rest.first(1000), rest.subspan(1000, 4096),
                             rest.subspan(5096, piece - 5096)};
      rest = rest.subspan(piece);
      socket->send(parts, [this](Status status) {
        failed += !status.ok();
        next();
      });
    }
  };
  Sender senders[2] = {{pair.socket[0].get(), data}, {pair.socket[1].get(), data}};
  Receiver receivers[2] = {{*pair.socket[0], size}, {*pair.socket[1], size}};
  for (Sender& sender : senders) sender.next();
  REQUIRE(rig.run_until([&] { return receivers[0].over() && receivers[1].over(); }));
  CHECK(same(receivers[0].data(), data));
  CHECK(same(receivers[1].data(), data));
  CHECK(senders[0].failed + senders[1].failed == 0);
}

TEST_CASE_TEMPLATE_DEFINE("a send waits for a reader that does not read, and goes on when it does",
                          R, conform_net_pressure) {
  R rig;
  Pair pair = make_pair(rig);
  const std::vector<std::byte> data(32 << 20, std::byte{7});
  bool sent = false;
  const Bytes parts[] = {data};
  pair.socket[0]->send(parts, [&](Status status) { sent = status.ok(); });
  rig.settle();
  CHECK_FALSE(sent);
  Receiver receiver(*pair.socket[1], data.size());
  REQUIRE(rig.run_until([&] { return receiver.over() && sent; }));
  CHECK(same(receiver.data(), data));
}

TEST_CASE_TEMPLATE_DEFINE(
    "a closed stream ends in order for its peer, who learns of it when sending, too", R,
    conform_net_close) {
  R rig;
  Pair pair = make_pair(rig);
  const Buffer data = pattern(4096, 3);
  const Bytes parts[] = {data.bytes()};
  bool sent = false;
  pair.socket[0]->send(parts, [&](Status status) { sent = status.ok(); });
  REQUIRE(rig.run_until([&] { return sent; }));
  pair.socket[0].reset();
  Receiver receiver(*pair.socket[1], 8192);
  REQUIRE(rig.run_until([&] { return receiver.over(); }));
  CHECK(receiver.ended());
  CHECK(same(receiver.data(), data.bytes()));
  Status status;
  std::function<void()> send = [&] {
    pair.socket[1]->send(parts, [&](Status result) {
      status = std::move(result);
      if (status.ok()) send();
    });
  };
  send();
  REQUIRE(rig.run_until([&] { return !status.ok(); }));
  CHECK(status.error().code() == Code::closed);
}

TEST_CASE_TEMPLATE_DEFINE(
    "a socket destroyed with operations in flight drops them; its peer is told", R,
    conform_net_destroy) {
  R rig;
  Pair pair = make_pair(rig);
  int calls = 0;
  {
    auto data = std::make_unique<std::vector<std::byte>>(32 << 20);
    auto into = std::make_unique<std::vector<std::byte>>(4096);
    const Bytes parts[] = {*data};
    pair.socket[0]->send(parts, [&](Status) { ++calls; });
    pair.socket[0]->receive(*into, [&](Result<size_t>) { ++calls; });
    rig.settle();
    pair.socket[0].reset();
  }
  Receiver receiver(*pair.socket[1], 64 << 20);
  REQUIRE(rig.run_until([&] { return receiver.over(); }));
  CHECK_FALSE(receiver.complete());
  CHECK(calls == 0);
  // From within its own completion.
  Pair second = make_pair(rig);
  std::byte one[8] = {};
  second.socket[0]->receive(one, [&](Result<size_t>) {
    ++calls;
    second.socket[0].reset();
  });
  second.socket[1].reset();
  REQUIRE(rig.run_until([&] { return calls == 1; }));
  rig.settle();
  CHECK(calls == 1);
}

TEST_CASE_TEMPLATE_DEFINE("connecting where nobody listens is refused", R, conform_net_refused) {
  R rig;
  Address address{rig.ip(1), 0};
  {
    auto listener = rig.host(1).net.listen(address, [](std::unique_ptr<Socket>) {});
    REQUIRE(listener.ok());
    address = (*listener)->address();
    CHECK(address.port != 0);
    CHECK(rig.host(1).net.listen(address, [](std::unique_ptr<Socket>) {}).error().code() ==
          Code::exists);
  }
  Code code = Code::failed;
  auto attempt = rig.host(0).net.connect(address, 5s, [&](Result<std::unique_ptr<Socket>> socket) {
    REQUIRE_FALSE(socket.ok());
    code = socket.error().code();
  });
  REQUIRE(rig.run_until([&] { return code != Code::failed; }));
  CHECK(code == Code::unreachable);
}

TEST_CASE_TEMPLATE_DEFINE("a destroyed attempt or listener never calls back", R,
                          conform_net_cancel) {
  R rig;
  int calls = 0;
  auto listener =
      rig.host(1).net.listen({rig.ip(1), 0}, [&](std::unique_ptr<Socket>) { calls += 100; });
  REQUIRE(listener.ok());
  auto attempt = rig.host(0).net.connect((*listener)->address(), 5s,
                                         [&](Result<std::unique_ptr<Socket>>) { ++calls; });
  attempt.reset();
  std::move(listener).value().reset();
  rig.settle();
  CHECK(calls == 0);
}

TEST_CASE_TEMPLATE_DEFINE("an attempt or a listener may be destroyed in its own callback", R,
                          conform_net_self) {
  R rig;
  std::unique_ptr<Listener> listener;
  std::unique_ptr<Net::Attempt> attempt;
  int calls = 0;
  auto made = rig.host(1).net.listen({rig.ip(1), 0}, [&](std::unique_ptr<Socket>) {
    ++calls;
    listener.reset();
  });
  REQUIRE(made.ok());
  listener = std::move(made).value();
  attempt = rig.host(0).net.connect(listener->address(), 5s, [&](Result<std::unique_ptr<Socket>>) {
    ++calls;
    attempt.reset();
  });
  REQUIRE(rig.run_until([&] { return calls == 2; }));
  CHECK(listener == nullptr);
  CHECK(attempt == nullptr);
}

TEST_CASE_TEMPLATE_DEFINE("many connections at once keep their streams apart", R,
                          conform_net_many) {
  R rig;
  constexpr size_t count = 200;
  struct Echo {
    std::unique_ptr<Socket> socket;
    std::byte memory[64];
    void next() {
      socket->receive(memory, [this](Result<size_t> size) {
        if (!size.ok() || *size == 0) return;
        const Bytes parts[] = {Bytes(memory).first(*size)};
        socket->send(parts, [this](Status status) {
          if (status.ok()) next();
        });
      });
    }
  };
  std::deque<Echo> echoes;
  auto listener = rig.host(1).net.listen({rig.ip(1), 0}, [&](std::unique_ptr<Socket> socket) {
    echoes.emplace_back().socket = std::move(socket);
    echoes.back().next();
  });
  REQUIRE(listener.ok());
  struct Caller {
    std::unique_ptr<Net::Attempt> attempt;
    std::unique_ptr<Socket> socket;
    std::unique_ptr<Receiver> receiver;
    Buffer data;
  };
  std::deque<Caller> callers;
  for (size_t i = 0; i < count; ++i) {
    Caller& caller = callers.emplace_back();
    caller.data = pattern(1000, i);
    caller.attempt = rig.host(0).net.connect(
        (*listener)->address(), 5s, [&caller](Result<std::unique_ptr<Socket>> socket) {
          REQUIRE(socket.ok());
          caller.socket = std::move(socket).value();
          const Bytes parts[] = {caller.data.bytes()};
          caller.socket->send(parts, [](Status status) { CHECK(status.ok()); });
          caller.receiver = std::make_unique<Receiver>(*caller.socket, 1000);
        });
  }
  REQUIRE(rig.run_until([&] {
    for (const Caller& caller : callers) {
      if (!caller.receiver || !caller.receiver->over()) return false;
    }
    return true;
  }));
  bool all = true;
  for (const Caller& caller : callers)
    all = all && same(caller.receiver->data(), caller.data.bytes());
  CHECK(all);
  CHECK(echoes.size() == count);
}

}  // namespace sp::io::test

#define SP_CONFORMANCE(RIG)                             \
  TEST_CASE_TEMPLATE_INVOKE(conform_post, RIG);         \
  TEST_CASE_TEMPLATE_INVOKE(conform_post_last, RIG);    \
  TEST_CASE_TEMPLATE_INVOKE(conform_timer_order, RIG);  \
  TEST_CASE_TEMPLATE_INVOKE(conform_timer_cancel, RIG); \
  TEST_CASE_TEMPLATE_INVOKE(conform_timer_self, RIG);   \
  SP_DISK_CONFORMANCE(RIG);                             \
  TEST_CASE_TEMPLATE_INVOKE(conform_net_talk, RIG);     \
  TEST_CASE_TEMPLATE_INVOKE(conform_net_parts, RIG);    \
  TEST_CASE_TEMPLATE_INVOKE(conform_net_unix, RIG);     \
  TEST_CASE_TEMPLATE_INVOKE(conform_net_large, RIG);    \
  TEST_CASE_TEMPLATE_INVOKE(conform_net_pressure, RIG); \
  TEST_CASE_TEMPLATE_INVOKE(conform_net_close, RIG);    \
  TEST_CASE_TEMPLATE_INVOKE(conform_net_destroy, RIG);  \
  TEST_CASE_TEMPLATE_INVOKE(conform_net_refused, RIG);  \
  TEST_CASE_TEMPLATE_INVOKE(conform_net_cancel, RIG);   \
  TEST_CASE_TEMPLATE_INVOKE(conform_net_self, RIG);     \
  TEST_CASE_TEMPLATE_INVOKE(conform_net_many, RIG)

#define SP_DISK_CONFORMANCE(...)                                  \
  TEST_CASE_TEMPLATE_INVOKE(conform_disk_read_back, __VA_ARGS__); \
  TEST_CASE_TEMPLATE_INVOKE(conform_disk_many, __VA_ARGS__);      \
  TEST_CASE_TEMPLATE_INVOKE(conform_disk_end, __VA_ARGS__);       \
  TEST_CASE_TEMPLATE_INVOKE(conform_disk_discard, __VA_ARGS__);   \
  TEST_CASE_TEMPLATE_INVOKE(conform_disk_reopen, __VA_ARGS__);    \
  TEST_CASE_TEMPLATE_INVOKE(conform_disk_exclusive, __VA_ARGS__); \
  TEST_CASE_TEMPLATE_INVOKE(conform_disk_destroy, __VA_ARGS__)
