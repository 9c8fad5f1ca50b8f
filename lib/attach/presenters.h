// Presenters: the two ways in which a Follower shows volumes to users.
// Thread rule: the reactor's; must outlive the Follower that uses them, and be destroyed before the
// host.
#pragma once
#include <map>
#include <memory>
#include <string>

#include "attach/device.h"
#include "attach/follower.h"
#include "attach/nbd_server.h"

namespace sp::attach {

// Block devices of this host.
class DevicePresenter : public Presenter {
 public:
  DevicePresenter(io::Host& host, std::vector<std::unique_ptr<Driver>> drivers,
                  AttachOptions options)
      : host_(host), manager_(host, std::move(drivers), std::move(options)) {}
  void present(const Item& item, std::unique_ptr<client::BlockDevice> device,
               Presented done) override;
  void withdraw(const Item& item, bool force, Done done) override {
    manager_.detach(item.name, force, std::move(done));
  }
  void rename(const Item& item, const std::string& name, Done done) override {
    manager_.rename(item.name, name, std::move(done));
  }
  void resized(const Item& item, Done done) override {
    manager_.resized(item.name, std::move(done));
  }
  void settled() override;

 private:
  io::Host& host_;
  AttachManager manager_;
};

// Exports of an NBD server, each under its volume's name. The path that users are told is
// "nbd+unix:///NAME?socket=PATH".
class NbdPresenter : public Presenter {
 public:
  NbdPresenter(io::Host& host, std::string socket_path)
      : host_(host), server_(host), socket_path_(std::move(socket_path)) {}
  Status listen() { return server_.listen({socket_path_, 0}); }
  void present(const Item& item, std::unique_ptr<client::BlockDevice> device,
               Presented done) override;
  void withdraw(const Item& item, bool force, Done done) override;
  // Clients have the old name open: the export keeps it.
  void rename(const Item&, const std::string&, Done done) override { later(std::move(done), {}); }
  // The next request sees the new size.
  void resized(const Item&, Done done) override { later(std::move(done), {}); }

 private:
  struct Shown {
    std::string name;
    std::unique_ptr<client::BlockDevice> device;
  };
  void later(Done done, Status status);
  io::Host& host_;
  std::map<VolumeId, Shown> shown_;
  NbdServer server_;  // destroyed before the devices that it refers to
  std::string socket_path_;
};

// An NBD server on a unix socket that follows the attachments of one client.
struct NbdService {
  std::unique_ptr<NbdPresenter> presenter;
  std::unique_ptr<Follower> follower;  // destroyed first

  static Result<std::shared_ptr<NbdService>> start(io::Host& host, member::Options options,
                                                   const std::string& socket_path,
                                                   Follower::IdText id_text);
};

}  // namespace sp::attach
