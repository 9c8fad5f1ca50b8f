// sp-block: follows the attachments of this host and keeps /dev/storpool/* true.
//   sp-block [--node N] [--config PATH] [--way ublk|nbd|fuse] | --release
// Exit codes: 0 ended by a signal (the devices stay for a successor), or released; 5 no way to make
// block devices works here, or another sp-block has them; others: sp(7).
#include <cstdlib>

#include "api/fields.h"
#include "attach/fd_store_linux.h"
#include "attach/presenters.h"
#include "attach/ways_linux.h"
#include "base/units.h"
#include "cli/daemon.h"
#include "cli/exit_code.h"
#include "cli/identity.h"

using namespace sp;

namespace {

struct Running {
  attach::Fd lock;
  std::unique_ptr<attach::AttachManager> released;  // by --release, else:
  std::unique_ptr<attach::DevicePresenter> presenter;
  std::unique_ptr<attach::Follower> follower;  // destroyed first
};

Result<std::optional<attach::Way>> wanted_way(const std::string& text) {
  if (text.empty()) return std::optional<attach::Way>();
  SP_TRY(const attach::Way way, attach::parse_way(text));
  return std::optional(way);
}

std::string environment(const char* name) {
  const char* value = std::getenv(name);
  return value == nullptr ? "" : value;
}

Result<std::shared_ptr<void>> start(cli::Daemon& daemon, const cli::ClusterOptions& cluster,
                                    const std::string& way_text, bool release) {
  SP_TRY(const cli::Config config, cluster.load());
  SP_TRY(const cli::NodeConfig node, cluster.own(config));
  SP_TRY(const auto way, wanted_way(way_text));
  attach::DriverOptions driver_options;
  driver_options.run_folder = node.state_dir + "/block";
  // The folder tells an administrator, and scripts, whose holder it is.
  driver_options.holder_command = {"/proc/self/exe", "--holder", driver_options.run_folder};
  driver_options.notify_socket = environment("NOTIFY_SOCKET");
  driver_options.passed_names = environment("LISTEN_FDNAMES");
  auto running = std::make_shared<Running>();
  SP_TRY(running->lock, attach::lock_folder(driver_options.run_folder, std::chrono::seconds(5)));
  SP_TRY(auto drivers, attach::make_drivers(daemon.real(), driver_options, way));
  const attach::AttachOptions folders{.name_folder = node.block_dir,
                                      .id_folder = node.block_dir + "-byid"};
  if (release) {
    running->released =
        std::make_unique<attach::AttachManager>(daemon.host(), std::move(drivers), folders);
    running->released->take_down_left_behind(true, [&daemon](Status s) { daemon.finish(s); });
    return std::shared_ptr<void>(std::move(running));
  }
  SP_TRY(member::Options options,
         cli::member_options(daemon.host(), config, node, ServiceKind::client, 1, {}));
  running->presenter =
      std::make_unique<attach::DevicePresenter>(daemon.host(), std::move(drivers), folders);
  running->follower = std::make_unique<attach::Follower>(daemon.host(), std::move(options),
                                                         *running->presenter, api::global_id);
  daemon.ready("client " + std::to_string(node.id) + ", devices in " + node.block_dir);
  return std::shared_ptr<void>(std::move(running));
}

}  // namespace

int main(int argc, char** argv) {
  // What make_drivers starts to hold descriptors over a restart of this service.
  if (argc == 4 && std::string_view(argv[1]) == "--holder") {
    const auto socket = parse_number(argv[3], INT32_MAX);
    return socket.ok() ? attach::run_fd_holder(static_cast<int>(*socket)) : int(cli::exit_usage);
  }
  cli::Options options("sp-block", "Keeps the block devices of this host's attachments.");
  cli::ClusterOptions cluster;
  cli::DaemonOptions service;
  std::string way;
  bool release = false;
  cluster.add(options);
  service.add(options);
  options.choice("--way", {"ublk", "nbd", "fuse"}, way,
                 "How devices are made (default: the best that works).");
  options.flag("--release", release,
               "Take down what a stopped sp-block left; users of the devices get errors at once.");
  options.run([&] {
    service.once = release;
    return cli::run_daemon("sp-block", service, [&](cli::Daemon& daemon) {
      return start(daemon, cluster, way, release);
    });
  });
  return options.execute(argc, argv);
}
