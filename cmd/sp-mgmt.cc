// sp-mgmt: the management service: the control API over HTTP. Runs on several nodes; one of them is
// active.
//   sp-mgmt [--node N] [--config PATH]
// Exit codes: 0 ended by a signal; others: sp(7).
#include "api/http_server.h"
#include "api/mgmt_service.h"
#include "cli/daemon.h"
#include "cli/exit_code.h"
#include "cli/identity.h"
#include "io/real_host.h"

using namespace sp;

namespace {

struct Running {
  std::unique_ptr<api::MgmtService> service;
  std::unique_ptr<api::HttpServer> http;  // destroyed first: it hands requests to the service
};

Result<std::shared_ptr<void>> start(cli::Daemon& daemon, const cli::ClusterOptions& cluster) {
  SP_TRY(const cli::Config config, cluster.load());
  SP_TRY(const cli::NodeConfig node, cluster.own(config));
  if (!node.mgmt)
    return Error(Code::invalid, "node " + std::to_string(node.id) +
                                    " is not configured for management: set mgmt = true in " +
                                    config.path);
  SP_TRY(std::string token, cli::load_token(config));
  const io::Address address{node.address, node.api_port};
  SP_TRY(member::Options options,
         cli::member_options(daemon.host(), config, node, ServiceKind::mgmt, 1, address));
  auto running = std::make_shared<Running>();
  running->service =
      std::make_unique<api::MgmtService>(daemon.host(), std::move(options), std::move(token));
  auto post = [&real = daemon.real()](Callback<void()> work) {
    real.post_from_other_thread(std::move(work));
  };
  auto handle = [service = running->service.get()](api::Request request,
                                                   Callback<void(api::Response)> done) {
    service->api().handle(std::move(request), std::move(done));
  };
  SP_TRY(running->http, api::HttpServer::start(address, std::move(post), std::move(handle)));
  daemon.ready("answers on " + address.text());
  return std::shared_ptr<void>(std::move(running));
}

}  // namespace

int main(int argc, char** argv) {
  cli::Options options("sp-mgmt", "The management service: the control API over HTTP.");
  cli::ClusterOptions cluster;
  cli::DaemonOptions service;
  cluster.add(options);
  service.add(options);
  options.run([&] {
    return cli::run_daemon("sp-mgmt", service,
                           [&](cli::Daemon& daemon) { return start(daemon, cluster); });
  });
  return options.execute(argc, argv);
}
