// store_bench: CPU per 4 KiB write and read of the store at depth 1 and 32 on a MemoryDisk, memory
// per TiB, and amplification.
//
//   store_bench PATH      PATH: a file on tmpfs of any size up to 1 GiB, made here
#include <sys/resource.h>

#include <cstdio>
#include <cstdlib>
#include <optional>

#include "disk/superblock.h"
#include "io/real_host.h"
#include "store/store.h"

using namespace sp;

namespace {

constexpr uint64_t device_bytes = 1ull << 30;
constexpr SetId the_set{1, 0};

double cpu_us() {
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  const auto us = [](const timeval& t) { return double(t.tv_sec) * 1e6 + double(t.tv_usec); };
  return us(usage.ru_utime) + us(usage.ru_stime);
}

struct Bench {
  io::RealHost& real;
  std::unique_ptr<store::Store> store;
  Buffer data = Buffer::zeroed(4096);
  uint64_t crc = 0;
  uint64_t sequence = 0, issued = 0, finished = 0, count = 0;
  uint64_t blocks = 0;
  bool random = true;
  uint64_t depth = 1;
  bool writing = true;
  std::vector<Buffer> into;

  uint64_t block_number(uint64_t n) const { return random ? mix64(n) % blocks : n % blocks; }

  void issue(uint64_t lane) {
    if (issued == count) return;
    const uint64_t at = block_number(issued++);
    const ObjectId object{1, static_cast<uint32_t>(at / limits::blocks_per_object)};
    const auto block = static_cast<uint16_t>(at % limits::blocks_per_object);
    if (!writing) {
      store->read(object, block, 1, into[lane].mutable_bytes(),
                  [this, lane](Result<std::vector<store::BlockRead>> read) {
                    if (!read.ok()) std::abort();
                    finished++;
                    issue(lane);
                  });
      return;
    }
    store::WriteRecord record;
    record.set = the_set;
    record.version = Version(1, ++sequence);
    record.object = object;
    record.first_block = block;
    record.block_count = 1;
    record.operation = {1, 1, sequence};
    const Version version = record.version;
    store->prepare(record, {&crc, 1}, data, 0, [this, lane, version](Status status) {
      if (!status.ok()) std::abort();
      store->decide(the_set, version);
      finished++;
      issue(lane);
    });
  }

  void run(const char* name, bool write, bool in_random_order, uint64_t lanes,
           uint64_t operations) {
    writing = write;
    random = in_random_order;
    depth = lanes;
    issued = finished = 0;
    count = operations;
    into.assign(lanes, Buffer::zeroed(4096));
    const double cpu = cpu_us();
    const auto began = real.host().clock.now();
    const uint64_t written = store->stats().device_bytes_written;
    for (uint64_t lane = 0; lane < lanes; lane++) issue(lane);
    real.run_until([this] { return finished == count; }, std::chrono::hours(1));
    const double wall_us = double((real.host().clock.now() - began).count()) / 1000;
    const double amplification =
        double(store->stats().device_bytes_written - written) / double(operations * 4096);
    std::printf("%-28s depth %2lu  cpu %6.2f us/op  wall %6.2f us/op  amplification %.2f\n", name,
                static_cast<unsigned long>(lanes), (cpu_us() - cpu) / double(operations),
                wall_us / double(operations), write ? amplification : 0.0);
  }
};

}  // namespace

int main(int argc, char** argv) {
  if (argc != 2) {
    std::fprintf(stderr, "usage: store_bench PATH\n");
    return 2;
  }
  auto real = io::RealHost::create({.name = "store_bench", .log_least = LogLevel::warning});
  if (!real.ok()) return 1;
  io::OpenOptions options;
  options.mode = io::OpenOptions::Mode::create;
  options.size_bytes = device_bytes;
  auto disk = (*real)->host().disks.open(std::string("memory:") + argv[1], options);
  if (!disk.ok()) {
    std::fprintf(stderr, "%s\n", disk.error().message().c_str());
    return 1;
  }
  std::optional<Status> done;
  disk::FormatOptions formatting;
  formatting.cluster = 1;
  formatting.disk = 1;
  disk::format((*real)->host(), **disk, formatting, [&](Result<disk::Superblock> made) {
    done.emplace();
    if (!made.ok()) std::abort();
  });
  (*real)->run_until([&] { return done.has_value(); }, std::chrono::hours(1));
  Bench bench{**real, nullptr};
  done.reset();
  store::Store::open((*real)->host(), std::move(*disk), {},
                     [&](Result<std::unique_ptr<store::Store>> opened) {
                       if (opened.ok()) bench.store = std::move(*opened);
                       if (!opened.ok()) std::abort();
                       done.emplace();
                     });
  (*real)->run_until([&] { return done.has_value(); }, std::chrono::hours(1));
  if (!done->ok()) {
    std::fprintf(stderr, "%s\n", done->error().message().c_str());
    return 1;
  }
  bench.crc = crc64(bench.data.bytes());
  const auto stats = bench.store->stats();
  bench.blocks = stats.blocks_total * 90 / 100;
  bench.run("fill, sequential", true, false, 32, bench.blocks);
  const double share = double(device_bytes) / double(1ull << 40);
  std::printf("memory at 90 %% full: %.2f GiB per TiB\n",
              double(bench.store->stats().memory_bytes) / share / double(1 << 30));
  bench.run("random write at 90 % full", true, true, 32, 300'000);
  bench.run("random write at 90 % full", true, true, 1, 50'000);
  bench.run("random read", false, true, 32, 500'000);
  bench.run("random read", false, true, 1, 100'000);
  bench.store.reset();
  return 0;
}
