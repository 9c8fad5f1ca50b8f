// index_bench: what a store of a large disk takes in memory, does at that size, and how soon it
// opens. The disk is a sparse file of which log and tables are kept; data blocks, which are all
// alike here, are neither written nor read.
//
//   index_bench PATH GIB     PATH: a file made here, and removed; GIB: the size of the disk; about
//                            16 MiB of the file are used for each
#include <unistd.h>

#include <cstring>

#include "store_load.h"

using namespace sp;
using namespace sp::bench;

namespace {

// A disk whose data region holds one content everywhere and takes everything.
class WithoutData final : public io::Disk {
 public:
  WithoutData(std::unique_ptr<io::Disk> disk, io::RealHost& real, const disk::Layout& layout)
      : disk_(std::move(disk)), real_(real), layout_(layout) {}
  uint64_t size_bytes() const override { return disk_->size_bytes(); }
  uint32_t alignment() const override { return disk_->alignment(); }
  void read(uint64_t offset, MutableBytes into, io::DiskDone done) override {
    if (!is_data(offset)) {
      table_reads++;
      return disk_->read(offset, into, std::move(done));
    }
    std::memset(into.data(), 0, into.size());
    finish(std::move(done));
  }
  void write(uint64_t offset, Bytes from, io::DiskDone done) override {
    if (!is_data(offset)) return disk_->write(offset, from, std::move(done));
    finish(std::move(done));
  }
  void flush(io::DiskDone done) override { finish(std::move(done)); }  // the process stays
  void discard(uint64_t, uint64_t, io::DiskDone done) override { finish(std::move(done)); }

  static inline uint64_t table_reads = 0;

 private:
  bool is_data(uint64_t offset) const {
    return offset >= layout_.data_offset && offset < layout_.data_offset + layout_.data_bytes;
  }
  void finish(io::DiskDone done) {
    auto kept = std::make_unique<io::DiskDone>(std::move(done));
    real_.host().reactor.post([kept = std::move(kept), alive = std::weak_ptr<char>(alive_)] {
      if (alive.lock()) kept->call_once(Status());
    });
  }

  std::unique_ptr<io::Disk> disk_;
  io::RealHost& real_;
  disk::Layout layout_;
  std::shared_ptr<char> alive_ = std::make_shared<char>();
};

class Run {
 public:
  Run(io::RealHost& real, std::string path, uint64_t device_bytes)
      : path_(std::move(path)), device_bytes_(device_bytes), load_{real} {}
  ~Run() {
    load_.store.reset();
    remove();
  }

  void make() {
    load_.store.reset();
    remove();
    io::OpenOptions options;
    options.mode = io::OpenOptions::Mode::create;
    options.size_bytes = device_bytes_;
    auto disk = load_.real.host().disks.open(path_, options);
    check(disk.ok() ? Status() : Status(disk.error()));
    check(format(load_.real, **disk));
    disk->reset();
    reopen("a new disk");
    load_.sequence = 0;
    load_.blocks = load_.store->stats().blocks_total * 94 / 100;
  }

  void reopen(const char* what) {
    load_.store.reset();
    auto layout = disk::plan_layout(device_bytes_);
    auto disk = load_.real.host().disks.open(path_, {});
    check(disk.ok() ? Status() : Status(disk.error()));
    const double cpu = cpu_us();
    const auto began = load_.real.host().clock.now();
    auto without_data = std::make_unique<WithoutData>(std::move(*disk), load_.real, *layout);
    auto opened = open(load_.real, io::count(std::move(without_data), load_.counts));
    check(opened.ok() ? Status() : Status(opened.error()));
    load_.store = std::move(*opened);
    std::printf("%-28s opened in %.2f s, %.2f s of CPU\n", what,
                double((load_.real.host().clock.now() - began).count()) / 1e9,
                (cpu_us() - cpu) / 1e6);
    memory(what);
  }

  void stop() {
    const double cpu = cpu_us();
    const auto began = load_.real.host().clock.now();
    check(blocking(load_.real, [this](auto done) { load_.store->save_index(std::move(done)); }));
    std::printf("%-28s index saved in %.2f s, %.2f s of CPU\n", "a stop",
                double((load_.real.host().clock.now() - began).count()) / 1e9,
                (cpu_us() - cpu) / 1e6);
  }

  void memory(const char* what) {
    const store::Stats stats = load_.store->stats();
    const double share = double(device_bytes_) / double(1ull << 40);
    std::printf("%-28s %.3f GiB per TiB, and %.0f MiB of the slot table\n", what,
                double(stats.memory_bytes - stats.table_bytes) / share / double(1 << 30),
                double(stats.table_bytes) / double(1 << 20));
  }

  StoreLoad& load() { return load_; }

 private:
  static void check(const Status& status) {
    if (status.ok()) return;
    std::fprintf(stderr, "%s\n", status.error().message().c_str());
    std::exit(1);
  }
  void remove() {
    constexpr std::string_view memory = "memory:";
    ::unlink(path_.c_str() + (path_.starts_with(memory) ? memory.size() : 0));
  }
  std::string path_;
  uint64_t device_bytes_;
  StoreLoad load_;
};

}  // namespace

int main(int argc, char** argv) {
  if (argc != 3 || std::atoll(argv[2]) < 1) {
    std::fprintf(stderr, "usage: index_bench PATH GIB\n");
    return 2;
  }
  std::setvbuf(stdout, nullptr, _IOLBF, 0);
  auto real = io::RealHost::create({.name = "index_bench", .log_least = LogLevel::warning});
  if (!real.ok()) return 1;
  Run run(**real, argv[1], uint64_t(std::atoll(argv[2])) << 30);
  using Order = StoreLoad::Order;
  StoreLoad& load = run.load();
  run.make();
  load.run("fill, sequential", true, Order::sequential, 32, load.blocks);
  run.memory("94 % full, sequential");
  run.make();
  load.run("fill, scattered", true, Order::scattered, 32, load.blocks);
  run.memory("94 % full, scattered");
  load.run("random write at 94 % full", true, Order::random, 32, 2'000'000);
  load.run("random write at 94 % full", true, Order::random, 1, 100'000);
  run.memory("after random writes");
  const uint64_t reads = WithoutData::table_reads;
  load.run("random read", false, Order::random, 32, 500'000);
  std::printf("%-28s %.2f table reads per read\n", "random read",
              double(WithoutData::table_reads - reads) / 500'000);
  run.reopen("after a kill");
  run.stop();
  run.reopen("after a stop");
  return 0;
}
