// io_bench: what the io seam costs: loopback round trips, disk operations, simulator events. Times
// are medians of rounds; CPU is that of the process (its I/O workers included). Usage: io_bench
// [DIRECTORY-ON-A-REAL-FILE-SYSTEM], or io_bench --loopback for one tab-separated line: a 4 KiB
// round trip in us, blocking and polling 50 us. The raw rows use liburing alone, as the floor to
// compare with.
#include <fcntl.h>
#include <liburing.h>
#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <thread>

#include "base/buffer.h"
#include "base/checksum.h"
#include "io/real_host.h"
#include "io/sim_world.h"

namespace {

using namespace sp;
using namespace sp::io;
using namespace std::chrono_literals;

double wall_us() {
  timespec time{};
  clock_gettime(CLOCK_MONOTONIC, &time);
  return static_cast<double>(time.tv_sec) * 1e6 + static_cast<double>(time.tv_nsec) / 1e3;
}
double cpu_us() {
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  const auto us = [](const timeval& t) {
    return static_cast<double>(t.tv_sec) * 1e6 + static_cast<double>(t.tv_usec);
  };
  return us(usage.ru_utime) + us(usage.ru_stime);
}

void print_row(const char* what, uint64_t count, double wall, double cpu) {
  const auto n = static_cast<double>(count);
  std::printf("%-46s %9.2f us  %9.2f us CPU  %10.0f /s\n", what, wall / n, cpu / n, n / wall * 1e6);
}

// Runs `round` (which does `count` operations) a few times, prints the median, and gives the us of
// one.
template <class Round>
double measure(const char* what, uint64_t count, Round&& round) {
  constexpr int rounds = 5;
  std::vector<std::pair<double, double>> times;
  for (int i = 0; i < rounds; ++i) {
    const double wall = wall_us(), cpu = cpu_us();
    round();
    times.emplace_back(wall_us() - wall, cpu_us() - cpu);
  }
  std::sort(times.begin(), times.end());
  if (what != nullptr) print_row(what, count, times[rounds / 2].first, times[rounds / 2].second);
  return times[rounds / 2].first / static_cast<double>(count);
}

std::unique_ptr<RealHost> make_host(Duration spin = 0us) {
  auto host = RealHost::create({.log_least = LogLevel::error, .spin = spin});
  if (!host.ok()) {
    std::fprintf(stderr, "%s\n", host.error().message().c_str());
    std::exit(1);
  }
  return std::move(host).value();
}

// Receives a message and sends it back, for ever; or receives so many and answers the last.
struct Echo {
  explicit Echo(size_t bytes = 4096, uint64_t of = 1) : memory(Buffer::zeroed(bytes)), each(of) {}
  std::unique_ptr<Socket> socket{};
  Buffer memory;
  uint64_t each, left = each;  // messages for one answer
  size_t filled = 0;
  void next() {
    socket->receive(memory.mutable_bytes().subspan(filled), [this](Result<size_t> size) {
      if (!size.ok() || *size == 0) return;
      filled += *size;
      if (filled < memory.size()) return next();
      filled = 0;
      if (--left > 0) return next();
      left = each;
      const Bytes parts[] = {memory.bytes()};
      socket->send(parts, [this](Status status) {
        if (status.ok()) next();
      });
    });
  }
};

struct Pinger {
  Pinger(size_t bytes, uint64_t of)
      : out(Buffer::zeroed(bytes)), in(Buffer::zeroed(bytes)), each(of) {}
  std::unique_ptr<Socket> socket{};
  Buffer out, in;
  uint64_t each, sent = 0;  // messages for one answer
  size_t filled = 0;
  uint64_t left = 0;  // answers
  void ask() {
    filled = 0;
    sent = 0;
    put();
    listen();
  }
  void put() {
    const Bytes parts[] = {out.bytes()};
    socket->send(parts, [this](const Status&) {
      if (++sent < each) put();
    });
  }
  void listen() {
    socket->receive(in.mutable_bytes().subspan(filled), [this](Result<size_t> size) {
      if (!size.ok() || *size == 0) std::abort();
      filled += *size;
      if (filled < in.size()) return listen();
      if (--left > 0) ask();
    });
  }
};

// Messages of so many bytes between two threads, one answer to each `each` of them; a row for each
// message. Gives the us of one.
double bench_net(const char* what, Duration spin, size_t bytes, uint64_t each = 1,
                 uint64_t count = 10000) {
  std::atomic<uint16_t> port{0};
  std::atomic<RealHost*> server_host{nullptr};
  std::thread server([&] {
    auto host = make_host(spin);
    Echo echo(bytes, each);
    auto listener = host->host().net.listen({"127.0.0.1", 0}, [&](std::unique_ptr<Socket> socket) {
      echo.socket = std::move(socket);
      echo.next();
    });
    server_host = host.get();
    port = (*listener)->address().port;
    host->run();
  });
  while (port == 0) std::this_thread::yield();
  auto host = make_host(spin);
  Pinger pinger(bytes, each);
  auto attempt = host->host().net.connect(
      {"127.0.0.1", port}, 5s,
      [&](Result<std::unique_ptr<Socket>> socket) { pinger.socket = std::move(socket).value(); });
  host->run_until([&] { return pinger.socket != nullptr; }, 5s);
  const double us = measure(what, count, [&] {
    pinger.left = count / each;
    pinger.ask();
    host->run_until([&] { return pinger.left == 0; }, 60s);
  });
  RealHost* const other = server_host;
  other->post_from_other_thread([other] { other->stop(); });
  server.join();
  return us;
}

// What has to be done with each byte at the least; over more memory than the caches hold.
void bench_bytes() {
  const size_t pieces = 32 << 10;
  std::vector<std::byte> from(pieces * 4096), to(pieces * 4096);
  measure("CRC-64 of 4 KiB", pieces, [&] {
    uint64_t sum = 0;
    for (size_t i = 0; i < pieces; ++i) sum += crc64(Bytes(from).subspan(i * 4096, 4096));
    if (sum == 1) std::abort();  // so that it is needed
  });
  measure("memcpy of 4 KiB", pieces, [&] {
    for (size_t i = 0; i < pieces; ++i) {
      const size_t at = mix64(i) % pieces * 4096;
      std::memcpy(to.data() + at, from.data() + at, 4096);
    }
  });
}

struct DiskLoad {
  Disk& disk;
  bool writing;
  std::vector<Buffer> buffers;
  uint64_t blocks = 0;
  uint64_t issued = 0, completed = 0, count = 0;
  void start(size_t depth, uint64_t operations) {
    issued = completed = 0;
    count = operations;
    while (buffers.size() < depth) buffers.push_back(Buffer::zeroed(4096));
    for (size_t i = 0; i < depth; ++i) next(i);
  }
  void next(size_t i) {
    if (issued == count) return;
    const uint64_t offset = mix64(issued++) % blocks * 4096;
    auto done = [this, i](Status status) {
      if (!status.ok()) std::abort();
      ++completed;
      next(i);
    };
    if (writing)
      disk.write(offset, buffers[i].bytes(), done);
    else
      disk.read(offset, buffers[i].mutable_bytes(), done);
  }
};

void bench_disk(const std::string& path, const char* name) {
  auto host = make_host();
  constexpr uint64_t size = 256 << 20;
  const std::string file = path.starts_with("memory:") ? path.substr(7) : path;
  unlink(file.c_str());
  auto made = host->host().disks.open(path, {OpenOptions::Mode::create, size});
  if (!made.ok()) {
    std::fprintf(stderr, "%s\n", made.error().message().c_str());
    return;
  }
  auto disk = std::move(made).value();
  const Buffer fill = Buffer::zeroed(1 << 20);
  uint64_t filled = 0;
  for (uint64_t at = 0; at < size; at += fill.size())
    disk->write(at, fill.bytes(), [&](Status) { ++filled; });
  host->run_until([&] { return filled == size / fill.size(); }, 60s);
  for (const bool writing : {false, true}) {
    for (const size_t depth : {size_t{1}, size_t{32}}) {
      DiskLoad load{*disk, writing, {}, size / 4096};
      const uint64_t count = depth == 1 ? 10000 : 40000;
      char what[100];
      std::snprintf(what, sizeof what, "%s: 4 KiB %s, depth %zu", name, writing ? "write" : "read",
                    depth);
      measure(what, count, [&] {
        load.start(depth, count);
        host->run_until([&] { return load.completed == count; }, 60s);
      });
    }
  }
  disk.reset();
  unlink(file.c_str());
}

// The same reads with liburing alone.
void bench_raw_disk(const std::string& path, const char* name) {
  constexpr uint64_t size = 256 << 20;
  const int fd = open(path.c_str(), O_RDWR | O_CREAT | O_TRUNC | O_DIRECT, 0600);
  if (fd < 0) return;
  const Buffer fill = Buffer::zeroed(1 << 20);
  for (uint64_t at = 0; at < size; at += fill.size()) {
    if (pwrite(fd, fill.data(), fill.size(), static_cast<off_t>(at)) < 0) std::abort();
  }
  io_uring ring{};
  if (io_uring_queue_init(64, &ring, IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN) != 0)
    std::abort();
  for (const size_t depth : {size_t{1}, size_t{32}}) {
    const uint64_t count = depth == 1 ? 10000 : 40000;
    std::vector<Buffer> buffers;
    for (size_t i = 0; i < depth; ++i) buffers.push_back(Buffer::zeroed(4096));
    char what[100];
    std::snprintf(what, sizeof what, "%s raw liburing: 4 KiB read, depth %zu", name, depth);
    measure(what, count, [&] {
      uint64_t issued = 0, completed = 0;
      const auto next = [&](uint64_t i) {
        if (issued == count) return;
        io_uring_sqe* sqe = io_uring_get_sqe(&ring);
        io_uring_prep_read(sqe, fd, buffers[i].data(), 4096,
                           mix64(issued++) % (size / 4096) * 4096);
        io_uring_sqe_set_data64(sqe, i);
      };
      for (uint64_t i = 0; i < depth; ++i) next(i);
      while (completed < count) {
        io_uring_submit_and_wait(&ring, 1);
        unsigned head = 0, seen = 0;
        io_uring_cqe* cqe = nullptr;
        io_uring_for_each_cqe(&ring, head, cqe) {
          ++seen;
          if (cqe->res != 4096) std::abort();
          next(cqe->user_data);
        }
        io_uring_cq_advance(&ring, seen);
        completed += seen;
      }
    });
  }
  io_uring_queue_exit(&ring);
  close(fd);
  unlink(path.c_str());
}

// The reactor alone: posts, and timers that are always re-armed.
void bench_reactor() {
  auto host = make_host();
  constexpr uint64_t count = 1'000'000;
  uint64_t left = 0;
  Reactor& reactor = host->host().reactor;
  std::function<void()> again = [&] {
    for (int i = 0; i < 100; ++i) reactor.post([&] { --left; });
    reactor.post([&] {
      if (left > 0) again();
    });
  };
  measure("reactor: post", count, [&] {
    left = count;
    again();
    host->run_until([&] { return left == 0; }, 60s);
  });
  Timer timer(reactor);
  measure("reactor: arm and cancel a timer", count, [&] {
    for (uint64_t i = 0; i < count; ++i) timer.arm(1s, [] {});
  });
}

void bench_sim() {
  {
    SimWorld world(1);
    std::vector<std::unique_ptr<Timer>> timers;
    SimHost& host = world.add_host("h", "10.0.0.1");
    for (int i = 0; i < 1000; ++i) timers.push_back(std::make_unique<Timer>(host));
    std::function<void(size_t)> arm = [&](size_t i) {
      timers[i]->arm(std::chrono::microseconds(1 + mix64(i) % 10000), [&, i] { arm(i); });
    };
    for (size_t i = 0; i < timers.size(); ++i) arm(i);
    constexpr uint64_t count = 1'000'000;
    measure("simulator: timer events, 1000 armed", count, [&] {
      const uint64_t end = world.event_count() + count;
      while (world.event_count() < end) world.step();
    });
  }
  SimWorld world(1);
  struct Talk {
    SimHost* host;
    std::unique_ptr<Listener> listener;
    std::unique_ptr<Net::Attempt> attempt;
    Echo echo;
    std::unique_ptr<Socket> socket;
    std::unique_ptr<Disk> disk;
    Buffer memory = Buffer::zeroed(4096);
    size_t filled = 0;
    void ask() {
      const Bytes parts[] = {memory.bytes()};
      socket->send(parts, [](Status) {});
      filled = 0;
      listen();
    }
    void listen() {
      socket->receive(memory.mutable_bytes().subspan(filled), [this](Result<size_t> size) {
        filled += *size;
        if (filled < memory.size()) return listen();
        disk->write(host->host().random.below(1000) * 4096, memory.bytes(),
                    [this](Status) { ask(); });
      });
    }
  };
  std::vector<std::unique_ptr<Talk>> talks;
  for (int i = 0; i < 3; ++i) {
    auto& talk = *talks.emplace_back(std::make_unique<Talk>());
    talk.host = &world.add_host("h", "10.0.0." + std::to_string(i));
    talk.disk = std::move(talk.host->host().disks.open("/d" + std::to_string(i),
                                                       {OpenOptions::Mode::create, 8 << 20}))
                    .value();
    talk.listener = std::move(talk.host->host().net.listen({talk.host->ip(), 1},
                                                           [&talk](std::unique_ptr<Socket> socket) {
                                                             talk.echo.socket = std::move(socket);
                                                             talk.echo.next();
                                                           }))
                        .value();
  }
  for (int i = 0; i < 3; ++i) {
    auto& talk = *talks[i];
    talk.attempt = talk.host->host().net.connect({"10.0.0." + std::to_string((i + 1) % 3), 1}, 1s,
                                                 [&talk](Result<std::unique_ptr<Socket>> socket) {
                                                   talk.socket = std::move(socket).value();
                                                   talk.ask();
                                                 });
  }
  constexpr uint64_t count = 300'000;
  measure("simulator: events of 4 KiB echo and disk write", count, [&] {
    const uint64_t end = world.event_count() + count;
    while (world.event_count() < end) world.step();
  });
}

}  // namespace

