#include <doctest/doctest.h>

#include <algorithm>
#include <cstring>
#include <map>
#include <set>

#include "base/buffer.h"
#include "conformance.h"
#include "io/sim_world.h"

namespace sp::io::test {

namespace {

// Two hosts that echo over a stream and write what they got: touches every kind of event.
struct Busy {
  explicit Busy(uint64_t seed, SimOptions options = {}) : world(seed, std::move(options)) {
    REQUIRE(world.disks().add("/dev/b", 1 << 20).ok());
    disk = std::move(b->host().disks.open("/dev/b", {})).value();
    auto made = b->host().net.listen({"10.0.0.2", 7}, [this](std::unique_ptr<Socket> socket) {
      server = std::move(socket);
      serve();
    });
    listener = std::move(made).value();
    attempt =
        a->host().net.connect({"10.0.0.2", 7}, 1s, [this](Result<std::unique_ptr<Socket>> socket) {
          client = std::move(socket).value();
          ask();
        });
  }
  void serve() {
    server->receive(in.mutable_bytes(), [this](Result<size_t> size) {
      if (!size.ok() || *size == 0) return;
      disk->write(b->host().random.below(256) * 4096, page.bytes(), [this](Status) {
        const Bytes parts[] = {in.bytes().first(1)};
        server->send(parts, [this](Status status) {
          if (status.ok()) serve();
        });
      });
    });
  }
  void ask() {
    const Bytes parts[] = {page.bytes().first(1 + a->host().random.below(4))};
    client->send(parts, [](Status) {});
    client->receive(back.mutable_bytes(), [this](Result<size_t> size) {
      if (!size.ok() || *size == 0) return;
      ++rounds;
      think.arm(std::chrono::microseconds(a->host().random.below(100)), [this] { ask(); });
    });
  }
  SimWorld world;
  SimHost* a = &world.add_host("a", "10.0.0.1");
  SimHost* b = &world.add_host("b", "10.0.0.2");
  Buffer in = Buffer::zeroed(4096), page = pattern(4096, 1), back = Buffer::zeroed(4096);
  std::unique_ptr<Disk> disk;
  std::unique_ptr<Listener> listener;
  std::unique_ptr<Net::Attempt> attempt;
  std::unique_ptr<Socket> client, server;
  int rounds = 0;
  Timer think{*a};
};

uint64_t hash_of_run(uint64_t seed) {
  Busy busy(seed);
  busy.world.run_for(1s);
  CHECK(busy.rounds > 1000);
  return busy.world.trace_hash();
}

Status run_status(SimWorld& world, const std::function<void(DiskDone)>& start) {
  bool done = false;
  Status result;
  start([&](Status status) {
    done = true;
    result = std::move(status);
  });
  REQUIRE(world.run_until([&] { return done; }, 10s));
  return result;
}

struct OneDisk {
  explicit OneDisk(uint64_t seed, SimOptions options = {}) : world(seed, std::move(options)) {
    host = &world.add_host("h", "10.0.0.1");
    REQUIRE(world.disks().add(path, 1 << 20).ok());
    open();
  }
  void open() { disk = std::move(host->host().disks.open(path, {})).value(); }
  Status write(uint64_t block, uint64_t stamp) {
    const Buffer data = pattern(4096, stamp);
    return run_status(
        world, [&](DiskDone done) { disk->write(block * 4096, data.bytes(), std::move(done)); });
  }
  Status flush() {
    return run_status(world, [&](DiskDone done) { disk->flush(std::move(done)); });
  }
  Status read(uint64_t block, const Buffer& into) {
    return run_status(world, [&](DiskDone done) {
      disk->read(block * 4096, into.mutable_bytes(), std::move(done));
    });
  }
  // How many sectors of the block on the medium are those of `stamp`.
  int sectors_of(uint64_t block, uint64_t stamp) {
    const Buffer data = pattern(4096, stamp);
    const Buffer seen = Buffer::zeroed(4096);
    world.disks().peek(path, block * 4096, seen.mutable_bytes());
    int count = 0;
    for (size_t at = 0; at < 4096; at += 512)
      count += std::memcmp(data.data() + at, seen.data() + at, 512) == 0;
    return count;
  }
  std::string path = "/dev/d";
  SimWorld world;
  SimHost* host;
  std::unique_ptr<Disk> disk;
};

}  // namespace

TEST_CASE("the same seed gives the same trace, another seed another") {
  const uint64_t first = hash_of_run(1);
  CHECK(hash_of_run(1) == first);
  CHECK(hash_of_run(2) != first);
}

TEST_CASE("virtual time passes only as asked, and clocks of nodes drift apart within their bound") {
  SimOptions options;
  options.clock_drift_max = 0.01;
  SimWorld world(5, options);
  std::set<int64_t> rates;
  std::vector<SimHost*> hosts;
  for (int i = 0; i < 5; ++i) hosts.push_back(&world.add_host("h", "10.0.0." + std::to_string(i)));
  SimHost& twin = world.add_host("twin", "10.0.0.0");
  std::vector<Instant> start;
  for (SimHost* host : hosts) start.push_back(host->now());
  CHECK(world.now().ns == 0);
  world.run_for(100s);
  CHECK(world.now().ns == 100'000'000'000);
  for (size_t i = 0; i < hosts.size(); ++i) {
    const Duration passed = hosts[i]->now() - start[i];
    CHECK(passed >= 99s);
    CHECK(passed <= 101s);
    rates.insert(passed.count());
  }
  CHECK(rates.size() == 5);
  CHECK(twin.now() == hosts[0]->now());  // processes of one node share its clock
  // A timer never fires early by the clock of its own host.
  for (SimHost* host : hosts) {
    Timer timer(*host);
    const Instant armed = host->now();
    bool fired = false;
    timer.arm(1s, [&] { fired = true; });
    REQUIRE(world.run_until([&] { return fired; }, 2s));
    CHECK(host->now() - armed >= 1s);
    CHECK(host->now() - armed < 1001ms);
  }
}

TEST_CASE("what was flushed survives power loss, what was not meets every fate") {
  std::map<std::string, int> fates;
  for (uint64_t seed = 0; seed < 200; ++seed) {
    OneDisk one(seed);
    REQUIRE(one.write(0, 1).ok());
    REQUIRE(one.write(1, 2).ok());
    REQUIRE(one.flush().ok());
    REQUIRE(one.write(1, 3).ok());
    REQUIRE(one.write(2, 4).ok());
    CHECK(one.sectors_of(1, 3) == 8);
    one.host->kill(SimHost::Death::power);
    one.disk.reset();
    CHECK(one.sectors_of(0, 1) == 8);
    const int after = one.sectors_of(1, 3);
    const int before = one.sectors_of(1, 2);
    CHECK(after + before <= 8);
    if (after == 8)
      ++fates["kept"];
    else if (before == 8)
      ++fates["dropped"];
    else if (after + before == 8)
      ++fates["torn"];
    else
      ++fates["garbage"];
    // Each write has a fate of its own: any subset.
    if (after == 8 && one.sectors_of(2, 4) == 0) ++fates["first only"];
    if (before == 8 && one.sectors_of(2, 4) == 8) ++fates["second only"];
    one.host->restart();
    one.open();
    REQUIRE(one.write(1, 5).ok());
  }
  for (const auto* fate : {"kept", "dropped", "torn", "garbage", "first only", "second only"}) {
    CAPTURE(fate);
    CHECK(fates[fate] > 0);
  }
}

TEST_CASE(
    "overlapping writes that were not flushed leave one of their states per sector, in their "
    "order") {
  SimOptions options;
  options.disk.crash_garbage = 0;
  std::set<int> seen;
  for (uint64_t seed = 0; seed < 100; ++seed) {
    OneDisk one(seed, options);
    REQUIRE(one.write(0, 1).ok());
    REQUIRE(one.flush().ok());
    REQUIRE(one.write(0, 2).ok());
    REQUIRE(one.write(0, 3).ok());
    one.host->kill();
    int sum = 0;
    for (const uint64_t stamp : {1, 2, 3}) {
      sum += one.sectors_of(0, stamp);
      if (one.sectors_of(0, stamp) == 8) seen.insert(static_cast<int>(stamp));
    }
    CHECK(sum == 8);
    one.disk.reset();
  }
  CHECK(seen == std::set<int>{1, 2, 3});
}

TEST_CASE("when a crash keeps everything, the last of overlapping writes wins") {
  SimOptions options;
  options.disk.crash_drop = options.disk.crash_tear = options.disk.crash_garbage = 0;
  OneDisk one(1, options);
  REQUIRE(one.write(0, 1).ok());
  REQUIRE(one.write(0, 2).ok());
  one.host->kill();
  CHECK(one.sectors_of(0, 2) == 8);
  one.disk.reset();
}

TEST_CASE("nothing that was in flight when the crash point came completes") {
  OneDisk one(1);
  const Buffer data = pattern(4096, 1);
  int done = 0;
  for (uint64_t i = 0; i < 10; ++i)
    one.disk->write(i * 4096, data.bytes(), [&](Status) { ++done; });
  one.world.disks().fail_after(one.path, 1);
  one.disk->flush([&](Status) { ++done; });
  one.world.run_for(10s);
  CHECK(done == 0);
}

TEST_CASE(
    "kill -9 loses nothing that was completed, and both orders of kill and destruction are safe") {
  for (const bool destroy_first : {false, true}) {
    Busy busy(3);
    busy.world.run_for(100ms);
    REQUIRE(busy.rounds > 100);
    const int rounds = busy.rounds;
    if (destroy_first) {
      busy.server.reset();
      busy.listener.reset();
      busy.disk.reset();
    }
    busy.b->kill(SimHost::Death::process);
    busy.world.run_for(10ms);
    if (!destroy_first) {
      busy.server.reset();
      busy.listener.reset();
      busy.disk.reset();
    }
    CHECK(busy.rounds <= rounds + 1);
    CHECK_FALSE(busy.b->alive());
    busy.b->restart();
    CHECK(busy.b->host().disks.open("/dev/b", {}).ok());
  }
  OneDisk one(1);
  REQUIRE(one.write(0, 1).ok());
  one.host->kill(SimHost::Death::process);
  CHECK(one.sectors_of(0, 1) == 8);
  one.disk.reset();
}

TEST_CASE("a killed host runs nothing more, even through objects that its owner still holds") {
  SimWorld world(1);
  SimHost& host = world.add_host("h", "10.0.0.1");
  REQUIRE(world.disks().add("/d", 1 << 20).ok());
  auto disk = std::move(host.host().disks.open("/d", {})).value();
  int calls = 0;
  const Buffer data = pattern(4096, 1);
  Timer timer(host), zombie(host);
  timer.arm(1ms, [&] { ++calls; });
  host.post([&] { ++calls; });
  disk->write(0, data.bytes(), [&](Status) { ++calls; });
  auto listener = std::move(host.host().net.listen({"10.0.0.1", 1}, [&](std::unique_ptr<Socket>) {
                    ++calls;
                  })).value();
  host.kill();
  zombie.arm(1ms, [&] { ++calls; });
  host.post([&] { ++calls; });
  disk->write(0, data.bytes(), [&](Status) { ++calls; });
  world.run_for(10ms);
  host.restart();
  world.run_for(10ms);
  CHECK(calls == 0);
  zombie.arm(1ms, [&] { ++calls; });
  world.run_for(10ms);
  CHECK(calls == 1);
}

TEST_CASE("a crash point stops the disk at exactly the n-th operation") {
  OneDisk one(4);
  one.world.disks().fail_after(one.path, 3);
  REQUIRE(one.write(0, 1).ok());
  REQUIRE(one.flush().ok());
  CHECK_FALSE(one.world.disks().crash_point_reached(one.path));
  bool done = false;
  const Buffer data = pattern(4096, 2);
  one.disk->write(4096, data.bytes(), [&](Status) { done = true; });
  one.disk->write(8192, data.bytes(), [&](Status) { done = true; });
  CHECK(one.world.disks().crash_point_reached(one.path));
  one.world.run_for(1s);
  CHECK_FALSE(done);
  one.disk.reset();
  CHECK(one.host->host().disks.open(one.path, {}).error().code() == Code::io);
  one.world.disks().crash(one.path);
  one.open();
  CHECK(one.sectors_of(0, 1) == 8);
  CHECK(one.sectors_of(2, 2) == 0);  // issued after the crash point: never there
  REQUIRE(one.write(3, 3).ok());
}

TEST_CASE("the operation at the crash point is there whole, in part, or not at all") {
  std::set<int> seen;
  for (uint64_t seed = 0; seed < 60; ++seed) {
    OneDisk one(seed);
    one.world.disks().fail_after(one.path, 1);
    const Buffer data = pattern(4096, 2);
    one.disk->write(0, data.bytes(), [](Status) { FAIL("completed after the crash point"); });
    one.world.run_for(1s);
    one.host->kill();
    const int sectors = one.sectors_of(0, 2);
    seen.insert(sectors == 0 ? 0 : sectors == 8 ? 2 : 1);
    one.disk.reset();
  }
  CHECK(seen == std::set<int>{0, 1, 2});
}

TEST_CASE("damaged sectors read the same wrong bytes each time, until they are written anew") {
  OneDisk one(1);
  REQUIRE(one.write(0, 1).ok());
  one.world.disks().corrupt(one.path, 1000, 100);
  const Buffer first = Buffer::zeroed(4096), second = Buffer::zeroed(4096);
  REQUIRE(one.read(0, first).ok());
  REQUIRE(one.read(0, second).ok());
  CHECK(same(first.bytes(), second.bytes()));
  CHECK(one.sectors_of(0, 1) == 6);  // 1000 to 1100 touches two sectors
  REQUIRE(one.write(0, 1).ok());
  CHECK(one.sectors_of(0, 1) == 8);
}

TEST_CASE("damage to a damaged sector does not cure it") {
  OneDisk one(1);
  REQUIRE(one.write(0, 1).ok());
  for (int times = 1; times < 5; ++times) {
    one.world.disks().corrupt(one.path, 0, 4096);
    CHECK(one.sectors_of(0, 1) == 0);
  }
}

TEST_CASE("lost and misdirected writes are acknowledged, a lied flush makes nothing durable") {
  OneDisk one(1);
  REQUIRE(one.write(0, 1).ok());
  REQUIRE(one.flush().ok());
  one.world.disks().lose_next_write(one.path);
  CHECK(one.write(0, 2).ok());
  CHECK(one.sectors_of(0, 1) == 8);
  one.world.disks().misdirect_next_write(one.path);
  CHECK(one.write(0, 3).ok());
  CHECK(one.sectors_of(0, 3) == 0);
  const Buffer whole = Buffer::zeroed(1 << 20);
  one.world.disks().peek(one.path, 0, whole.mutable_bytes());
  const Buffer sent = pattern(4096, 3);
  const auto all = whole.bytes();
  CHECK(std::search(all.begin(), all.end(), sent.bytes().begin(), sent.bytes().end()) != all.end());
  int lost = 0;
  for (uint64_t seed = 0; seed < 40; ++seed) {
    OneDisk liar(seed);
    REQUIRE(liar.write(0, 1).ok());
    liar.world.disks().lie_on_next_flush(liar.path);
    REQUIRE(liar.flush().ok());
    liar.host->kill();
    lost += liar.sectors_of(0, 1) != 8;
    liar.disk.reset();
  }
  CHECK(lost > 0);
}

TEST_CASE("what a failed flush was for may be gone, and a second flush does not bring it back") {
  int lost = 0;
  for (uint64_t seed = 0; seed < 40; ++seed) {
    OneDisk one(seed);
    REQUIRE(one.write(0, 1).ok());
    REQUIRE(one.flush().ok());
    REQUIRE(one.write(1, 2).ok());
    one.world.disks().fail_next(one.path, SimDisks::Kind::flush);
    REQUIRE(one.flush().error().code() == Code::io);
    REQUIRE(one.flush().ok());
    CHECK(one.sectors_of(0, 1) == 8);
    lost += one.sectors_of(1, 2) != 8;
  }
  CHECK(lost > 0);
  CHECK(lost < 40);
}

TEST_CASE("errors, death, stalls and full disks come as ordered") {
  OneDisk one(1);
  SimDisks& disks = one.world.disks();
  const Buffer back = Buffer::zeroed(4096);
  disks.fail_next(one.path, SimDisks::Kind::write);
  CHECK(one.write(0, 1).error().code() == Code::io);
  CHECK(one.write(0, 1).ok());
  disks.fail_next(one.path, SimDisks::Kind::flush);
  CHECK(one.flush().error().code() == Code::io);
  CHECK(one.write(0, 1).ok());  // what the flush was for may be gone
  disks.fail_next(one.path, SimDisks::Kind::read, 2);
  CHECK_FALSE(one.read(0, back).ok());
  CHECK_FALSE(one.read(0, back).ok());
  CHECK(one.read(0, back).ok());
  const Instant start = one.world.now();
  disks.stall(one.path, 3s);
  CHECK(one.read(0, back).ok());
  CHECK(one.world.now() - start >= 3s);
  SimDiskOptions small;
  small.space_bytes = 8192;
  disks.set_options(one.path, small);
  CHECK(one.write(1, 1).ok());
  CHECK(one.write(2, 1).error().code() == Code::no_space);
  CHECK(one.write(1, 2).ok());
  disks.set_dead(one.path, true);
  CHECK(one.read(0, back).error().code() == Code::io);
  CHECK(one.flush().error().code() == Code::io);
  disks.set_dead(one.path, false);
  CHECK(one.read(0, back).ok());
  disks.wipe(one.path);
  CHECK(one.sectors_of(1, 2) == 0);
  disks.remove(one.path);
  CHECK(one.read(0, back).error().code() == Code::io);
  CHECK(one.host->host().disks.open(one.path, {}).error().code() == Code::not_found);
}

TEST_CASE("disks that change places take their content along") {
  OneDisk one(1);
  REQUIRE(one.write(0, 1).ok());
  REQUIRE(one.world.disks().add("/dev/e", 1 << 20).ok());
  CHECK(one.world.disks().swap(one.path, "/dev/e").error().code() == Code::refused);
  one.disk.reset();
  REQUIRE(one.world.disks().swap(one.path, "/dev/e").ok());
  CHECK(one.sectors_of(0, 1) == 0);
  one.path = "/dev/e";
  CHECK(one.sectors_of(0, 1) == 8);
}

TEST_CASE("unwritten sectors read as the same noise each time, or as zeros on request") {
  OneDisk noisy(1);
  const Buffer first = Buffer::zeroed(4096), second = Buffer::zeroed(4096);
  REQUIRE(noisy.read(5, first).ok());
  REQUIRE(noisy.read(5, second).ok());
  CHECK(same(first.bytes(), second.bytes()));
  CHECK_FALSE(same(first.bytes(), Buffer::zeroed(4096).bytes()));
  // A write of one sector leaves its neighbours as they were.
  CHECK(run_status(noisy.world, [&](DiskDone done) {
          noisy.disk->write(5 * 4096 + 512, first.bytes().first(512), std::move(done));
        }).ok());
  REQUIRE(noisy.read(5, second).ok());
  CHECK(same(first.bytes().subspan(1024), second.bytes().subspan(1024)));
  CHECK_FALSE(same(first.bytes().subspan(512, 512), second.bytes().subspan(512, 512)));
  SimOptions options;
  options.disk.unwritten_is_noise = false;
  OneDisk clean(1, options);
  REQUIRE(clean.read(5, first).ok());
  CHECK(same(first.bytes(), Buffer::zeroed(4096).bytes()));
}

TEST_CASE("a paused host does nothing, then everything in its order") {
  SimWorld world(1);
  SimHost& host = world.add_host("h", "10.0.0.1");
  SimHost& other = world.add_host("o", "10.0.0.2");
  std::vector<int> order;
  Timer first(host), second(host), others(other);
  first.arm(1ms, [&] { order.push_back(1); });
  second.arm(2ms, [&] { order.push_back(2); });
  others.arm(3ms, [&] { order.push_back(0); });
  host.pause(1s);
  auto cancelled = std::make_unique<Timer>(host);
  cancelled->arm(1ms, [&] { order.push_back(100); });
  world.run_for(500ms);
  CHECK(order == std::vector<int>{0});
  cancelled.reset();  // while its event is held
  host.post([&] { order.push_back(3); });
  world.run_for(1s);
  CHECK(order == std::vector<int>{0, 1, 2, 3});
  CHECK_FALSE(host.paused());
}

TEST_CASE(
    "several hosts of one node share its address, its unix sockets and its fate in partitions") {
  SimWorld world(1);
  SimHost& server = world.add_host("server", "10.0.0.1");
  SimHost& beside = world.add_host("beside", "10.0.0.1");
  SimHost& away = world.add_host("away", "10.0.0.2");
  std::vector<std::unique_ptr<Socket>> accepted;
  const auto accept = [&](std::unique_ptr<Socket> socket) {
    accepted.push_back(std::move(socket));
  };
  auto tcp = std::move(server.host().net.listen({"0.0.0.0", 9}, accept)).value();
  auto local = std::move(server.host().net.listen({"/run/x", 0}, accept)).value();
  CHECK(beside.host().net.listen({"10.0.0.1", 9}, accept).error().code() == Code::exists);
  const auto outcome = [&](SimHost& from, const Address& address) -> std::string {
    std::string result;
    auto attempt =
        from.host().net.connect(address, 2s, [&](Result<std::unique_ptr<Socket>> socket) {
          result = socket.ok() ? "connected" : code_name(socket.error().code());
        });
    REQUIRE(world.run_until([&] { return !result.empty(); }, 5s));
    return result;
  };
  world.net().partition({"10.0.0.1"});
  CHECK(outcome(beside, {"10.0.0.1", 9}) == "connected");
  CHECK(outcome(beside, {"127.0.0.1", 9}) == "connected");
  CHECK(outcome(beside, {"/run/x", 0}) == "connected");
  CHECK(outcome(away, {"10.0.0.1", 9}) == code_name(Code::timed_out));
  world.net().heal();
  CHECK(outcome(away, {"10.0.0.1", 9}) == "connected");
  CHECK(outcome(away, {"/run/x", 0}) == code_name(Code::unreachable));
  CHECK(outcome(away, {"10.0.0.1", 10}) == code_name(Code::unreachable));
  CHECK(outcome(away, {"10.9.9.9", 9}) == code_name(Code::timed_out));
  server.kill();
  CHECK(outcome(away, {"10.0.0.1", 9}) == code_name(Code::unreachable));  // the node still lives
  beside.kill();
  CHECK(outcome(away, {"10.0.0.1", 9}) == code_name(Code::timed_out));
  // A floating address follows.
  world.net().assign_address("10.0.0.2", "10.0.0.100");
  auto floating = std::move(away.host().net.listen({"10.0.0.100", 9}, accept)).value();
  CHECK(outcome(away, {"10.0.0.100", 9}) == "connected");
}

}  // namespace sp::io::test
