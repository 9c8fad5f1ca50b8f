#include "attach/nbd_server.h"

#include <algorithm>

#include "attach/nbd_connection.h"
#include "base/limits.h"

namespace sp::attach {

NbdServer::NbdServer(io::Host& host) : host_(host) {}
NbdServer::~NbdServer() = default;

Status NbdServer::listen(const io::Address& address) {
  auto listener = host_.net.listen(
      address, [this](std::unique_ptr<io::Socket> socket) { accept(std::move(socket)); });
  if (!listener.ok()) return std::move(listener).error().with("serve NBD on " + address.text());
  listeners_.push_back(std::move(listener).value());
  return ok_status();
}

std::vector<io::Address> NbdServer::addresses() const {
  std::vector<io::Address> all;
  for (const auto& listener : listeners_) all.push_back(listener->address());
  return all;
}

Status NbdServer::add_export(NbdExport exported) {
  SP_ASSERT(exported.device != nullptr);
  if (exported.name.empty() || exported.name.size() > limits::name_bytes_max)
    return Error(Code::invalid, "an NBD export needs a name of 1 to " +
                                    std::to_string(limits::name_bytes_max) + " bytes");
  const std::string name = exported.name;
  const auto [at, added] = exports_.try_emplace(name, nullptr);
  if (!added) return Error(Code::exists, "there is an NBD export named " + name + " already");
  at->second = std::make_unique<Export>(std::move(exported));
  return ok_status();
}

void NbdServer::remove_export(const std::string& name, Callback<void()> done) {
  const auto found = exports_.find(name);
  if (found == exports_.end()) return host_.reactor.post(std::move(done));
  SP_ASSERT(!found->second->removing);
  found->second->removing = true;
  found->second->removed = std::move(done);
  for (const auto& connection : connections_)
    if (connection->exported() == found->second.get()) connection->close();
  connection_changed();
}

void NbdServer::drop_export(const std::string& name) {
  const auto found = exports_.find(name);
  if (found == exports_.end()) return;
  std::erase_if(connections_, [&](const auto& connection) {
    return connection->exported() == found->second.get();
  });
  exports_.erase(found);
}

NbdServer::ConnectionCounts NbdServer::counts(const std::string& export_name) const {
  ConnectionCounts counts;
  for (const auto& connection : connections_) {
    if (connection->exported() == nullptr || connection->exported()->settings.name != export_name)
      continue;
    if (!connection->closed()) ++counts.connections;
    counts.operations += connection->operations();
  }
  return counts;
}

NbdServer::Export* NbdServer::find_export(const std::string& name) {
  const auto found = name.empty() && exports_.size() == 1 ? exports_.begin() : exports_.find(name);
  return found == exports_.end() || found->second->removing ? nullptr : found->second.get();
}

void NbdServer::accept(std::unique_ptr<io::Socket> socket) {
  if (connections_.size() >= limits::nbd_connections_max) {
    host_.log.warning("NBD connection refused: too many are open",
                      {{"peer", socket->peer().text()}, {"limit", limits::nbd_connections_max}});
    return;
  }
  connections_.push_back(std::make_unique<NbdConnection>(*this, host_, std::move(socket)));
  connections_.back()->start();
}

void NbdServer::connection_changed() {
  if (std::exchange(sweep_posted_, true)) return;
  host_.reactor.post([this, alive = std::weak_ptr<bool>(alive_)] {
    if (!alive.expired()) sweep();
  });
}

void NbdServer::sweep() {
  sweep_posted_ = false;
  std::vector<std::string> closed_exports;
  std::erase_if(connections_, [&](const auto& connection) {
    const bool over = connection->closed() && connection->operations() == 0;
    if (over && connection->exported() != nullptr)
      closed_exports.push_back(connection->exported()->settings.name);
    return over;
  });
  std::vector<Callback<void()>> removed;
  for (auto at = exports_.begin(); at != exports_.end();) {
    Export* exported = at->second.get();
    const bool used =
        std::any_of(connections_.begin(), connections_.end(),
                    [&](const auto& connection) { return connection->exported() == exported; });
    if (!exported->removing || used || !exported->bytes.idle()) {
      ++at;
      continue;
    }
    removed.push_back(std::move(exported->removed));
    at = exports_.erase(at);
  }
  const std::weak_ptr<bool> alive = alive_;  // any of these may destroy the server
  for (auto& done : removed)
    if (done) done.call_once();
  for (const auto& name : closed_exports)
    if (!alive.expired() && closed_) closed_(name);
}

}  // namespace sp::attach
