// sp-attach: attaches volumes to clients and detaches them, or serves them itself over NBD.
//   sp-attach NAME... [--client N] [--read-only] [--force] [--socket PATH] | --detach | --list
// Exit codes: sp(7); 6 when the client is not there with its device in --timeout (the request stays
// in force). With --socket it runs until a signal, and detaches then.
#include <fmt/format.h>

#include "api/fields.h"
#include "attach/presenters.h"
#include "base/client_id.h"
#include "base/limits.h"
#include "cli/daemon.h"
#include "cli/exit_code.h"
#include "cli/identity.h"
#include "cli/snapshots.h"

using namespace sp;

namespace {

struct Values {
  std::vector<std::string> names;
  std::set<std::string> snapshots;  // of them
  std::optional<uint64_t> client;
  bool here = false, read_only = false, force = false, detach = false, list = false;
  std::string socket;
  cli::DaemonOptions daemon;
};

Status check(const Values& v) {
  const char* fault = nullptr;
  if (!v.list && v.names.empty()) fault = "name a volume, or give --list";
  if (v.list && (v.detach || !v.names.empty() || !v.socket.empty())) fault = "--list goes alone";
  if (v.client && (v.here || !v.socket.empty())) fault = "--client excludes --here and --socket";
  if (v.detach && (v.read_only || !v.socket.empty()))
    fault = "--detach excludes --read-only and --socket";
  if (!v.socket.empty() && !v.socket.starts_with('/')) fault = "--socket: give an absolute path";
  return fault == nullptr ? Status() : Error(Code::invalid, fault);
}

std::string request(const Values& v, ClientId client, const char* what, bool force) {
  return cli::reassignment(v.names, v.snapshots, client, what, force);
}

// Attaches or detaches, and waits until it is so on the client.
int reassign(cli::Remote& remote, const Values& v, NodeId client) {
  const char* what = v.detach ? "detach" : v.read_only ? "ro" : "rw";
  api::Json json;
  json.begin_object().key("reassign").raw(request(v, client, what, v.force));
  // The service gives up first, and says what is missing.
  json.put_number("attachTimeout",
                  static_cast<uint64_t>(std::max<int64_t>(remote.timeout.count() / 1000 - 1, 0)))
      .end_object();
  return remote.change("VolumesReassignWait", json.take(),
                       fmt::format("{} {} client {}", fmt::join(v.names, ", "),
                                   v.detach ? "detached from" : "attached to", client));
}

Result<std::shared_ptr<void>> serve(cli::Daemon& daemon, const Values& v, const cli::Config& config,
                                    const cli::NodeConfig& node, uint8_t instance) {
  SP_TRY(member::Options options,
         cli::member_options(daemon.host(), config, node, ServiceKind::client, instance, {}));
  SP_TRY(auto service,
         attach::NbdService::start(daemon.host(), std::move(options), v.socket, api::global_id));
  daemon.ready(fmt::format("{} on {}", fmt::join(v.names, ", "), v.socket));
  return std::shared_ptr<void>(std::move(service));
}

// Is a client of its own until a signal.
int serve_nbd(cli::Remote& remote, const Values& v, const cli::Config& config,
              const cli::NodeConfig& node) {
  const auto instance = cli::claim_client_instance(config, node.id);
  if (!instance.ok()) return remote.failed(instance.error());
  const ClientId client = client_of(node.id, *instance);
  const auto attached =
      remote.post("VolumesReassign", request(v, client, v.read_only ? "ro" : "rw", v.force));
  if (!attached.ok()) return remote.failed(attached.error());
  const int code = cli::run_daemon("sp-attach", v.daemon, [&](cli::Daemon& daemon) {
    return serve(daemon, v, config, node, *instance);
  });
  // By force: nothing of this process is left that could confirm.
  const auto detached = remote.post("VolumesReassign", request(v, client, "detach", true));
  return code != cli::exit_done || detached.ok() ? code : remote.failed(detached.error());
}

int run(cli::Remote& remote, Values& v) {
  if (v.list) return remote.list("SpAttachmentsList", cli::columns::attachments);
  // Nobody writes to a snapshot: of what is attached for writing the answer tells.
  if (v.read_only || v.detach) {
    auto snapshots = cli::snapshots_among(remote, v.names);
    if (!snapshots.ok()) return remote.failed(snapshots.error());
    v.snapshots = std::move(snapshots).value();
  }
  if (v.client) return reassign(remote, v, static_cast<NodeId>(*v.client));
  const auto config = remote.config();
  const auto node = config.ok() ? remote.own(*config) : config.error();
  if (!node.ok()) return remote.failed(node.error());
  return v.socket.empty() ? reassign(remote, v, node->id) : serve_nbd(remote, v, *config, *node);
}

}  // namespace

int main(int argc, char** argv) {
  Values v;
  cli::Options options("sp-attach", "Attach volumes to clients, and detach them.");
  cli::Remote remote(options);
  options.optional_arguments("NAME", v.names, "Volumes, or snapshots: names, or ~ID.");
  options.flag("--here", v.here, "To this node (the default).")
      .number("--client", 1, limits::nodes_max, v.client, "To this client, a node's number.");
  options.flag("--read-only", v.read_only, "For reading only.");
  options.flag("--force", v.force,
               "Take it from whoever has it read-write; its unfinished writes never appear.");
  options.flag("--detach", v.detach, "Detach instead.").flag("--list", v.list, "All attachments.");
  options.text("--socket", "PATH", v.socket,
               "Serve the volumes over NBD on this unix socket, until stopped.");
  v.daemon.add(options);
  options.check([&] { return check(v); }).run([&] { return run(remote, v); });
  return options.execute(argc, argv);
}
