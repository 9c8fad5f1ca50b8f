#include "attach/loop_linux.h"

#include <fcntl.h>
#include <linux/fs.h>
#include <linux/loop.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <fstream>
#include <sstream>

#include "base/limits.h"

namespace sp::attach {

namespace {

constexpr int free_loop_tries = 64;  // others may take the free device that the kernel named
constexpr size_t users_named_max = 8;

std::string base_name(const std::string& path) { return path.substr(path.rfind('/') + 1); }

// Device nodes come from devtmpfs; where /dev is something else they are made here.
Status ensure_node(const std::string& node) {
  struct stat info {};
  if (::stat(node.c_str(), &info) == 0) return ok_status();
  SP_TRY(const std::string numbers, read_small_file("/sys/block/" + base_name(node) + "/dev"));
  const size_t colon = numbers.find(':');
  const auto device = makedev(static_cast<unsigned>(std::stoul(numbers.substr(0, colon))),
                              static_cast<unsigned>(std::stoul(numbers.substr(colon + 1))));
  if (::mknod(node.c_str(), S_IFBLK | 0660, device) != 0 && errno != EEXIST)
    return system_error("make " + node, errno);
  return ok_status();
}

// Mount points from /proc/self/mountinfo whose device is major:minor.
std::vector<std::string> mounts_of(const std::string& numbers) {
  std::vector<std::string> found;
  std::ifstream mounts("/proc/self/mountinfo");
  for (std::string line; std::getline(mounts, line);) {
    std::istringstream fields(line);
    std::string id, parent, device, root, where;
    fields >> id >> parent >> device >> root >> where;
    if (device == numbers) found.push_back("mounted on " + where);
  }
  return found;
}

std::vector<std::string> processes_of(const std::string& node) {
  std::vector<std::string> found;
  const std::string own = std::to_string(::getpid());
  for (const std::string& pid : list_folder("/proc")) {
    if (pid.find_first_not_of("0123456789") != std::string::npos || pid == own) continue;
    const std::string folder = "/proc/" + pid + "/fd";
    for (const std::string& fd : list_folder(folder)) {
      char target[256];
      const ssize_t count = ::readlink((folder + "/" + fd).c_str(), target, sizeof target);
      if (count < 0 || std::string_view(target, static_cast<size_t>(count)) != node) continue;
      const auto name = read_small_file("/proc/" + pid + "/comm");
      found.push_back("open in process " + pid + (name.ok() ? " (" + *name + ")" : ""));
      break;
    }
    if (found.size() >= users_named_max) break;
  }
  return found;
}

std::vector<std::string> users_of(const std::string& node) {
  std::vector<std::string> users;
  const std::string folder = "/sys/block/" + base_name(node);
  if (const auto numbers = read_small_file(folder + "/dev"); numbers.ok())
    users = mounts_of(*numbers);
  for (const std::string& holder : list_folder(folder + "/holders"))
    users.push_back("held by " + holder);
  for (std::string& process : processes_of(node)) users.push_back(std::move(process));
  return users;
}

Error in_use(const std::string& node, const std::vector<std::string>& users) {
  std::string text = node + " is in use";
  for (size_t i = 0; i < users.size() && i < users_named_max; ++i)
    text += (i == 0 ? ": " : ", ") + users[i];
  return {Code::refused, text + "; close it first, or force to give its users errors"};
}

}  // namespace

Status check_unused(const std::string& node) {
  const auto exclusive = open_fd(node, O_RDONLY | O_EXCL);
  const auto users = users_of(node);
  if (!users.empty() || (!exclusive.ok() && exclusive.error().code() == Code::refused))
    return in_use(node, users);
  return ok_status();
}

Status check_device(const std::string& node, uint64_t size_bytes) {
  SP_CHECK(ensure_node(node));
  SP_TRY(const Fd device, open_fd(node, O_RDONLY));
  uint64_t size = 0;
  if (::ioctl(device.number(), BLKGETSIZE64, &size) != 0)
    return system_error("size of " + node, errno);
  if (size != size_bytes)
    return Error(Code::io, node + " has " + std::to_string(size) + " bytes instead of " +
                               std::to_string(size_bytes));
  return ok_status();
}

Result<std::string> make_loop(const std::string& file, uint64_t size_bytes, bool read_only) {
  SP_TRY(const Fd backing, open_fd(file, (read_only ? O_RDONLY : O_RDWR) | O_DIRECT));
  SP_TRY(const Fd control, open_fd("/dev/loop-control", O_RDWR));
  for (int i = 0; i < free_loop_tries; ++i) {
    const int index = ::ioctl(control.number(), LOOP_CTL_GET_FREE);
    if (index < 0) return system_error("find a free loop device", errno);
    const std::string node = "/dev/loop" + std::to_string(index);
    SP_CHECK(ensure_node(node));
    SP_TRY(const Fd loop, open_fd(node, read_only ? O_RDONLY : O_RDWR));
    loop_config config{};
    config.fd = static_cast<uint32_t>(backing.number());
    config.block_size = limits::block_bytes;
    config.info.lo_flags = LO_FLAGS_DIRECT_IO | (read_only ? LO_FLAGS_READ_ONLY : 0);
    file.copy(reinterpret_cast<char*>(config.info.lo_file_name), LO_NAME_SIZE - 1);
    if (::ioctl(loop.number(), LOOP_CONFIGURE, &config) != 0) {
      if (errno == EBUSY) continue;
      return system_error("set up " + node, errno);
    }
    loop_info64 info{};
    Status status = ok_status();
    if (::ioctl(loop.number(), LOOP_GET_STATUS64, &info) != 0)
      status = system_error("state of " + node, errno);
    else if ((info.lo_flags & LO_FLAGS_DIRECT_IO) == 0)
      status = Error(Code::failed, node + " does no direct I/O over " + file);
    if (status.ok()) status = check_device(node, size_bytes);
    if (status.ok()) return node;
    ::ioctl(loop.number(), LOOP_CLR_FD);
    return std::move(status).error();
  }
  return Error(Code::transient, "every free loop device was taken by others meanwhile; try again");
}

std::optional<std::string> find_loop(const std::string& file) {
  for (const std::string& name : list_folder("/sys/block")) {
    if (!name.starts_with("loop")) continue;
    // From sysfs, since LOOP_GET_STATUS64 asks the file system, which may have nobody to answer it
    // now.
    const auto backing = read_small_file("/sys/block/" + name + "/loop/backing_file");
    if (backing.ok() && *backing == file) return "/dev/" + name;
  }
  return std::nullopt;
}

Status remove_loop(const std::string& node, bool force) {
  if (!force) SP_CHECK(check_unused(node));
  {
    SP_TRY(const Fd loop, open_fd(node, O_RDONLY));
    if (::ioctl(loop.number(), LOOP_CLR_FD) != 0 && errno != ENXIO)
      return system_error("take down " + node, errno);
  }
  if (force) return ok_status();
  // Somebody may have opened it in between: then the kernel only promised to take it down at the
  // last close. Take that back.
  SP_TRY(const Fd loop, open_fd(node, O_RDONLY));
  loop_info64 info{};
  if (::ioctl(loop.number(), LOOP_GET_STATUS64, &info) != 0) return ok_status();
  info.lo_flags &= ~static_cast<uint32_t>(LO_FLAGS_AUTOCLEAR);
  if (::ioctl(loop.number(), LOOP_SET_STATUS64, &info) != 0)
    return system_error("keep " + node, errno);
  return in_use(node, users_of(node));
}

Status resize_loop(const std::string& node, const std::string& file, uint64_t size_bytes) {
  struct stat info {};
  if (::stat(file.c_str(), &info) != 0)
    return system_error("look at " + file, errno);  // the kernel learns the new size
  {
    SP_TRY(const Fd loop, open_fd(node, O_RDONLY));
    if (::ioctl(loop.number(), LOOP_SET_CAPACITY) != 0)
      return system_error("resize " + node, errno);
  }
  return check_device(node, size_bytes);
}

}  // namespace sp::attach
