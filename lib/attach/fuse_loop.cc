#include "attach/fuse_loop.h"

#include <fcntl.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>

#include "attach/fuse_channel_linux.h"
#include "attach/loop_linux.h"
#include "base/units.h"
#include "io/real_host.h"

namespace sp::attach {

struct FuseLoop::Volume {
  DeviceSpec spec;
  std::unique_ptr<FuseChannel> channel;
  std::unique_ptr<client::BlockDevice> device;  // goes before the channel: drops what is under way
  std::string node;
  Created created;
  bool ready = false;
};

// Where a volume's mount is. Jobs hold a copy, since they may outlive the driver.
struct FuseLoop::Place {
  std::shared_ptr<FdStore> store;
  std::string mount_point;
  std::string file;
  std::string held_name;
};

FuseLoop::Place FuseLoop::place(uint64_t id) const {
  const std::string mount_point = options_.folder + "/" + std::to_string(id);
  return {store_, mount_point, mount_point + "/" + std::string(FuseServer::file_name),
          "fuse-" + std::to_string(id)};
}

namespace {

Result<Fd> mount_fuse(const std::string& mount_point) {
  SP_CHECK(make_folder(mount_point));
  SP_TRY(Fd fd, open_fd("/dev/fuse", O_RDWR | O_NONBLOCK));
  const std::string options =
      "fd=" + std::to_string(fd.number()) +
      ",rootmode=40000,user_id=0,group_id=0,max_read=" + std::to_string(FuseServer::data_bytes_max);
  constexpr unsigned long flags = MS_NOSUID | MS_NODEV | MS_NOEXEC | MS_NOATIME;
  if (::mount("storpool", mount_point.c_str(), "fuse.storpool", flags, options.c_str()) != 0)
    return system_error("mount FUSE at " + mount_point, errno);
  return fd;
}

}  // namespace

FuseLoop::FuseLoop(io::RealHost& host, std::shared_ptr<FdStore> store, FuseLoopOptions options)
    : host_(host), store_(std::move(store)), options_(std::move(options)), jobs_(host) {}

FuseLoop::~FuseLoop() = default;

void FuseLoop::create(const DeviceSpec& spec, std::unique_ptr<client::BlockDevice> device,
                      Created created) {
  SP_ASSERT(!volumes_.contains(spec.id));
  auto& volume = volumes_[spec.id] = std::make_unique<Volume>();
  volume->spec = spec;
  volume->device = std::move(device);
  volume->created = std::move(created);
  const auto fd = std::make_shared<Fd>();
  jobs_.run(
      [place = place(spec.id), fd]() -> Status {
        SP_TRY(*fd, mount_fuse(place.mount_point));
        return place.store->hold(place.held_name, *fd);
      },
      [this, id = spec.id, fd](Status status) {
        if (!status.ok()) return failed(id, std::move(status).error());
        serve(id, std::move(*fd));
        make_device(id);
      });
}

void FuseLoop::serve(uint64_t id, Fd fd) {
  Volume& volume = *volumes_.at(id);
  volume.channel = std::make_unique<FuseChannel>(
      host_, std::move(fd), *volume.device, volume.spec.read_only, "volume " + std::to_string(id));
}

// Opening the file and configuring the loop device are answered by our own channel: hence not on
// the reactor.
void FuseLoop::make_device(uint64_t id) {
  Volume& volume = *volumes_.at(id);
  const uint64_t size = volume.device->size_bytes();
  const bool read_only = volume.spec.read_only || volume.device->read_only();
  const auto node = std::make_shared<std::string>();
  jobs_.run(
      [place = place(id), size, read_only, node]() -> Status {
        SP_TRY(*node, make_loop(place.file, size, read_only));
        return ok_status();
      },
      [this, id, node](Status status) {
        if (!status.ok()) return failed(id, std::move(status).error());
        volumes_.at(id)->node = *node;
        finish(id, *node);
      });
}

void FuseLoop::finish(uint64_t id, Result<std::string> outcome) {
  Volume& volume = *volumes_.at(id);
  volume.ready = true;
  volume.created.call_once(std::move(outcome));
}

// Nothing is left behind.
void FuseLoop::failed(uint64_t id, Error error) {
  const auto kept = std::make_shared<Error>(std::move(error));
  take_down(id, true, [this, id, kept](const Status& cleared) {
    auto volume = std::move(volumes_.at(id));
    volumes_.erase(id);
    if (!cleared.ok())
      host_.host().log.error("FUSE mount left",
                             {{"path", place(id).mount_point}, {"why", cleared.error().message()}});
    volume->created.call_once(
        std::move(*kept).with("make a device for volume " + std::to_string(id)));
  });
}

std::vector<uint64_t> FuseLoop::left_behind() {
  std::vector<uint64_t> ids;
  for (const std::string& name : list_folder(options_.folder))
    if (const auto id = parse_number(name, UINT64_MAX); id.ok() && !volumes_.contains(*id))
      ids.push_back(*id);
  return ids;
}

void FuseLoop::take_over(const DeviceSpec& spec, std::unique_ptr<client::BlockDevice> device,
                         Created created) {
  SP_ASSERT(!volumes_.contains(spec.id));
  auto& volume = volumes_[spec.id] = std::make_unique<Volume>();
  volume->spec = spec;
  volume->device = std::move(device);
  volume->created = std::move(created);
  struct Found {
    Fd fd;
    std::optional<std::string> node;
  };
  const auto found = std::make_shared<Found>();
  const uint64_t id = spec.id;
  jobs_.run(
      [place = place(id), found]() -> Status {
        SP_TRY(found->fd, place.store->fetch(place.held_name));
        found->node = find_loop(place.file);
        return found->node ? ok_status()
                           : Status(Error(Code::not_found, "no loop device was made yet"));
      },
      [this, id, found](Status status) {
        if (status.ok()) {
          serve(id, std::move(found->fd));
          status = volumes_.at(id)->channel->ask_again();
          if (!status.ok()) volumes_.at(id)->channel.reset();  // it has read nothing yet
        }
        if (status.ok()) {
          Volume& taken = *volumes_.at(id);
          taken.node = *found->node;
          // The size may have changed meanwhile; this also proves that the device answers.
          const uint64_t size = taken.device->size_bytes();
          return jobs_.run([file = place(id).file, size,
                            node = taken.node] { return resize_loop(node, file, size); },
                           [this, id](Status resized) {
                             if (!resized.ok()) return failed(id, std::move(resized).error());
                             finish(id, volumes_.at(id)->node);
                           });
        }
        host_.host().log.warning(
            "device cannot be taken over and is made anew; what had it open gets errors",
            {{"volume", id}, {"why", status.error().message()}});
        take_down(id, true, [this, id](const Status&) {
          auto old = std::move(volumes_.at(id));
          volumes_.erase(id);
          create(old->spec, std::move(old->device), std::move(old->created));
        });
      });
}

// Blocking: loop device, mount, the held descriptor and the folder, as far as they are there.
Status FuseLoop::clear_mount(const Place& place, bool force, bool served) {
  const auto node = find_loop(place.file);
  const std::string& path = place.mount_point;
  if (node && !force) SP_CHECK(check_unused(*node));
  // Aborts the conversation, so that whatever waits for it gets an error. When nobody serves it,
  // taking down would wait for ever otherwise.
  if (force || !served) ::umount2(path.c_str(), MNT_FORCE);
  if (node) SP_CHECK(remove_loop(*node, force || !served));
  if (::umount2(path.c_str(), force ? MNT_DETACH : 0) != 0 && errno != EINVAL && errno != ENOENT) {
    if (errno != EBUSY || ::umount2(path.c_str(), MNT_DETACH) != 0)
      return system_error("unmount " + path, errno);
  }
  SP_CHECK(place.store->drop(place.held_name));
  if (::rmdir(path.c_str()) != 0 && errno != ENOENT) return system_error("remove " + path, errno);
  return ok_status();
}

// Takes everything down. Not forced, the channel serves on to the end: taking the loop device down
// may flush.
void FuseLoop::take_down(uint64_t id, bool force, Done done) {
  const auto kept = std::make_shared<Done>(std::move(done));
  const auto found = volumes_.find(id);
  const bool served = found != volumes_.end() && found->second->channel != nullptr;
  jobs_.run([place = place(id), force, served] { return clear_mount(place, force, served); },
            [this, id, force, kept](Status status) {
              Volume* volume = volumes_.contains(id) ? volumes_.at(id).get() : nullptr;
              if (!status.ok() || volume == nullptr || volume->channel == nullptr || force)
                return kept->call_once(std::move(status));
              volume->channel->server().close([this, kept] {
                // In a turn of its own: the channel is still in the call that led here.
                host_.host().reactor.post([kept] { kept->call_once(ok_status()); });
              });
            });
}

void FuseLoop::destroy(uint64_t id, bool force, Done done) {
  if (const auto found = volumes_.find(id); found != volumes_.end()) {
    if (!found->second->ready)
      return host_.host().reactor.post([kept = std::make_unique<Done>(std::move(done))] {
        kept->call_once(
            Error(Code::transient, "the device is still being made or taken down; try again"));
      });
    found->second->ready = false;
  }
  const auto kept = std::make_shared<Done>(std::move(done));
  take_down(id, force, [this, id, kept](Status status) {
    const auto found = volumes_.find(id);
    if (found != volumes_.end() && status.ok())
      volumes_.erase(found);
    else if (found != volumes_.end())
      found->second->ready = true;
    kept->call_once(std::move(status));
  });
}

void FuseLoop::resized(uint64_t id, Done done) {
  const auto found = volumes_.find(id);
  if (found == volumes_.end() || !found->second->ready)
    return host_.host().reactor.post([kept = std::make_unique<Done>(std::move(done))] {
      kept->call_once(Error(Code::not_found, "the volume has no device"));
    });
  const uint64_t size = found->second->device->size_bytes();
  jobs_.run([file = place(id).file, size,
             node = found->second->node] { return resize_loop(node, file, size); },
            std::move(done));
}

std::string why_no_fuse_loop() {
  if (::geteuid() != 0) return "mounting needs root";
  for (const char* path : {"/dev/fuse", "/dev/loop-control"})
    if (const auto fd = open_fd(path, O_RDWR); !fd.ok()) return fd.error().message();
  return "";
}

}  // namespace sp::attach
