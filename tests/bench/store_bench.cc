// store_bench: CPU per 4 KiB write and read of the store at depth 1 and 32 on a MemoryDisk, memory
// per TiB, and amplification.
//
//   store_bench PATH      PATH: a file on tmpfs of any size up to 1 GiB, made here
#include "store_load.h"

using namespace sp;
using namespace sp::bench;

namespace {

constexpr uint64_t device_bytes = 1ull << 30;

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
  Status formatted = format(**real, **disk);
  auto opened = formatted.ok() ? open(**real, std::move(*disk)) : formatted.error();
  if (!opened.ok()) {
    std::fprintf(stderr, "%s\n", opened.error().message().c_str());
    return 1;
  }
  StoreLoad load{**real, std::move(*opened)};
  using Order = StoreLoad::Order;
  load.crc = crc64(load.data.bytes());
  load.blocks = load.store->stats().blocks_total * 90 / 100;
  load.run("fill, sequential", true, Order::sequential, 32, load.blocks);
  load.run("random write at 90 % full", true, Order::random, 32, 300'000);
  load.run("random write at 90 % full", true, Order::random, 1, 50'000);
  load.run("random read", false, Order::random, 32, 500'000);
  load.run("random read", false, Order::random, 1, 100'000);
  load.store.reset();
  return 0;
}
