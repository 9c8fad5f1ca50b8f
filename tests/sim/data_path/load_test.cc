// The file system and the database of the simulation, on a device that does what a block device may
// do at worst: what was not flushed is lost at a crash, block by block. There they must find
// nothing. Where the device does what it may not, they must.
#include <doctest/doctest.h>

#include <map>

#include "io/sim_world.h"
#include "sim/database_load.h"
#include "sim/journal_load.h"

namespace sp::sim {
namespace {

using std::chrono::milliseconds;

class CachedDevice final : public client::BlockDevice {
 public:
  explicit CachedDevice(io::SimHost& host) : host_(host) {}

  uint64_t size_bytes() const override { return 8u << 20; }
  bool read_only() const override { return false; }
  void read(uint64_t offset, MutableBytes into, Done done) override {
    for (size_t at = 0; at < into.size(); at += limits::block_bytes) {
      const auto found = seen_.find((offset + at) / limits::block_bytes);
      const bool known = found != seen_.end() && found->second;
      const auto target = into.subspan(at, limits::block_bytes);
      if (known)
        std::copy_n(found->second.data(), limits::block_bytes, target.data());
      else
        std::fill(target.begin(), target.end(), std::byte{0});
    }
    end(std::move(done));
  }
  void write(uint64_t offset, Bytes from, Done done) override {
    for (size_t at = 0; at < from.size(); at += limits::block_bytes)
      change((offset + at) / limits::block_bytes,
             Buffer::copy_of(from.subspan(at, limits::block_bytes)));
    end(std::move(done));
  }
  void write_zeroes(uint64_t offset, uint64_t size, Done done) override {
    discard(offset, size, std::move(done));
  }
  void discard(uint64_t offset, uint64_t size, Done done) override {
    for (uint64_t at = 0; at < size; at += limits::block_bytes)
      change((offset + at) / limits::block_bytes, {});
    end(std::move(done));
  }
  void flush(Done done) override {
    if (!lies) cached_.clear(), durable_ = seen_;
    end(std::move(done));
  }

  // Of each block some of what was not flushed is there, and nothing that came later.
  void crash() {
    seen_ = durable_;
    for (auto& [block, data] : std::exchange(cached_, {}))
      if (host_.host().random.below(2) == 0) seen_[block] = data;
    durable_ = seen_;
  }
  void lose(uint64_t block) { seen_.erase(block), durable_.erase(block); }
  Buffer& content(uint64_t block) { return durable_[block] = seen_[block]; }

  bool lies = false;                    // about flushes
  uint64_t lost_from = 0, lost_to = 0;  // writes there are acknowledged, and nothing else

 private:
  void change(uint64_t block, Buffer data) {
    if (block >= lost_from && block < lost_to) return;
    cached_.emplace_back(block, data);
    seen_[block] = std::move(data);
  }
  void end(Done done) {
    auto box = std::make_shared<Done>(std::move(done));
    host_.later(std::chrono::microseconds(50 + host_.host().random.below(400)),
                [box] { box->call_once(Status()); });
  }
  io::SimHost& host_;
  std::map<uint64_t, Buffer> seen_, durable_;
  std::vector<std::pair<uint64_t, Buffer>> cached_;
};

template <class Load>
struct Bench {
  explicit Bench(uint64_t seed) : world(seed), host(world.add_host("host", "10.0.0.1")) {
    device = std::make_unique<CachedDevice>(host);
  }

  void begin(bool in_history = false) {
    LoadOptions options;
    options.blocks.volume = 1 + world.seed() % 3;
    options.blocks.session = ++session;
    if (in_history) options.blocks.history = &history;
    options.session = session;
    options.depth = 3;
    options.think_mean = milliseconds(2);
    load = std::make_unique<Load>(host.host(), *device, ledger, last_stamp, options);
    load->start();
  }
  void crash() {
    host.kill(io::SimHost::Death::power);
    load.reset();
    device->crash();
    host.restart();
  }
  std::string end() {
    load->stop();
    CHECK(world.run_until([&] { return load->idle(); }, std::chrono::seconds(60)));
    return load->failure();
  }
  // Until something is found.
  std::string run(int rounds) {
    for (int i = 0; i < rounds; ++i) {
      begin();
      world.run_for(milliseconds(world.random().below(world.random().below(3) == 0 ? 8 : 150)));
      if (!load->failure().empty()) return load->failure();
      crash();
    }
    begin();
    world.run_for(milliseconds(100));
    return end();
  }

