// sp-attach: attaches volumes to clients and detaches them, or serves them itself over NBD.
//   sp-attach NAME... [--client N] [--read-only] [--force] | --detach NAME... | --list | NAME...
//   --socket PATH
// Exit codes: sp(7); 6 when the client is not there with its device in --timeout (the request stays
// in force). With --socket it runs until a signal, and detaches then.
#include <fmt/format.h>

#include "api/fields.h"
#include "attach/presenters.h"
#include "base/limits.h"
#include "cli/daemon.h"
#include "cli/exit_code.h"
#include "cli/identity.h"
#include "cli/remote.h"

using namespace sp;

namespace {

struct Values {
  std::vector<std::string> names;
  std::optional<uint64_t> client;
  bool here = false, read_only = false, force = false, detach = false, list = false;
  std::string socket;
  cli::DaemonOptions daemon;
};

Status check(const Values& v) {
  if (v.list && (v.detach || !v.names.empty() || !v.socket.empty()))
    return Error(Code::invalid, "--list goes alone");
  if (!v.list && v.names.empty()) return Error(Code::invalid, "name a volume, or give --list");
  if (v.here && v.client) return Error(Code::invalid, "--here and --client exclude each other");
  if (v.detach && (v.read_only || !v.socket.empty()))
    return Error(Code::invalid, "--detach goes with neither --read-only nor --socket");
  if (!v.socket.empty() && v.client)
    return Error(Code::invalid, "--socket serves on this node: leave --client out");
  if (!v.socket.empty() && !v.socket.starts_with('/'))
    return Error(Code::invalid, "--socket: give an absolute path");
  return {};
}

std::string reassignment(const Values& v, NodeId client, const char* what, bool force) {
  api::Json json;
  json.begin_array();
  for (const auto& name : v.names) {
    json.begin_object()
        .put("volume", name)
        .put_boolean("force", force)
        .put_numbers(what, std::vector<NodeId>{client})
        .end_object();
  }
  return json.end_array().take();
}

// Attaches or detaches, and waits until it is so on the client.
int reassign(cli::Remote& remote, const Values& v, NodeId client) {
  const char* what = v.detach ? "detach" : v.read_only ? "ro" : "rw";
  api::Json json;
  json.begin_object().key("reassign").raw(reassignment(v, client, what, v.force));
  // The service gives up first, and says what is missing.
  json.put_number("attachTimeout",
                  static_cast<uint64_t>(std::max<int64_t>(remote.timeout.count() / 1000 - 1, 0)))
      .end_object();
  return remote.change("VolumesReassignWait", json.take(),
                       fmt::format("{} {} client {}", fmt::join(v.names, ", "),
                                   v.detach ? "detached from" : "attached to", client));
}

struct Running {
  std::unique_ptr<attach::NbdPresenter> presenter;
  std::unique_ptr<attach::Follower> follower;  // destroyed first
};

Result<std::shared_ptr<void>> serve(cli::Daemon& daemon, const Values& v, const cli::Config& config,
                                    const cli::NodeConfig& node) {
  SP_TRY(member::Options options,
         cli::member_options(daemon.host(), config, node, ServiceKind::client, 1, {}));
  auto running = std::make_shared<Running>();
  running->presenter = std::make_unique<attach::NbdPresenter>(daemon.host(), v.socket);
  SP_CHECK(running->presenter->listen());
  running->follower = std::make_unique<attach::Follower>(daemon.host(), std::move(options),
                                                         *running->presenter, api::global_id);
  daemon.ready(fmt::format("{} on {}", fmt::join(v.names, ", "), v.socket));
  return std::shared_ptr<void>(std::move(running));
}

// Is this node's client, in the place of sp-block, until a signal.
int serve_nbd(cli::Remote& remote, const Values& v, const cli::Config& config,
              const cli::NodeConfig& node) {
  const auto services = remote.get("ServicesList");
  if (!services.ok()) return remote.failed(services.error());
  if ((*services)["clients"][std::to_string(node.id)]["status"].text_or_empty() == "running")
    return remote.failed(
        Error(Code::refused, fmt::format("node {} has a client already (sp-block, or sp-attach "
                                         "--socket): attach without --socket, or stop it",
                                         node.id)));
  const auto attached =
      remote.post("VolumesReassign", reassignment(v, node.id, v.read_only ? "ro" : "rw", v.force));
  if (!attached.ok()) return remote.failed(attached.error());
  const int code = cli::run_daemon(
      "sp-attach", v.daemon, [&](cli::Daemon& daemon) { return serve(daemon, v, config, node); });
  // By force: nothing of this process is left that could confirm.
  const auto detached = remote.post("VolumesReassign", reassignment(v, node.id, "detach", true));
  return code != cli::exit_done || detached.ok() ? code : remote.failed(detached.error());
}

int run(cli::Remote& remote, const Values& v) {
  if (v.list) return remote.list("SpAttachmentsList", cli::columns::attachments);
  if (v.client) return reassign(remote, v, static_cast<NodeId>(*v.client));
  const auto config = remote.config();
  if (!config.ok()) return remote.failed(config.error());
  const auto node = remote.own(*config);
  if (!node.ok()) return remote.failed(node.error());
  return v.socket.empty() ? reassign(remote, v, node->id) : serve_nbd(remote, v, *config, *node);
}

}  // namespace

int main(int argc, char** argv) {
  Values v;
  cli::Options options("sp-attach", "Attach volumes to clients, and detach them.");
  cli::Remote remote(options);
  options.optional_arguments("NAME", v.names, "Volumes: names, or ~ID.");
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
