#include "attach/nbd_kernel.h"

#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <thread>

#include "attach/loop_linux.h"
#include "attach/nbd_netlink_linux.h"
#include "base/units.h"
#include "io/real_host.h"

namespace sp::attach {

namespace {

constexpr uint32_t request_timeout_seconds = 10;
constexpr uint32_t dead_connection_seconds = 7 * 86400;  // I/O waits that long for a successor
constexpr auto poll_interval = std::chrono::milliseconds(20);
constexpr int polls_max = 1500;  // 30 s

constexpr std::string_view identity_prefix = "storpool-";
std::string identity_of(uint64_t id) { return std::string(identity_prefix) + std::to_string(id); }
std::string node_of(uint32_t number) { return "/dev/nbd" + std::to_string(number); }

nbd_netlink::Device description(uint64_t id) {
  nbd_netlink::Device device;
  device.identity = identity_of(id);
  device.timeout_seconds = request_timeout_seconds;
  device.dead_seconds = dead_connection_seconds;
  return device;
}

Result<uint32_t> number_of(uint64_t id) {
  for (const auto& known : nbd_netlink::known_devices())
    if (known.identity == identity_of(id)) return known.number;
  return Error(Code::not_found, "there is no NBD device for volume " + std::to_string(id));
}

// The kernel sets the size a moment after it answers.
Status wait_for_size(uint32_t number, uint64_t size_bytes) {
  Status status;
  for (int i = 0; i < polls_max; ++i) {
    status = check_device(node_of(number), size_bytes);
    if (status.ok()) return status;
    std::this_thread::sleep_for(poll_interval);
  }
  return status;
}

// Disconnecting ends when the last request did; the identity goes last.
Status disconnect_and_wait(uint64_t id, uint32_t number) {
  SP_CHECK(nbd_netlink::disconnect(number));
  for (int i = 0; i < polls_max; ++i) {
    if (!number_of(id).ok()) return ok_status();
    std::this_thread::sleep_for(poll_interval);
  }
  return Error(Code::timed_out,
               node_of(number) + " does not go away: something may still have it open");
}

// A socket file of a process that is gone is in the way of listening.
void remove_dead_socket(const std::string& path) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  path.copy(address.sun_path, sizeof address.sun_path - 1);
  const Fd socket(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  if (::connect(socket.number(), reinterpret_cast<const sockaddr*>(&address), sizeof address) !=
          0 &&
      errno == ECONNREFUSED)
    ::unlink(path.c_str());
}

}  // namespace

struct NbdKernel::Volume {
  std::unique_ptr<client::BlockDevice> device;
  uint32_t number = 0;
  bool ready = false;  // made and not being taken down
  bool reconnecting = false;
};

NbdKernel::NbdKernel(io::RealHost& host, NbdKernelOptions options)
    : host_(host),
      options_(std::move(options)),
      server_(std::make_unique<NbdServer>(host.host())),
      jobs_(host) {
  server_->on_connection_closed([this](const std::string& name) { connection_closed(name); });
}

NbdKernel::~NbdKernel() {
  volumes_.clear();  // drops what is under way, before the server's memory goes
}

Result<std::unique_ptr<NbdKernel>> NbdKernel::create(io::RealHost& host, NbdKernelOptions options) {
  SP_CHECK(make_folder(options.socket.substr(0, options.socket.rfind('/'))));
  remove_dead_socket(options.socket);
  std::unique_ptr<NbdKernel> driver(new NbdKernel(host, std::move(options)));
  SP_CHECK(driver->server_->listen({driver->options_.socket, 0}));
  return driver;
}

void NbdKernel::create(const DeviceSpec& spec, std::unique_ptr<client::BlockDevice> device,
                       Created created) {
  attach(spec, std::move(device), true, std::move(created));
}

void NbdKernel::take_over(const DeviceSpec& spec, std::unique_ptr<client::BlockDevice> device,
                          Created created) {
  attach(spec, std::move(device), false, std::move(created));
}

void NbdKernel::attach(const DeviceSpec& spec, std::unique_ptr<client::BlockDevice> device,
                       bool anew, Created created) {
  SP_ASSERT(!volumes_.contains(spec.id));
  const uint64_t id = spec.id;
  const auto kept = std::make_shared<Created>(std::move(created));
  if (auto status = server_->add_export({identity_of(id), "", spec.read_only, device.get()});
      !status.ok()) {
    const auto error = std::make_shared<Error>(std::move(status).error());
    return host_.host().reactor.post([kept, error] { kept->call_once(std::move(*error)); });
  }
  auto& volume = volumes_[id] = std::make_unique<Volume>();
  volume->device = std::move(device);
  const auto number = std::make_shared<uint32_t>(0);
  jobs_.run(
      [id, anew, number, socket_path = options_.socket]() -> Status {
        auto described = description(id);
        SP_TRY(const Fd socket, nbd_netlink::negotiate(socket_path, identity_of(id), described));
        if (anew) {
          SP_TRY(*number, nbd_netlink::connect(described, socket));
        } else {
          SP_TRY(*number, number_of(id));
          SP_CHECK(nbd_netlink::reconnect(*number, described, socket));
        }
        auto status = wait_for_size(*number, described.size_bytes);
        if (!status.ok() && anew) (void)disconnect_and_wait(id, *number);
        return status;
      },
      [this, id, number, kept](Status status) {
        Volume& made = *volumes_.at(id);
        made.number = *number;
        made.ready = true;
        if (status.ok()) return kept->call_once(node_of(*number));
        const auto error = std::make_shared<Error>(std::move(status).error());
        made.ready = false;
        made.device.reset();
        server_->drop_export(identity_of(id));
        volumes_.erase(id);
        kept->call_once(std::move(*error));
      });
}

// Runs once nothing of the old connection is under way any more, so that its late writes cannot
// overtake those of the new one.
void NbdKernel::connection_closed(const std::string& export_name) {
  const auto id = parse_number(export_name.substr(identity_prefix.size()), UINT64_MAX);
  if (id.ok()) reconnect(*id);
}

void NbdKernel::reconnect(uint64_t id) {
  const auto found = volumes_.find(id);
  if (found == volumes_.end() || !found->second->ready ||
      std::exchange(found->second->reconnecting, true))
    return;
  host_.host().log.warning("the kernel ended an NBD connection: connecting again",
                           {{"volume", id}});
  jobs_.run(
      [id, number = found->second->number, socket_path = options_.socket]() -> Status {
        auto described = description(id);
        SP_TRY(const Fd socket, nbd_netlink::negotiate(socket_path, identity_of(id), described));
        return nbd_netlink::reconnect(number, described, socket);
      },
      [this, id](const Status& status) {
        if (const auto volume = volumes_.find(id); volume != volumes_.end())
          volume->second->reconnecting = false;
        if (!status.ok())
          host_.host().log.error("not connected again",
                                 {{"volume", id}, {"why", status.error().message()}});
      });
}

std::vector<uint64_t> NbdKernel::left_behind() {
  std::vector<uint64_t> ids;
  for (const auto& known : nbd_netlink::known_devices()) {
    if (!known.identity.starts_with(identity_prefix)) continue;
    const auto id = parse_number(known.identity.substr(identity_prefix.size()), UINT64_MAX);
    if (id.ok() && !volumes_.contains(*id)) ids.push_back(*id);
  }
  return ids;
}

void NbdKernel::destroy(uint64_t id, bool force, Done done) {
  const auto kept = std::make_shared<Done>(std::move(done));
  const auto found = volumes_.find(id);
  if (found != volumes_.end()) {
    if (!found->second->ready)
      return host_.host().reactor.post([kept] {
        kept->call_once(
            Error(Code::transient, "the device is still being made or taken down; try again"));
      });
    found->second->ready = false;
  }
  jobs_.run(
      [id, force]() -> Status {
        const auto number = number_of(id);
        if (!number.ok()) return ok_status();  // gone already
        if (!force) SP_CHECK(check_unused(node_of(*number)));
        return force ? nbd_netlink::disconnect(*number) : disconnect_and_wait(id, *number);
      },
      [this, id, kept](Status status) {
        const auto volume = volumes_.find(id);
        if (volume == volumes_.end()) return kept->call_once(std::move(status));
        if (!status.ok()) {
          volume->second->ready = true;
          return kept->call_once(std::move(status));
        }
        volume->second->device.reset();
        volumes_.erase(volume);
        server_->drop_export(identity_of(id));
        kept->call_once(ok_status());
      });
}

void NbdKernel::resized(uint64_t id, Done done) {
  const auto found = volumes_.find(id);
  const bool served = found != volumes_.end() && found->second->ready;
  const uint32_t number = served ? found->second->number : 0;
  const uint64_t size = served ? found->second->device->size_bytes() : 0;
  jobs_.run(
      [served, id, number, size]() -> Status {
        if (!served) return Error(Code::not_found, "the volume has no device");
        auto described = description(id);
        described.size_bytes = size;
        SP_CHECK(nbd_netlink::resize(number, described));
        return wait_for_size(number, size);
      },
      std::move(done));
}

std::string why_no_nbd_kernel() {
  if (::geteuid() != 0) return "setting up devices needs root";
  if (!nbd_netlink::available()) return "the kernel has no NBD client: load the module nbd";
  return "";
}

}  // namespace sp::attach
