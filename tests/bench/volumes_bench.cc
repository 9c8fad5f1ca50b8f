// volumes_bench: what many volumes and many clients cost, on the cluster of $SP_CONFIG, with
// volumes bench, many0, many1 and on of 4 MiB or more; every figure beside that of few.
//
//   volumes_bench volumes COUNT [SECONDS]   writes and reads of 4 KiB at depth 32 on one volume,
//       then as many blocks spread over COUNT thin volumes, of which each client has 1000
//   volumes_bench clients COUNT [SECONDS]   COUNT clients, each a process to the cluster, with a
//       volume of its own at depth 1; then beside one that has 4096 writes in flight
//
// CPU time is that of this process, and of all servers on this host. Nothing may fail meanwhile:
// the many volumes are not told of changes of the map.
#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <sstream>

#include "base/client_id.h"
#include "bench/load.h"
#include "cli/identity.h"
#include "client/standalone.h"
#include "io/real_host.h"
#include "store_load.h"

using namespace sp;
using namespace sp::bench;

namespace {

constexpr uint64_t blocks_all = (640u << 20) / limits::block_bytes;  // written on all volumes

[[noreturn]] void die(const std::string& why) {
  fmt::print(stderr, "volumes_bench: {}\n", why);
  std::exit(1);
}
template <class T>
T take(Result<T> result) {
  if (!result.ok()) die(result.error().message());
  return std::move(result).value();
}

// Of all processes of this name.
double cpu_us_of(const std::string& name) {
  double ticks = 0;
  for (const auto& entry : std::filesystem::directory_iterator("/proc")) {
    std::ifstream file(entry.path() / "stat");
    std::string stat;
    if (!std::getline(file, stat) || stat.find("(" + name + ")") == std::string::npos) continue;
    std::istringstream fields(stat.substr(stat.rfind(')') + 2));
    std::string skipped;
    for (int i = 3; i < 14; ++i) fields >> skipped;
    double user = 0, system = 0;
    fields >> user >> system;
    ticks += user + system;
  }
  return ticks * 1e6 / double(sysconf(_SC_CLK_TCK));
}

struct Cluster {
  io::RealHost& real;
  cli::Config config = take(cli::load_config(std::getenv("SP_CONFIG")));

  io::Host& host() const { return real.host(); }
  void wait(const std::function<bool()>& reached, const char* what) const {
    if (!real.run_until(reached, std::chrono::minutes(10)))
      die(fmt::format("{}: not done in ten minutes", what));
  }
  client::StandaloneOptions client(NodeId node, uint8_t instance, std::string volume) const {
    client::StandaloneOptions options;
    options.key.bytes = take(cli::load_key(config));
    options.cluster = config.cluster_id;
    options.node = node;
    options.instance = instance;
    options.beacons = cli::beacon_addresses(config, node);
    options.volume = std::move(volume);
    options.device = "volumes_bench";
    options.force = true;
    options.timeout = std::chrono::minutes(2);
    return options;
  }
  std::unique_ptr<client::Standalone> attach(client::StandaloneOptions options) const {
    std::unique_ptr<client::Standalone> attached;
    const auto attempt = client::Standalone::attach(
        host(), std::move(options), [&](Result<std::unique_ptr<client::Standalone>> result) {
          attached = take(std::move(result));
        });
    wait([&] { return attached != nullptr; }, "attaching");
    return attached;
  }
  uint64_t command(member::Member& member, const map::Command& command) const {
    std::optional<Result<uint64_t>> outcome;
    member.command(command, [&](Result<uint64_t> result) { outcome = std::move(result); });
    wait([&] { return outcome.has_value(); }, "a command");
    return take(std::move(*outcome));
  }
};

// 4 KiB operations at random places of volumes that share so many blocks evenly.
struct Lanes {
  const Cluster& cluster;
  std::vector<client::Volume*> volumes;
  bool writing = true, in_order = false;
  uint64_t issued = 0, finished = 0, open = 0;
  uint64_t last = ~uint64_t{0};  // operation
  bool over = false;
  std::vector<Buffer> buffers{};

