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
  enum class Order {
    sequential,
    scattered,
    random
  };  // scattered: each block once, far from the last

  io::RealHost& real;
  std::unique_ptr<store::Store> store;
  Buffer data = Buffer::zeroed(4096);
  uint64_t crc = 0;
  uint64_t sequence = 0, issued = 0, finished = 0, count = 0;
  uint64_t blocks = 0, salt = 0;
  Order order = Order::random;
  uint64_t depth = 1;
  bool writing = true;
  std::vector<Buffer> into;

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

  void run(const char* name, bool write, Order in_order, uint64_t lanes, uint64_t operations) {
    writing = write;
    salt += uint64_t{1} << 40;
    order = in_order;
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
