// sp-serve: a server service. It holds disks, leads some disk sets, keeps copies of others, and
// answers clients.
//   sp-serve [--instance K] [--node N] [--config PATH]
// Exit codes: 0 ended by a signal; others: sp(7).
#include "cli/daemon.h"
#include "cli/exit_code.h"
#include "member/member.h"
#include "serve/server.h"

using namespace sp;

namespace {

// The two halves that know each other: the server, and its tie to the cluster.
struct Service {
  std::unique_ptr<member::Member> member;
  std::unique_ptr<serve::Server> server;
};

Result<std::shared_ptr<void>> start(cli::Daemon& daemon, const cli::ClusterOptions& cluster,
                                    uint64_t instance) {
  SP_TRY(const cli::Config config, cluster.load());
  SP_TRY(const cli::NodeConfig node, cluster.own(config));
  const auto found = node.servers.find(static_cast<uint8_t>(instance));
  if (found == node.servers.end())
    return Error(Code::not_found, "node " + std::to_string(node.id) + " has no server " +
                                      std::to_string(instance) + " in " + config.path);

  serve::ServerOptions options;
  SP_TRY(options.key.bytes, cli::load_key(config));
  options.self.cluster = config.cluster_id;
  options.self.service = {ServiceKind::server, node.id, static_cast<uint8_t>(instance)};
  options.self.start_id = daemon.host().random.number();
  options.listen = {node.address, found->second.port};
  options.disk_paths = found->second.disks;
  options.store.table_bytes_max = found->second.table_memory;

  member::Options membership;
  membership.key = options.key;
  membership.self = options.self;
  membership.beacons = {{node.address, node.beacon_port}};
  membership.registration.id = options.self.service;
  membership.registration.address = options.listen.text();
  membership.registration.start_id = options.self.start_id;
  membership.registration.version = SP_VERSION;
  membership.registration.started_ms = daemon.host().clock.wall_ms();

  auto service = std::make_shared<Service>();
  member::Member::Events events;
  events.map_changed = [raw = service.get()](const std::vector<map::Change>& changes) {
    if (raw->server) raw->server->map_changed(changes);
  };
  events.make_report = [raw = service.get()] {
    return raw->server ? raw->server->make_report() : member::Report();
  };
  service->member = member::Member::start(daemon.host(), std::move(membership), std::move(events));
  SP_TRY(service->server,
         serve::Server::start(daemon.host(), std::move(options), *service->member));
  daemon.on_stop = [&daemon, raw = service.get()] {
    raw->server->save_indexes([&daemon](Status status) { daemon.finish(std::move(status)); });
  };
  daemon.ready("server " + std::to_string(instance) + " of node " + std::to_string(node.id));
  return std::shared_ptr<void>(std::move(service));
}

}  // namespace

int main(int argc, char** argv) {
  cli::Options options("sp-serve",
                       "A server: it holds disks and keeps the copies of volumes on them.");
  cli::ClusterOptions cluster;
  cli::DaemonOptions service;
  std::optional<uint64_t> instance;
  cluster.add(options);
  service.add(options);
  options.number("--instance", 1, 12, instance,
                 "Which server of this node, as numbered in sp.toml; 1 when not given.");
  options.run([&] {
    return cli::run_daemon("sp-serve", service, [&](cli::Daemon& daemon) {
      return start(daemon, cluster, instance.value_or(1));
    });
  });
  return options.execute(argc, argv);
}
