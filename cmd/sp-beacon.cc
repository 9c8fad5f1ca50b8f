// sp-beacon: the service that keeps the cluster together: it votes, holds the agreed state, watches
// this node's services and the other beacons, and hands out map and leases. One runs on every node.
//   sp-beacon [--node N] [--config PATH] [--bootstrap]
// Exit codes: 0 ended by a signal; 5 --bootstrap where there is a cluster already; others: sp(7).
#include "beacon/beacon.h"
#include "cli/daemon.h"
#include "cli/exit_code.h"

using namespace sp;

namespace {

map::Node row_of(const cli::NodeConfig& node) {
  map::Node row;
  row.id = node.id;
  row.name = node.name;
  row.fault_set = node.fault_set;
  row.voting = node.voting;
  row.address = io::Address{node.address, node.beacon_port}.text();
  return row;
}

Result<std::shared_ptr<void>> start(cli::Daemon& daemon, const cli::ClusterOptions& cluster,
                                    bool bootstrap) {
  SP_TRY(const cli::Config config, cluster.load());
  SP_TRY(const cli::NodeConfig node, cluster.own(config));
  beacon::Options options;
  SP_TRY(options.key.bytes, cli::load_key(config));
  options.self.cluster = config.cluster_id;
  options.self.service = {ServiceKind::beacon, node.id, 1};
  options.self.start_id = daemon.host().random.number();
  options.cluster_name = config.cluster_name;
  for (const auto& [id, other] : config.nodes) options.nodes.push_back(row_of(other));
  options.log_path = node.state_dir + "/beacon.log";
  options.snapshot_path = node.state_dir + "/beacon.snapshot";
  options.state_path = node.state_dir + "/state.db";
  options.bootstrap = bootstrap;
  SP_TRY(auto service,
         beacon::Beacon::start(daemon.host(), std::move(options),
                               [&daemon](const Error& why) { daemon.finish(Status(why)); }));
  daemon.ready("node " + std::to_string(node.id) + " of cluster " + config.cluster_name);
  return std::shared_ptr<void>(std::move(service));
}

}  // namespace

int main(int argc, char** argv) {
  cli::Options options("sp-beacon", "The service that keeps the cluster together.");
  cli::ClusterOptions cluster;
  cli::DaemonOptions service;
  bool bootstrap = false;
  cluster.add(options);
  service.add(options);
  options.flag("--bootstrap", bootstrap,
               "Make a new cluster, of which this node is the first voter. Once, on one node.");
  options.run([&] {
    return cli::run_daemon("sp-beacon", service,
                           [&](cli::Daemon& daemon) { return start(daemon, cluster, bootstrap); });
  });
  return options.execute(argc, argv);
}
