// Streams of the simulated network: what loss, cuts, deaths and pauses do to them, and to a whole
// world at once.
#include <doctest/doctest.h>

#include <deque>

#include "base/buffer.h"
#include "conformance.h"
#include "io/sim_world.h"

namespace sp::io::test {

namespace {

// A stream between two nodes on which one side writes numbered bytes and the other checks them.
struct Stream {
  explicit Stream(uint64_t seed, const SimNetOptions& net = {})
      : world(seed, SimOptions{.net = net}) {
    listener =
        std::move(b->host().net.listen({"10.0.0.2", 7}, [this](std::unique_ptr<Socket> socket) {
          to = std::move(socket);
          receive();
        })).value();
    attempt =
        a->host().net.connect({"10.0.0.2", 7}, 5s, [this](Result<std::unique_ptr<Socket>> socket) {
          REQUIRE(socket.ok());
          from = std::move(socket).value();
          send();
        });
    REQUIRE(world.run_until([&] { return to && from && received > 1000; }, 10s));
  }
  void send() {
    for (auto& byte : out) byte = std::byte(sent++ % 251);
    const Bytes parts[] = {out};
    from->send(parts, [this](Status status) {
      send_status = std::move(status);
      if (send_status.ok()) pace.arm(100us, [this] { send(); });
    });
  }
  void receive() {
    to->receive(in, [this](Result<size_t> size) {
      if (!size.ok()) {
        receive_status = std::move(size).error();
        return;
      }
      for (size_t i = 0; i < *size; ++i)
        in_order = in_order && in[i] == std::byte(received++ % 251);
      if (*size > 0) receive();
    });
  }
  SimWorld world;
  SimHost* a = &world.add_host("a", "10.0.0.1");
  SimHost* b = &world.add_host("b", "10.0.0.2");
  std::unique_ptr<Listener> listener;
  std::unique_ptr<Net::Attempt> attempt;
  std::unique_ptr<Socket> from, to;
  Timer pace{*a};
  std::byte out[100];
  std::byte in[300];
  uint64_t sent = 0, received = 0;
  bool in_order = true;
  Status send_status, receive_status;
};

}  // namespace

TEST_CASE("a stream over a lossy, clogged network is late, and stays whole and in order") {
  SimNetOptions net;
  net.loss = 0.05;
  net.clog = 0.01;
  net.short_receive = 0.5;
  Stream stream(7, net);
  stream.world.run_for(5s);
  stream.pace.cancel();
  REQUIRE(stream.world.run_until([&] { return stream.received == stream.sent; }, 10s));
  CHECK(stream.in_order);
  CHECK(stream.sent > 100'000);
  CHECK(stream.receive_status.ok());
}

TEST_CASE("a one-way cut holds the stream back, healing lets it go on") {
  Stream stream(8);
  stream.world.net().set_link("10.0.0.1", "10.0.0.2", false);
  stream.world.run_for(1ms);
  const uint64_t before = stream.received;
  stream.world.run_for(5s);
  CHECK(stream.received == before);
  CHECK(stream.sent > before);
  stream.world.net().set_link("10.0.0.1", "10.0.0.2", true);
  REQUIRE(stream.world.run_until([&] { return stream.received >= stream.sent - 100; }, 5s));
  CHECK(stream.in_order);
  // The other direction down does not hold this one back.
  stream.world.net().set_link("10.0.0.2", "10.0.0.1", false);
  const uint64_t then = stream.received;
  stream.world.run_for(100ms);
  CHECK(stream.received > then);
}

TEST_CASE("a sender gives up after a long cut; its peer learns of it once the link is back") {
  Stream stream(9);
  stream.world.net().partition({"10.0.0.1"});
  REQUIRE(stream.world.run_until([&] { return !stream.send_status.ok(); }, 60s));
  CHECK(stream.send_status.error().code() == Code::closed);
  stream.from.reset();
  stream.world.run_for(60s);
  CHECK(stream.receive_status.ok());
  stream.world.net().heal();
  REQUIRE(stream.world.run_until([&] { return !stream.receive_status.ok(); }, 5s));
  CHECK(stream.receive_status.error().code() == Code::closed);
}

TEST_CASE("peers of a killed host see a reset; of one that lost power, nothing until it is back") {
  {
    Stream stream(10);
    stream.b->kill();
    REQUIRE(stream.world.run_until([&] { return !stream.send_status.ok(); }, 10ms));
    CHECK(stream.send_status.error().code() == Code::closed);
  }
  {
    Stream stream(10);
    stream.b->kill(SimHost::Death::silent);
    stream.world.run_for(10s);
    CHECK(stream.send_status.ok());
    stream.to.reset();
    stream.listener.reset();
    stream.b->restart();
    REQUIRE(stream.world.run_until([&] { return !stream.send_status.ok(); }, 1s));
  }
  {
    Stream stream(10);
    stream.world.net().partition({"10.0.0.1"});
    stream.b->kill();
    stream.world.run_for(5s);
    CHECK(stream.send_status.ok());
    stream.world.net().heal();
    REQUIRE(stream.world.run_until([&] { return !stream.send_status.ok(); }, 1s));
  }
}

TEST_CASE("what a killed process had sent comes late, or never") {
  int whole = 0, cut_off = 0;
  for (uint64_t seed = 0; seed < 20; ++seed) {
    Stream stream(100 + seed);
    stream.world.net().clog("10.0.0.1", "10.0.0.2", 500ms);
    stream.world.run_for(100ms);
    const uint64_t before = stream.received;
    stream.a->kill();
    stream.world.run_for(1s);
    CHECK(stream.in_order);
    (stream.received > before ? whole : cut_off)++;
    if (stream.received > before) CHECK(stream.received == stream.sent);
  }
  CHECK(whole > 0);
  CHECK(cut_off > 0);
}

TEST_CASE("what goes over a new connection overtakes one that is held") {
  Stream stream(12);
  stream.world.net().hold_connections("10.0.0.1", "10.0.0.2", 1s);
  CHECK(!stream.world.net().flows("10.0.0.1", "10.0.0.2"));
  std::unique_ptr<Socket> later, at_b;
  Buffer got = Buffer::zeroed(10);
  size_t came = 0;
  auto listener = stream.b->host().net.listen({"10.0.0.2", 8}, [&](std::unique_ptr<Socket> socket) {
    at_b = std::move(socket);
    at_b->receive(got.mutable_bytes(), [&](Result<size_t> size) { came = *size; });
  });
  REQUIRE(listener.ok());
  auto attempt = stream.a->host().net.connect({"10.0.0.2", 8}, 5s,
                                              [&](Result<std::unique_ptr<Socket>> socket) {
                                                later = std::move(socket).value();
                                                const Bytes parts[] = {stream.out};
                                                later->send(parts, [](Status) {});
                                              });
  const uint64_t before = stream.received;
  REQUIRE(stream.world.run_until([&] { return came > 0; }, 100ms));
  CHECK(stream.received == before);
  stream.world.run_for(1s);
  CHECK(stream.received > before);
  CHECK(stream.in_order);
  CHECK(stream.world.net().flows("10.0.0.1", "10.0.0.2"));
}

TEST_CASE("a paused receiver holds nothing up but itself") {
  Stream stream(11);
  stream.b->pause(1s);
  const uint64_t before = stream.received;
  stream.world.run_for(900ms);
  CHECK(stream.received == before);
  stream.world.run_for(1s);
  CHECK(stream.received > before + 10000);
  CHECK(stream.in_order);
}

TEST_CASE(
    "every kill, cut, pause and restart at random moments leaves the world sound and repeatable") {
  const auto run = [](uint64_t seed) {
    SimOptions options;
    options.net.loss = 0.01;
    options.net.reset = 0.001;
    options.disk.stall = 0.001;
    options.disk.write_error = 0.001;
    SimWorld world(seed, options);
    struct Service {
      SimHost* host;
      std::unique_ptr<Disk> disk;
      std::unique_ptr<Listener> listener;
      std::deque<std::unique_ptr<Socket>> sockets;
      std::unique_ptr<Net::Attempt> attempt;
      std::unique_ptr<Timer> timer;
      Buffer page = pattern(4096, 1);
      Buffer in = Buffer::zeroed(4096);
      int index = 0;
      void start() {
        auto opened = host->host().disks.open("/d" + std::to_string(index), {});
        if (opened.ok()) disk = std::move(opened).value();
        listener =
            std::move(host->host().net.listen({host->ip(), 1}, [this](
                                                                   std::unique_ptr<Socket> socket) {
              sockets.push_back(std::move(socket));
              const Bytes parts[] = {page.bytes()};
              sockets.back()->send(parts, [](Status) {});
              if (sockets.size() > 5) sockets.pop_front();
            })).value();
        timer = std::make_unique<Timer>(*host);
        tick();
      }
      void tick() {
        if (disk) disk->write(host->host().random.below(16) * 4096, page.bytes(), [](Status) {});
        const auto other = host->host().random.below(3);
        attempt = host->host().net.connect({"10.0.0." + std::to_string(other), 1}, 500ms,
                                           [this](Result<std::unique_ptr<Socket>> socket) {
                                             if (!socket.ok()) return;
                                             sockets.push_back(std::move(socket).value());
                                             sockets.back()->receive(in.mutable_bytes(),
                                                                     [](Result<size_t>) {});
                                             if (sockets.size() > 5) sockets.pop_front();
                                           });
        timer->arm(1ms, [this] { tick(); });
      }
      void stop() {
        timer.reset();
        attempt.reset();
        sockets.clear();
        listener.reset();
        disk.reset();
      }
    };
    std::deque<Service> services(3);
    for (int i = 0; i < 3; ++i) {
      REQUIRE(world.disks().add("/d" + std::to_string(i), 1 << 20).ok());
      services[i].index = i;
      services[i].host = &world.add_host("s", "10.0.0." + std::to_string(i));
      services[i].start();
    }
    for (int step = 0; step < 300; ++step) {
      world.run_for(std::chrono::microseconds(world.random().below(20'000)));
      Service& service = services[world.random().below(3)];
      const std::string ip = service.host->ip();
      const std::string other = "10.0.0." + std::to_string(world.random().below(3));
      switch (world.random().below(7)) {
        case 0: {
          const bool first = world.random().below(2) == 0;
          if (first) service.stop();
          service.host->kill(static_cast<SimHost::Death>(world.random().below(3)));
          if (!first) service.stop();
          world.run_for(10ms);
          service.host->restart();
          service.start();
          break;
        }
        case 1: service.host->pause(std::chrono::milliseconds(world.random().below(100))); break;
        case 2: world.net().set_link(ip, other, false); break;
        case 3: world.net().heal(); break;
        case 4: world.net().clog(ip, other, 50ms); break;
        case 5: world.net().reset_connections(ip, other); break;
        case 6: world.disks().stall("/d0", 20ms); break;
      }
    }
    for (Service& service : services) service.stop();
    world.net().heal();
    world.run_for(60s);
    CHECK(world.net().connection_count() == 0);
    return world.trace_hash();
  };
  for (uint64_t seed = 1; seed <= 10; ++seed) CHECK(run(seed) == run(seed));
}

}  // namespace sp::io::test
