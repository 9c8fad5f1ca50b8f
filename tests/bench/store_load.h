// StoreLoad: a Store under random or sequential 4 KiB operations of one depth, and what they cost.
#pragma once
#include <sys/resource.h>

#include <cstdio>
#include <cstdlib>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/checksum.h"
#include "disk/superblock.h"
#include "io/counted_disk.h"
#include "io/real_host.h"
#include "store/store.h"

namespace sp::bench {

inline constexpr SetId the_set{1, 0};

inline double cpu_us() {
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  const auto us = [](const timeval& t) { return double(t.tv_sec) * 1e6 + double(t.tv_usec); };
  return us(usage.ru_utime) + us(usage.ru_stime);
}

struct StoreLoad {
  // scattered: each block once, far from the last
  enum class Order : uint8_t { sequential, scattered, random };

  explicit StoreLoad(io::RealHost& real_) : real(real_) {
    crcs.assign(limits::io_blocks_max, crc64(data.bytes().first(4096)));
  }

  io::RealHost& real;
  std::unique_ptr<store::Store> store;
  std::shared_ptr<io::DiskCounts> counts = std::make_shared<io::DiskCounts>();
  Buffer data = Buffer::zeroed(limits::io_blocks_max * 4096);
  std::vector<uint64_t> crcs;
  uint16_t size = 1;  // blocks of an operation
  uint64_t sequence = 0, issued = 0, finished = 0, count = 0;
  uint64_t blocks = 0, salt = 0;
  Order order = Order::random;
  uint64_t depth = 1;
  bool writing = true;
  std::vector<Buffer> into;
  io::Instant last;
  int64_t pause_ns = 0;  // the longest one between two that finish

  uint64_t block_number(uint64_t n) const {
    switch (order) {
      case Order::sequential: return n % blocks;
      case Order::scattered: return n % blocks * 11'400'714'819 % blocks;  // a prime
      case Order::random: return mix64(n ^ salt) % blocks;
    }
    return 0;
  }

  void issue(uint64_t lane) {
    if (issued == count) return;
    const uint64_t at = block_number(issued++) / size * size;
    const ObjectId object{1, static_cast<uint32_t>(at / limits::blocks_per_object)};
    const auto block = static_cast<uint16_t>(at % limits::blocks_per_object);
    if (!writing) {
      store->read(object, block, size, into[lane].mutable_bytes(),
                  [this, lane](Result<std::vector<store::BlockRead>> read) {
                    if (!read.ok()) std::abort();
                    finish(lane);
                  });
      return;
    }
    store::WriteRecord record;
    record.set = the_set;
    record.version = Version(1, ++sequence);
    record.object = object;
    record.first_block = block;
    record.block_count = size;
    record.operation = {1, 1, sequence};
    const Version version = record.version;
    store->prepare(record, std::span(crcs).first(size), data, 0,
                   [this, lane, version](Status status) {
                     if (!status.ok()) std::abort();
                     store->decide(the_set, version);
                     finish(lane);
                   });
  }

  void finish(uint64_t lane) {
    const io::Instant now = real.host().clock.now();
    pause_ns = std::max<int64_t>(pause_ns, (now - last).count());
    last = now;
    finished++;
    issue(lane);
  }

  void run(const char* name, bool write, Order in_order, uint64_t lanes, uint64_t operations) {
    writing = write;
    salt += uint64_t{1} << 40;
    order = in_order;
    depth = lanes;
    issued = finished = 0;
    count = operations;
    into.assign(lanes, Buffer::zeroed(size * 4096ul));
    pause_ns = 0;
    const double cpu = cpu_us();
    const auto began = real.host().clock.now();
    const uint64_t written = store->stats().device_bytes_written;
    const uint64_t writes = counts->writes;
    last = began;
    for (uint64_t lane = 0; lane < lanes; lane++) issue(lane);
    real.run_until([this] { return finished == count; }, std::chrono::hours(1));
    const double wall_us = double((real.host().clock.now() - began).count()) / 1000;
    const double amplification =
        double(store->stats().device_bytes_written - written) / double(operations * size * 4096);
    std::printf("%-28s depth %2lu  cpu %7.2f us/op  wall %7.2f us/op  longest pause %6.1f ms", name,
                static_cast<unsigned long>(lanes), (cpu_us() - cpu) / double(operations),
                wall_us / double(operations), double(pause_ns) / 1e6);
    if (write)
      std::printf("  %7.2f writes/op  amplification %.2f",
                  double(counts->writes - writes) / double(operations), amplification);
    std::printf("\n");
  }
};

// Runs until the call is done.
template <class Call>
Status blocking(io::RealHost& real, Call&& call) {
  std::optional<Status> outcome;
  call([&outcome](Status status) { outcome = std::move(status); });
  real.run_until([&outcome] { return outcome.has_value(); }, std::chrono::hours(10));
  return std::move(*outcome);
}

inline Status format(io::RealHost& real, io::Disk& disk) {
  disk::FormatOptions options;
  options.cluster = 1;
  options.disk = 1;
  options.write_in_full = false;
  std::optional<Result<disk::Superblock>> outcome;
  disk::format(real.host(), disk, options,
               [&outcome](Result<disk::Superblock> made) { outcome.emplace(std::move(made)); });
  real.run_until([&outcome] { return outcome.has_value(); }, std::chrono::hours(1));
  if (!outcome->ok()) return outcome->error();
  return {};
}

inline Result<std::unique_ptr<store::Store>> open(io::RealHost& real,
                                                  std::unique_ptr<io::Disk> disk,
                                                  const store::Options& options = {}) {
  std::optional<Result<std::unique_ptr<store::Store>>> outcome;
  store::Store::open(real.host(), std::move(disk), options,
                     [&outcome](Result<std::unique_ptr<store::Store>> opened) {
                       outcome.emplace(std::move(opened));
                     });
  real.run_until([&outcome] { return outcome.has_value(); }, std::chrono::hours(1));
  return std::move(*outcome);
}

}  // namespace sp::bench
