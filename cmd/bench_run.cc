#include "bench_run.h"

#include <fmt/format.h>
#include <unistd.h>

#include <cstdio>
#include <utility>

#include "bench_tables.h"
#include "cli/identity.h"

namespace sp::bench {

namespace {

std::vector<Listener> listeners_of(const map::Map& map) {
  std::vector<Listener> list;
  const auto add = [&](std::string name, const std::string& address) {
    const auto parsed = io::Address::parse(address);
    if (parsed.ok()) list.push_back({std::move(name), parsed->host, parsed->port});
  };
  for (const auto& [id, service] : map.services) {
    if (id.kind == ServiceKind::server && service.up) add(server_name(id), service.address);
  }
  for (const auto& [id, node] : map.nodes)
    add(fmt::format("beacon {}", static_cast<unsigned>(id)), node.address);
  return list;
}

class Run {
 public:
  Run(cli::Daemon& daemon, client::StandaloneOptions standalone, const LoadOptions& load,
      const cli::OutputOptions& output)
      : daemon_(daemon), output_(output), progress_(daemon.host().reactor) {
    Session::Events events;
    events.attached = [this](const map::Map& map) {
      measured_.processes = find_processes(listeners_of(map));
      measured_.processes.push_back({"client", getpid()});
      if (isatty(STDERR_FILENO) != 0) show_progress(0);
    };
    events.counting = [this] { sample(measured_.usage_before); };
    events.counted = [this] { sample(measured_.usage_after); };
    events.done = [this](Result<SessionResult> result) {
      daemon_.finish(ended(std::move(result)));
    };
    session_ =
        std::make_unique<Session>(daemon.host(), std::move(standalone), load, std::move(events));
    daemon_.on_stop = [this] { session_->stop(); };
  }

 private:
  void sample(std::vector<Usage>& into) {
    for (const Process& process : measured_.processes) into.push_back(usage_of(process.pid));
  }

  void show_progress(uint64_t operations_before) {
    progress_.arm(std::chrono::seconds(1), [this, operations_before] {
      const LoadResult* now = session_->now();
      const uint64_t operations = now == nullptr ? 0 : now->operations();
      std::fprintf(stderr, "\r\033[K%5.0f s  %lu operations/s", now == nullptr ? 0 : now->seconds,
                   operations - operations_before);
      show_progress(operations);
    });
  }

  Status ended(Result<SessionResult> result) {
    progress_.cancel();
    if (isatty(STDERR_FILENO) != 0) std::fprintf(stderr, "\r\033[K");
    if (!result.ok()) return std::move(result).error();
    static_cast<SessionResult&>(measured_) = std::move(result).value();
    print(measured_, output_);
    for (const auto& server : measured_.servers_after) {
      if (!server.error.empty())
        fmt::print(stderr, "sp-bench: {}: {}\n", server_name(server.server), server.error);
    }
    const LoadResult& load = measured_.load;
    if (load.errors == 0) return {};
    return Error(Code::failed,
                 fmt::format("{} operations failed; the first: {}", load.errors, load.first_error));
  }

  cli::Daemon& daemon_;
  const cli::OutputOptions& output_;
  io::Timer progress_;
  Measured measured_;
  std::unique_ptr<Session> session_;
};

}  // namespace

Result<std::shared_ptr<void>> start_run(cli::Daemon& daemon, const cli::Config& config,
                                        const cli::NodeConfig& node, const RunOptions& options,
                                        const cli::OutputOptions& output) {
  SP_TRY(const auto key, cli::load_key(config));
  SP_TRY(const uint8_t instance, cli::claim_client_instance(config, node.id));
  client::StandaloneOptions standalone;
  standalone.key.bytes = key;
  standalone.cluster = config.cluster_id;
  standalone.node = node.id;
  standalone.instance = instance;
  standalone.beacons = cli::beacon_addresses(config, node.id);
  standalone.volume = options.volume;
  standalone.device = "sp-bench";
  standalone.force = options.force;
  standalone.timeout = options.timeout;
  const bool reads_only = options.load.reads_percent == 100;
  standalone.rights = reads_only ? map::Rights::read_only : map::Rights::read_write;
  return std::shared_ptr<void>(
      std::make_shared<Run>(daemon, std::move(standalone), options.load, output));
}

}  // namespace sp::bench