  io::SimWorld world;
  io::SimHost& host;
  std::unique_ptr<CachedDevice> device;
  Ledger ledger;
  Linearizability history;
  uint64_t last_stamp = 0, session = 0;
  std::unique_ptr<Load> load;
};

bool says(const std::string& failure, const char* words) {
  CAPTURE(failure);
  return failure.find(words) != std::string::npos;
}

TEST_CASE_TEMPLATE("a device that loses only what was not flushed satisfies", Load, JournalLoad,
                   DatabaseLoad) {
  uint64_t transactions = 0;
  for (uint64_t seed = 1; seed <= 15; ++seed) {
    Bench<Load> bench(seed);
    CAPTURE(seed);
    REQUIRE_EQ(bench.run(30), "");
    transactions += bench.ledger.acknowledged_to();
  }
  CHECK_GT(transactions, 2000);
}

TEST_CASE_TEMPLATE("a flush that lies is found by", Load, JournalLoad, DatabaseLoad) {
  int found = 0;
  for (uint64_t seed = 1; seed <= 10; ++seed) {
    Bench<Load> bench(seed);
    bench.begin();
    bench.world.run_for(milliseconds(200));
    bench.device->lies = true;
    found += bench.run(10).empty() ? 0 : 1;
  }
  CHECK_EQ(found, 10);
}

TEST_CASE("journal: each thing that a mount compares is missed when it is not there") {
  Bench<JournalLoad> bench(7);
  bench.begin();
  bench.world.run_for(milliseconds(300));
  const uint64_t blocks = bench.device->size_bytes() / limits::block_bytes;
  SUBCASE("an acknowledged transaction") {
    REQUIRE_EQ(bench.end(), "");
    bench.device->lost_from = 1, bench.device->lost_to = 41;
    bench.begin();
    bench.world.run_for(milliseconds(300));
    bench.crash();
    bench.begin();
    bench.world.run_for(milliseconds(20));
    CHECK(says(bench.load->failure(), "was acknowledged, and the newest that is there is"));
  }
  SUBCASE("a part of a transaction, and the block that lacks it") {
    // Of each transaction whatever lies in one of the journal's blocks is lost.
    bool in_part = false;
    for (uint64_t block = 2; block < 41 && !in_part; ++block) {
      Bench<JournalLoad> other(block);
      other.device->lost_from = block, other.device->lost_to = block + 1;
      const std::string failure = other.run(20);
      CHECK_FALSE(failure.empty());
      in_part = failure.find("is committed and there in part") != std::string::npos;
    }
    CHECK(in_part);
  }
  SUBCASE("an inode in its place") {
    REQUIRE_EQ(bench.end(), "");
    for (uint64_t i = 0; i < 16; ++i) bench.device->lose(blocks / 4 + i);
    bench.begin();
    bench.world.run_for(milliseconds(20));
    CHECK(says(bench.load->failure(), "left it, not as it was after"));
  }
  SUBCASE("the data of a file") {
    REQUIRE_EQ(bench.end(), "");
    for (uint64_t i = 0; i < 96; ++i) bench.device->lose(blocks / 2 - 48 + i);
    bench.begin();
    bench.world.run_for(milliseconds(20));
    CHECK(says(bench.load->failure(), "holds zeros, not stamp"));
  }
  SUBCASE("the superblock") {
    REQUIRE_EQ(bench.end(), "");
    bench.device->lose(0);
    bench.begin();
    bench.world.run_for(milliseconds(20));
    CHECK(says(bench.load->failure(), "block 0: the superblock is gone"));
  }
  SUBCASE("a whole block") {
    REQUIRE_EQ(bench.end(), "");
    bench.device->content(blocks / 2 - 48 + 5) = Buffer::zeroed(limits::block_bytes);
    bench.device->content(blocks / 2 - 48 + 5).data()[100] = std::byte{1};
    bench.begin();
    bench.world.run_for(milliseconds(20));
    CHECK(says(bench.load->failure(), "reads as something that nobody wrote there"));
  }
}

TEST_CASE("database: each thing that a recovery compares is missed when it is not there") {
  Bench<DatabaseLoad> bench(7);
  bench.begin();
  bench.world.run_for(milliseconds(400));
  std::string failure;
  SUBCASE("the end of the log") {
    bench.device->lost_from = 1, bench.device->lost_to = 73;
    bench.world.run_for(milliseconds(40));
    bench.crash();
    bench.begin();
    bench.world.run_for(milliseconds(20));
    CHECK_FALSE(bench.load->failure().empty());
  }
  SUBCASE("a page, or a part of it") {
    // Written pages that are not there: of some the log has the image, of the others they are
    // missed.
    for (int round = 0; round < 40 && failure.empty(); ++round) {
      bench.device->lost_from = 100 + 10 * static_cast<uint64_t>(round);
      bench.device->lost_to = bench.device->lost_from + 200;
      failure = bench.run(2);
    }
    CHECK_FALSE(failure.empty());
  }
  SUBCASE("the control block") {
    REQUIRE_EQ(bench.end(), "");
    bench.device->lose(0);
    bench.begin();
    bench.world.run_for(milliseconds(20));
    CHECK(says(bench.load->failure(), "block 0: the control block is gone"));
  }
}

TEST_CASE_TEMPLATE("all blocks are judged as registers, too, by", Load, JournalLoad, DatabaseLoad) {
  Bench<Load> bench(3);
  bench.begin(true);
  bench.world.run_for(milliseconds(300));
  CHECK_EQ(bench.end(), "");
  CHECK_FALSE(bench.history.check().has_value());
  CHECK_GT(bench.history.writes(), 100u);
  bench.device->lose(0);
  bench.begin(true);
  bench.world.run_for(milliseconds(20));
  REQUIRE(bench.history.check().has_value());
  CHECK(says(*bench.history.check(), " block 0: zeros read"));
}

TEST_CASE("ledger: what was acknowledged to a client that had lost the volume has to be there") {
  Ledger ledger;
  CHECK_EQ(ledger.settle(1, 0), "");
  ledger.issued(1, 1, {{7, 70}});
  ledger.issued(1, 2, {{8, 80}});
  CHECK_EQ(ledger.acknowledged(1, 1), "");
  CHECK_FALSE(ledger.recovered(0).empty());
  CHECK_FALSE(ledger.recovered(3).empty());
  CHECK_EQ(ledger.recovered(1), "");
  CHECK_EQ(ledger.cells(1), Ledger::Cells{{7, 70}});
  CHECK_EQ(ledger.cells(2), Ledger::Cells{{7, 70}, {8, 80}});
  CHECK_EQ(ledger.settle(2, 1), "");
  CHECK_FALSE(ledger.acknowledged(1, 2).empty());
  CHECK_EQ(ledger.cells(2), Ledger::Cells{{7, 70}});
}

}  // namespace
}  // namespace sp::sim
