// store_bench: CPU per 4 KiB write and read of the store at depth 1 and 32 on a MemoryDisk, and
// what becomes of random writes as the disk fills up.
//
//   store_bench PATH      PATH: a file on tmpfs of 1 GiB, made here, and removed
#include <unistd.h>

#include "store_load.h"

using namespace sp;
using namespace sp::bench;

namespace {

constexpr uint64_t device_bytes = 1ull << 30;
using Order = StoreLoad::Order;

// A new disk of which `percent` are written from front to back.
Status fill(StoreLoad& load, const std::string& path, uint64_t percent, const char* name) {
  load.store.reset();
  ::unlink(path.c_str());
  io::OpenOptions options;
  options.mode = io::OpenOptions::Mode::create;
  options.size_bytes = device_bytes;
  SP_TRY(auto disk, load.real.host().disks.open("memory:" + path, options));
  SP_CHECK(format(load.real, *disk));
  SP_TRY(load.store, open(load.real, io::count(std::move(disk), load.counts)));
  load.sequence = 0;
  load.blocks = load.store->stats().blocks_total * percent / 100;
  load.run(name, true, Order::sequential, 32, load.blocks);
  return {};
}

Status run(StoreLoad& load, const std::string& path) {
  SP_CHECK(fill(load, path, 90, "fill, sequential"));
  load.run("random write at 90 % full", true, Order::random, 32, 300'000);
  load.run("random write at 90 % full", true, Order::random, 1, 50'000);
  load.run("random read", false, Order::random, 32, 500'000);
  load.run("random read", false, Order::random, 1, 100'000);
  for (const uint64_t percent : {50, 80, 90, 94}) {
    const std::string at = " at " + std::to_string(percent) + " % full";
    SP_CHECK(fill(load, path, percent, ("fill to" + at.substr(3)).c_str()));
    load.run("until it is steady", true, Order::random, 32, 2 * load.blocks);
    load.run(("4 KiB write" + at).c_str(), true, Order::random, 16, 300'000);
  }
  load.size = limits::io_blocks_max;
  load.run("1 MiB write at 94 % full", true, Order::random, 8, 3'000);
  return {};
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 2) {
    std::fprintf(stderr, "usage: store_bench PATH\n");
    return 2;
  }
  std::setvbuf(stdout, nullptr, _IOLBF, 0);
  auto real = io::RealHost::create({.name = "store_bench", .log_least = LogLevel::warning});
  if (!real.ok()) return 1;
  Status status;
  {
    StoreLoad load{**real};
    status = run(load, argv[1]);
    load.store.reset();
  }
  ::unlink(argv[1]);
  if (!status.ok()) std::fprintf(stderr, "%s\n", status.error().message().c_str());
  return status.ok() ? 0 : 1;
}