  void issue(size_t lane) {
    if (over || issued == last) return;
    const uint64_t each = blocks_all / volumes.size();
    const uint64_t at = (in_order ? issued : mix64(issued)) % (each * volumes.size());
    ++issued, ++open;
    const auto done = [this, lane](const Status& status) {
      if (!status.ok()) die(status.error().message());
      ++finished, --open;
      issue(lane);
    };
    client::Volume& volume = *volumes[at / each];
    const uint64_t offset = at % each * limits::block_bytes;
    if (writing)
      volume.write(offset, buffers[lane].bytes(), done);
    else
      volume.read(offset, buffers[lane].mutable_bytes(), done);
  }
  void start(uint32_t depth) {
    buffers.clear();
    for (uint32_t lane = 0; lane < depth; ++lane) {
      buffers.push_back(Buffer::zeroed(limits::block_bytes));
      buffers.back().data()[0] = std::byte{1};
    }
    over = false;
    for (uint32_t lane = 0; lane < depth; ++lane) issue(lane);
  }
  void fill() {
    in_order = true, issued = 0, last = blocks_all / volumes.size() * volumes.size();
    start(64);
    cluster.wait([this] { return open == 0; }, "filling");
    in_order = false, last = ~uint64_t{0};
  }
  // Prints one line.
  void run(const std::string& what, uint32_t depth, io::Duration time) {
    start(depth);
    const auto pass = [this](io::Duration span) {
      const auto until = cluster.host().clock.now() + span;
      cluster.real.run_until([&] { return cluster.host().clock.now() >= until; }, span * 2);
    };
    pass(std::chrono::seconds(1));
    const double servers = cpu_us_of("sp-serve"), own = cpu_us();
    const uint64_t before = finished;
    const auto began = cluster.host().clock.now();
    pass(time);
    const double count = double(finished - before);
    const double seconds = double((cluster.host().clock.now() - began).count()) * 1e-9;
    const double own_us = cpu_us() - own, servers_us = cpu_us_of("sp-serve") - servers;
    over = true;
    cluster.wait([this] { return open == 0; }, "the last operations");
    fmt::print("{:44} {:8.0f} ops/s  servers {:6.2f} us  client {:6.2f} us\n", what,
               count / seconds, servers_us / count, own_us / count);
  }
};

// A client with as many of the volumes as one may have.
struct Group {
  std::unique_ptr<client::Standalone> client;
  std::vector<std::unique_ptr<client::Volume>> volumes;  // beside that of `client`
};
constexpr uint32_t volumes_per_client = 1000;

Group attach_group(const Cluster& cluster, uint8_t instance, uint32_t first, uint32_t end) {
  Group group;
  group.client = cluster.attach(cluster.client(1, instance, fmt::format("many{}", first)));
  member::Member& member = group.client->member();
  cluster.wait([&] { return member.map().find_volume(fmt::format("many{}", end - 1)) != nullptr; },
               "volumes many0 and on");
  const ClientId self = client_of(1, instance);
  uint64_t index = 0;
  for (uint32_t i = first + 1; i < end; i += 64) {
    map::Reassign attach;
    for (uint32_t k = i; k < std::min(end, i + 64); ++k) {
      map::Reassignment wish;
      wish.volume = member.map().find_volume(fmt::format("many{}", k))->id;
      wish.read_write.push_back(self);
      attach.volumes.push_back(wish);
    }
    index = cluster.command(member, attach);
  }
  if (index == 0) return group;
  std::optional<Status> confirmed;
  member.confirm(index, std::chrono::minutes(1),
                 [&](Status status) { confirmed = std::move(status); });
  cluster.wait([&] { return confirmed.has_value(); }, "confirming");
  if (!confirmed->ok()) die(confirmed->error().message());
  // One set of connections for all of them, as sp-block has it. The client outlives them.
  const std::shared_ptr<client::Servers> servers(std::shared_ptr<void>(), &group.client->servers());
  for (uint32_t i = first + 1; i < end; ++i) {
    const map::Volume* row = member.map().find_volume(fmt::format("many{}", i));
    group.volumes.push_back(
        client::Volume::open(cluster.host(), member, servers,
                             {row->id, member.map().attachment(row->id, self)->generation}));
  }
  return group;
}

void many_volumes(const Cluster& cluster, uint32_t count, io::Duration time) {
  const auto alone = cluster.attach(cluster.client(1, 2, "bench"));
  const auto began = cluster.host().clock.now();
  std::vector<Group> groups;
  for (uint32_t first = 0; first < count; first += volumes_per_client)
    groups.push_back(attach_group(cluster, static_cast<uint8_t>(3 + groups.size()), first,
                                  std::min(count, first + volumes_per_client)));
  fmt::print("{} volumes are attached by {} clients in {:.2f} ms each\n", count, groups.size(),
             double((cluster.host().clock.now() - began).count()) * 1e-6 / count);
  Lanes one{cluster, {&alone->volume()}}, all{cluster, {}};
  for (const Group& group : groups) {
    all.volumes.push_back(&group.client->volume());
    for (const auto& volume : group.volumes) all.volumes.push_back(volume.get());
  }
  one.fill();
  all.fill();
  for (const bool writing : {true, false}) {
    one.writing = all.writing = writing;
    const char* const what = writing ? "write" : "read";
    one.run(fmt::format("4 KiB {}, depth 32, one volume", what), 32, time);
    all.run(fmt::format("4 KiB {}, depth 32, {} volumes", what, count), 32, time);
  }
}

struct Client {
  std::unique_ptr<client::Standalone> attached;
  std::unique_ptr<Load> load;
  LoadResult result;
  bool done = false;