int main(int argc, char** argv) {
  if (argc > 1 && std::string(argv[1]) == "--loopback") {
    const double blocking = bench_net(nullptr, 0us, 4096);
    std::printf("%.1f\t%.1f\n", blocking, bench_net(nullptr, 50us, 4096));
    return 0;
  }
  const std::string directory = argc > 1 ? argv[1] : ".";
  std::printf("%-46s %12s  %16s  %13s\n", "per operation", "time", "CPU", "rate");
  bench_sim();
  bench_reactor();
  bench_net("loopback: 4 KiB + 4 KiB round trip", 0us, 4096);
  bench_net("loopback: the same, polling 50 us", 50us, 4096);
  bench_net("loopback: 128 KiB + 128 KiB round trip", 0us, 128 << 10, 1, 4000);
  bench_net("loopback: 4 KiB, one way", 0us, 4096, 5000, 50000);
  bench_net("loopback: 128 KiB, one way", 0us, 128 << 10, 1000, 5000);
  bench_bytes();
  bench_disk("memory:/dev/shm/sp-io-bench", "MemoryDisk");
  bench_disk("/dev/shm/sp-io-bench", "tmpfs file");
  bench_raw_disk("/dev/shm/sp-io-bench", "tmpfs file");
  bench_disk(directory + "/sp-io-bench.img", "file");
  bench_raw_disk(directory + "/sp-io-bench.img", "file");
  return 0;
}
