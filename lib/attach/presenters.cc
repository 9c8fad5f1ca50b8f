#include "attach/presenters.h"

namespace sp::attach {

void DevicePresenter::present(const Item& item, std::unique_ptr<client::BlockDevice> device,
                              Presented done) {
  manager_.attach(
      {.name = item.name, .id = item.volume, .id_text = item.id_text, .read_only = item.read_only},
      std::move(device), std::move(done));
}

void DevicePresenter::settled() {
  manager_.take_down_left_behind(false, [this](Status status) {
    if (!status.ok())
      host_.log.warning("a device of an earlier process could not be taken down",
                        {{"why", status.error().message()}});
  });
}

void NbdPresenter::later(Done done, Status status) {
  auto waiting = std::make_unique<std::pair<Done, Status>>(std::move(done), std::move(status));
  host_.reactor.post(
      [waiting = std::move(waiting)] { waiting->first.call_once(std::move(waiting->second)); });
}

void NbdPresenter::present(const Item& item, std::unique_ptr<client::BlockDevice> device,
                           Presented done) {
  Status status = server_.add_export({.name = item.name,
                                      .description = item.id_text,
                                      .read_only = item.read_only,
                                      .device = device.get()});
  Result<std::string> path = "nbd+unix:///" + item.name + "?socket=" + socket_path_;
  if (status.ok())
    shown_[item.volume] = {item.name, std::move(device)};
  else
    path = std::move(status).error();
  auto waiting =
      std::make_unique<std::pair<Presented, Result<std::string>>>(std::move(done), std::move(path));
  host_.reactor.post(
      [waiting = std::move(waiting)] { waiting->first.call_once(std::move(waiting->second)); });
}

void NbdPresenter::withdraw(const Item& item, bool force, Done done) {
  const auto at = shown_.find(item.volume);
  if (at == shown_.end()) return later(std::move(done), {});
  const size_t users = server_.counts(at->second.name).connections;
  if (users > 0 && !force)
    return later(std::move(done),
                 Error(Code::refused, std::to_string(users) + " NBD clients have it open"));
  if (force) {
    // Operations of a fenced volume may never end by themselves: destroying the device drops them.
    const std::string name = at->second.name;
    shown_.erase(at);
    server_.drop_export(name);
    return later(std::move(done), {});
  }
  auto waiting = std::make_shared<Done>(std::move(done));
  server_.remove_export(at->second.name, [this, id = item.volume, waiting] {
    shown_.erase(id);
    waiting->call_once(Status());
  });
}

Result<std::shared_ptr<NbdService>> NbdService::start(io::Host& host, member::Options options,
                                                      const std::string& socket_path,
                                                      Follower::IdText id_text) {
  auto service = std::make_shared<NbdService>();
  service->presenter = std::make_unique<NbdPresenter>(host, socket_path);
  SP_CHECK(service->presenter->listen());
  service->follower =
      std::make_unique<Follower>(host, std::move(options), *service->presenter, id_text);
  return service;
}

}  // namespace sp::attach