  void start(const Cluster& cluster, uint32_t depth, uint32_t reads, io::Duration time) {
    LoadOptions options;
    options.depth = depth;
    options.reads_percent = reads;
    options.ramp = std::chrono::seconds(1);
    options.time = time;
    Load::Events events;
    done = false;
    events.counted = [this](LoadResult counted) { result = std::move(counted); };
    events.done = [this] { done = true; };
    load = take(Load::start(cluster.host(), attached->volume(), options, std::move(events)));
  }
};

void fair_clients(const Cluster& cluster, uint32_t count, io::Duration time) {
  const auto greedy_options = cluster.client(1, 2, "bench");
  Client greedy{cluster.attach(greedy_options), nullptr, {}, false};
  std::vector<Client> clients(count);
  const auto nodes = static_cast<uint32_t>(cluster.config.nodes.size());
  const uint32_t count_max = nodes * (client_instance_max - 2);
  if (count > count_max)
    die(fmt::format("{} nodes have at most {} clients beside that one", nodes, count_max));
  for (uint32_t i = 0; i < count; ++i) {
    const auto node = static_cast<NodeId>(1 + i % nodes);
    clients[i].attached = cluster.attach(
        cluster.client(node, static_cast<uint8_t>(3 + i / nodes), fmt::format("many{}", i)));
  }
  const auto run = [&](const std::string& what, uint32_t reads, bool beside) {
    if (beside) greedy.start(cluster, 4096, reads, time);
    for (Client& client : clients) client.start(cluster, 1, reads, time);
    cluster.wait(
        [&] {
          return (!beside || greedy.done) && std::all_of(clients.begin(), clients.end(),
                                                         [](const Client& c) { return c.done; });
        },
        "the load");
    Histogram latency;
    uint64_t least = ~uint64_t{0}, most = 0, all = 0;
    for (const Client& client : clients) {
      const LoadCounts& counts = reads == 0 ? client.result.writes : client.result.reads;
      latency.merge(counts.latency);
      least = std::min(least, counts.operations);
      most = std::max(most, counts.operations);
      all += counts.operations;
    }
    const double seconds = double(time.count()) * 1e-9;
    const auto us = [&](double share) { return double(latency.percentile(share)) * 1e-3; };
    fmt::print(
        "{:44} {:8.0f} ops/s  median {:6.0f} us  p99 {:7.0f} us  least and most served {:.2f}\n",
        what, double(all) / seconds, us(0.5), us(0.99), double(least) / double(most));
    if (beside)
      fmt::print(
          "{:44} {:8.0f} ops/s\n", "  the one with 4096 in flight",
          double((reads == 0 ? greedy.result.writes : greedy.result.reads).operations) / seconds);
  };
  for (const uint32_t reads : {0u, 100u}) {
    const char* const what = reads == 0 ? "write" : "read";
    run(fmt::format("4 KiB {}, {} clients of depth 1", what, count), reads, false);
    run("the same beside one of depth 4096", reads, true);
  }
}

}  // namespace

int main(int argc, char** argv) {
  const std::string kind = argc > 1 ? argv[1] : "";
  const int count = argc > 2 ? std::atoi(argv[2]) : 0;
  if ((kind != "volumes" && kind != "clients") || count < 1 ||
      std::getenv("SP_CONFIG") == nullptr) {
    fmt::print(stderr, "usage: SP_CONFIG=... volumes_bench volumes|clients COUNT [SECONDS]\n");
    return 2;
  }
  const io::Duration time = std::chrono::seconds(argc > 3 ? std::atoi(argv[3]) : 4);
  std::setvbuf(stdout, nullptr, _IOLBF, 0);
  auto real = io::RealHost::create({.name = "volumes_bench", .log_least = LogLevel::error});
  if (!real.ok()) die(real.error().message());
  const Cluster cluster{**real};
  if (kind == "volumes")
    many_volumes(cluster, static_cast<uint32_t>(count), time);
  else
    fair_clients(cluster, static_cast<uint32_t>(count), time);
  std::fflush(stdout);
  std::_Exit(0);  // attachments go with the process
}
