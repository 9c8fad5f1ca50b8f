// volume_bench: load on an attached volume through the client library, without a device in between,
// and what it costs.
//
//   volume_bench --config F --node N --volume NAME [--operation read|write] [--depth D] [--block
//   BYTES] [--seconds S] [--servers PID,PID...]
//
// Prints one tab-separated line: operation, depth, block bytes, operations a second, median and
// 99th percentile latency in us, CPU us an operation of this process (client) and of the given
// server processes together, errors. Content is a function of the offset, and is checked on reads
// of what was written.
#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <string>
#include <vector>

#include "cli/config.h"
#include "cli/options.h"
#include "client/standalone.h"
#include "io/real_host.h"

using namespace sp;

namespace {

struct Load {
  bool write = true;
  uint64_t depth = 32, block = 4096, seconds = 5;
  std::vector<int> servers;
};

double process_cpu_us(int pid) {
  std::ifstream stat("/proc/" + std::to_string(pid) + "/stat");
  std::string text((std::istreambuf_iterator<char>(stat)), {});
  const auto behind_name = text.rfind(')');
  if (behind_name == std::string::npos) return 0;
  unsigned long user = 0, system = 0;
  std::sscanf(text.c_str() + behind_name + 2, "%*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %lu %lu",
              &user, &system);
  return static_cast<double>(user + system) * 1e6 / static_cast<double>(sysconf(_SC_CLK_TCK));
}

double own_cpu_us() {
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  const auto us = [](const timeval& t) {
    return static_cast<double>(t.tv_sec) * 1e6 + static_cast<double>(t.tv_usec);
  };
  return us(usage.ru_utime) + us(usage.ru_stime);
}

class Runner {
 public:
  Runner(io::RealHost& real, client::BlockDevice& device, const Load& load)
      : real_(real), device_(device), load_(load) {
    for (uint64_t i = 0; i < load.depth; ++i) slots_.push_back({Buffer::zeroed(load.block), {}, 0});
  }

  void run() {
    const io::Instant begin = now();
    end_ = begin + std::chrono::seconds(load_.seconds);
    double servers = 0;
    for (const int pid : load_.servers) servers -= process_cpu_us(pid);
    const double own = own_cpu_us();
    for (size_t i = 0; i < slots_.size(); ++i) issue(i);
    real_.run_until([this] { return open_ == 0; }, std::chrono::seconds(load_.seconds + 60));
    for (const int pid : load_.servers) servers += process_cpu_us(pid);
    const double wall = std::chrono::duration<double>(now() - begin).count();
    const double count = static_cast<double>(std::max<size_t>(latencies_.size(), 1));
    std::sort(latencies_.begin(), latencies_.end());
    const auto at = [&](double share) {
      return latencies_.empty()
                 ? 0.0
                 : static_cast<double>(latencies_[static_cast<size_t>(share * (count - 1))]) / 1e3;
    };
    std::printf("%s\t%lu\t%lu\t%.0f\t%.1f\t%.1f\t%.2f\t%.2f\t%lu\n", load_.write ? "write" : "read",
                load_.depth, load_.block, count / wall, at(0.5), at(0.99),
                (own_cpu_us() - own) / count, servers / count, errors_);
  }

 private:
  struct Slot {
    Buffer buffer;
    io::Instant started;
    uint64_t offset;
  };
  io::Instant now() { return real_.host().clock.now(); }

  void issue(size_t i) {
    Slot& slot = slots_[i];
    slot.offset = real_.host().random.below(device_.size_bytes() / load_.block) * load_.block;
    slot.started = now();
    ++open_;
    auto done = [this, i](Status status) { completed(i, status); };
    if (load_.write) {
      for (size_t at = 0; at < load_.block; at += limits::block_bytes) {
        const uint64_t stamp = mix64(slot.offset + at);
        std::memcpy(slot.buffer.data() + at, &stamp, sizeof stamp);
      }
      device_.write(slot.offset, slot.buffer.bytes(), done);
    } else {
      device_.read(slot.offset, slot.buffer.mutable_bytes(), done);
    }
  }

  void completed(size_t i, const Status& status) {
    Slot& slot = slots_[i];
    latencies_.push_back((now() - slot.started).count());
    --open_;
    if (!status.ok()) ++errors_;
    for (size_t at = 0; !load_.write && status.ok() && at < load_.block;
         at += limits::block_bytes) {
      uint64_t stamp = 0;
      std::memcpy(&stamp, slot.buffer.data() + at, sizeof stamp);
      if (stamp != 0 && stamp != mix64(slot.offset + at)) ++errors_;
    }
    if (now() < end_) issue(i);
  }

  io::RealHost& real_;
  client::BlockDevice& device_;
  Load load_;
  std::vector<Slot> slots_;
  std::vector<int64_t> latencies_;
  io::Instant end_;
  uint64_t open_ = 0, errors_ = 0;
};

int fail(const Error& error) {
  std::fprintf(stderr, "volume_bench: %s\n", error.message().c_str());
  return 1;
}

}  // namespace

int main(int argc, char** argv) {
  cli::Options options("volume_bench", "Load on a volume through the client library.");
  cli::ClusterOptions cluster;
  cluster.add(options);
  std::string volume, operation = "write", servers;
  std::optional<uint64_t> depth, block, seconds;
  options.text("--volume", "NAME", volume, "the volume").required();
  options.choice("--operation", {"read", "write"}, operation, "what to do");
  options.number("--depth", 1, 1024, depth, "operations in flight");
  options.size("--block", block, "bytes an operation");
  options.number("--seconds", 1, 3600, seconds, "how long");
  options.text("--servers", "PIDS", servers, "server processes to measure");
  if (auto code = options.parse(argc, argv)) return *code;

  Load load;
  load.write = operation == "write";
  load.depth = depth.value_or(32);
  load.block = block.value_or(4096);
  load.seconds = seconds.value_or(5);
  for (const char* at = servers.c_str(); *at != 0;) {
    char* end = nullptr;
    load.servers.push_back(static_cast<int>(std::strtol(at, &end, 10)));
    at = *end == ',' ? end + 1 : end;
    if (end == at && *at != 0)
      return fail(Error(Code::invalid, "--servers takes numbers with commas"));
  }
  auto config = cluster.load();
  if (!config.ok()) return fail(config.error());
  auto own = cluster.own(*config);
  if (!own.ok()) return fail(own.error());
  auto key = cli::load_key(*config);
  if (!key.ok()) return fail(key.error());
  auto real = io::RealHost::create();
  if (!real.ok()) return fail(real.error());

  client::StandaloneOptions standalone;
  standalone.key.bytes = *key;
  standalone.cluster = config->cluster_id;
  standalone.node = own->id;
  standalone.beacons = cli::beacon_addresses(*config, own->id);
  standalone.volume = volume;
  std::optional<Result<std::unique_ptr<client::Standalone>>> attached;
  auto attempt = client::Standalone::attach(
      (*real)->host(), standalone,
      [&](Result<std::unique_ptr<client::Standalone>> result) { attached = std::move(result); });
  (*real)->run_until([&] { return attached.has_value(); }, std::chrono::seconds(60));
  if (!attached || !attached->ok())
    return fail(attached ? attached->error() : Error(Code::timed_out, "no cluster"));
  Runner(**real, (**attached)->volume(), load).run();
  bool detached = false;
  (**attached)->detach([&](Status) { detached = true; });
  (*real)->run_until([&] { return detached; }, std::chrono::seconds(10));
  return 0;
}
