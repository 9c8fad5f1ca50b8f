// sp-compare: whether all copies of every disk set are equal, by digests over everything that they
// hold.
//   sp-compare [--timeout DURATION]
// Exit codes: 0 equal; 9 copies differ; 6 no answer in time; others: sp(7).
#include <fmt/format.h>

#include "cli/daemon.h"
#include "cli/exit_code.h"
#include "cli/identity.h"
#include "cli/output.h"
#include "client/compare.h"

using namespace sp;

namespace {

struct Running {
  std::unique_ptr<member::Member> member;
  std::shared_ptr<client::Servers> servers;
  std::unique_ptr<client::Comparing> comparing;
  std::unique_ptr<io::Timer> deadline;
};

Status print(const client::Comparison& result, const cli::OutputOptions& output) {
  cli::Table table({{"sets", "SETS"},
                    {"copies", "COPIES"},
                    {"blocks", "BLOCKS"},
                    {"degraded", "DEGRADED"},
                    {"differing", "DIFFERING"}});
  table.add({result.sets, result.copies, result.blocks, result.degraded,
             uint64_t{result.differences.size()}});
  table.print(output);
  std::string text;
  for (const auto& difference : result.differences)
    text += fmt::format("\nset {} of allocation group {}: {}", difference.set.index,
                        difference.set.group, difference.what);
  if (text.empty()) return {};
  return Error(Code::damaged,
               "copies differ (are volumes being written? compare again at rest):" + text);
}

Result<std::shared_ptr<void>> start(cli::Daemon& daemon, const cli::ClusterOptions& cluster,
                                    const cli::OutputOptions& output,
                                    std::chrono::milliseconds timeout) {
  SP_TRY(const cli::Config config, cluster.load());
  SP_TRY(const cli::NodeConfig node, cluster.own(config));
  const auto instance = static_cast<uint8_t>(2 + daemon.host().random.below(62));
  SP_TRY(member::Options options,
         cli::member_options(daemon.host(), config, node, ServiceKind::client, instance, {}));
  auto running = std::make_shared<Running>();
  Running* const raw = running.get();
  raw->servers = client::make_servers(daemon.host(), options.key, options.self);
  member::Member::Events events;
  events.map_changed = [raw, &daemon, &output](const std::vector<map::Change>&) {
    if (raw->comparing || raw->member->map().index == 0) return;
    raw->comparing = client::Comparing::start(
        daemon.host(), *raw->member, raw->servers,
        [&daemon, &output](client::Comparison result) { daemon.finish(print(result, output)); });
  };
  events.make_report = [raw] {
    member::Report report;
    report.fenced_index = raw->member ? raw->member->map().index : 0;
    return report;
  };
  raw->member = member::Member::start(daemon.host(), std::move(options), std::move(events));
  raw->deadline = std::make_unique<io::Timer>(daemon.host().reactor);
  raw->deadline->arm(timeout, [&daemon] {
    daemon.finish(Error(Code::timed_out,
                        "compare copies: no answer in time; is there quorum? see sp-status"));
  });
  return std::shared_ptr<void>(std::move(running));
}

}  // namespace

int main(int argc, char** argv) {
  cli::Options options("sp-compare", "Compare the copies of every disk set.");
  cli::ClusterOptions cluster;
  cli::OutputOptions output;
  cli::DaemonOptions service;
  std::chrono::milliseconds timeout{60000};
  cluster.add(options);
  output.add(options);
  service.add(options);
  options.duration("--timeout", timeout, "How long to wait for answers (default 60s).");
  options.run([&] {
    service.once = true;
    return cli::run_daemon("sp-compare", service, [&](cli::Daemon& daemon) {
      return start(daemon, cluster, output, timeout);
    });
  });
  return options.execute(argc, argv);
}
