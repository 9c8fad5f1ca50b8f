#include "bench/load.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <cstring>
#include <map>
#include <set>
#include <vector>

#include "base/limits.h"
#include "io/sim_world.h"

using namespace sp;
using namespace std::chrono_literals;

namespace {

// Each operation takes one millisecond; counts what is in flight and remembers the places.
class SlowDevice final : public client::BlockDevice {
 public:
  SlowDevice(io::Host& host, uint64_t size) : host_(host), size_(size) {}
  uint64_t size_bytes() const override { return size_; }
  bool read_only() const override { return is_read_only; }
  void read(uint64_t offset, MutableBytes into, Done done) override {
    ++reads;
    for (size_t at = 0; at < into.size(); at += limits::block_bytes) {
      const auto found = content_.find(offset + at);
      const uint64_t stamp = found == content_.end() ? 0 : found->second;
      std::memcpy(into.data() + at, &stamp, sizeof stamp);
    }
    finish(offset, std::move(done));
  }
  void write(uint64_t offset, Bytes from, Done done) override {
    ++writes;
    for (size_t at = 0; at < from.size(); at += limits::block_bytes)
      std::memcpy(&content_[offset + at], from.data() + at, sizeof(uint64_t));
    finish(offset, std::move(done));
  }
  void write_zeroes(uint64_t, uint64_t, Done) override {}
  void discard(uint64_t, uint64_t, Done) override {}
  void flush(Done) override {}
  void spoil(uint64_t offset) { content_[offset] = 12345; }

  uint64_t reads = 0, writes = 0, in_flight = 0, in_flight_most = 0;
  std::vector<uint64_t> places;
  bool is_read_only = false;
  std::map<uint64_t, Code> refuse;  // by place

 private:
  void finish(uint64_t offset, Done done) {
    places.push_back(offset);
    in_flight_most = std::max(in_flight_most, ++in_flight);
    open_.push_back(std::move(done));
    host_.reactor.later(1ms, [this, offset, at = open_.size() - 1] {
      --in_flight;
      const auto found = refuse.find(offset);
      open_[at].call_once(found == refuse.end() ? Status() : Error(found->second, "as told"));
    });
  }
  io::Host& host_;
  uint64_t size_;
  std::map<uint64_t, uint64_t> content_;
  std::vector<Done> open_;
};

struct Stage {
  io::SimWorld world{1};
  io::SimHost& host = world.add_host("load", "10.0.0.1");
  SlowDevice device{host.host(), 1 << 20};
  bench::LoadResult result;
  bool done = false;
  int began = 0;

  Status run(const bench::LoadOptions& options) {
    bench::Load::Events events;
    events.counting = [this] { ++began; };
    events.counted = [this](bench::LoadResult counted) { result = std::move(counted); };
    events.done = [this] { done = true; };
    auto load = bench::Load::start(host.host(), device, options, std::move(events));
    if (!load.ok()) return load.error();
    CHECK(world.run_until([this] { return done; }, 60s));
    return {};
  }
};

bench::LoadOptions for_a_second() {
  bench::LoadOptions options;
  options.time = 1s;
  options.depth = 4;
  return options;
}

}  // namespace

TEST_CASE("the depth of each job is in flight at all times, and counted after the ramp only") {
  Stage stage;
  auto options = for_a_second();
  options.jobs = 3;
  options.ramp = 500ms;
  REQUIRE(stage.run(options).ok());
  CHECK(stage.device.in_flight_most == 12);
  CHECK(stage.began == 1);
  CHECK(stage.result.seconds == doctest::Approx(1).epsilon(0.01));
  CHECK(stage.result.operations() == doctest::Approx(12000).epsilon(0.01));
  CHECK(stage.device.writes == doctest::Approx(18000).epsilon(0.01));
  CHECK(stage.result.writes.latency.percentile(0.5) == doctest::Approx(1e6).epsilon(0.04));
  CHECK(stage.result.errors == 0);
}

TEST_CASE("sequential jobs go over their own part, in order, and begin again at its end") {
  Stage stage;
  auto options = for_a_second();
  options.sequential = true;
  options.jobs = 2;
  options.depth = 1;
  options.block_bytes = 64 << 10;
  options.operations_max = 40;
  REQUIRE(stage.run(options).ok());
  std::vector<uint64_t> halves[2];
  for (const uint64_t place : stage.device.places) halves[place / (512 << 10)].push_back(place);
  for (const auto& half : halves) {
    REQUIRE(half.size() == 20);
    for (size_t i = 1; i < half.size(); ++i)
      CHECK(half[i] == (i % 8 == 0 ? half[0] : half[i - 1] + (64 << 10)));
  }
}

TEST_CASE("a mix has its share of reads, and all places are met") {
  Stage stage;
  auto options = for_a_second();
  options.reads_percent = 70;
  REQUIRE(stage.run(options).ok());
  const double share = static_cast<double>(stage.result.reads.operations) /
                       static_cast<double>(stage.result.operations());
  CHECK(share == doctest::Approx(0.7).epsilon(0.05));
  CHECK(std::set<uint64_t>(stage.device.places.begin(), stage.device.places.end()).size() == 256);
  CHECK(stage.result.errors == 0);
}

TEST_CASE("content that no load has written is an error, unless nobody looks") {
  for (const bool verify : {true, false}) {
    Stage stage;
    stage.device.spoil(8192);
    auto options = for_a_second();
    options.reads_percent = 100;
    options.verify = verify;
    REQUIRE(stage.run(options).ok());
    CHECK((stage.result.errors > 0) == verify);
    CHECK((stage.result.first_error.find("8192") != std::string::npos) == verify);
  }
}

TEST_CASE("an operation that fails is counted as an error; a closed device ends the load") {
  Stage stage;
  stage.device.refuse[4096] = Code::damaged;
  REQUIRE(stage.run(for_a_second()).ok());
  CHECK(stage.result.errors > 0);
  CHECK(stage.result.seconds == doctest::Approx(1).epsilon(0.01));

  Stage closed;
  closed.device.refuse[4096] = Code::closed;
  REQUIRE(closed.run(for_a_second()).ok());
  CHECK(closed.result.seconds < 0.9);
  CHECK(closed.result.first_error.find("as told") != std::string::npos);
}

TEST_CASE("options that do not fit the device are refused with the reason") {
  Stage stage;
  const auto refused = [&](auto change, const char* reason) {
    auto options = for_a_second();
    change(options);
    const Status status = stage.run(options);
    REQUIRE(!status.ok());
    CHECK(status.error().message().find(reason) != std::string::npos);
  };
  refused([](auto& o) { o.block_bytes = 1000; }, "multiple of 4096");
  refused([](auto& o) { o.from = 2 << 20; }, "beyond the end");
  refused([](auto& o) { o.bytes = 2 << 20; }, "beyond the end");
  refused([](auto& o) { o.bytes = 8192, o.jobs = 3; }, "each job");
  refused([](auto& o) { o.depth = 0; }, "in flight");
  refused([](auto& o) { o.reads_percent = 101; }, "100 percent");
  stage.device.is_read_only = true;
  refused([](auto&) {}, "reading only");
}
