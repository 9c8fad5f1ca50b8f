#include <fcntl.h>
#include <libnvme.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <sstream>

#include "base/buffer.h"
#include "disk/discover.h"

namespace sp::disk {

namespace {

namespace fs = std::filesystem;

std::string first_line(const fs::path& path) {
  std::ifstream file(path);
  std::string line;
  std::getline(file, line);
  while (!line.empty() && line.back() == ' ') line.pop_back();
  return line;
}

std::string mount_of(const std::string& numbers) {
  std::ifstream mounts("/proc/self/mountinfo");
  for (std::string line; std::getline(mounts, line);) {
    std::istringstream fields(line);
    std::string id, parent, device, root, point;
    fields >> id >> parent >> device >> root >> point;
    if (device == numbers) return "mounted at " + point;
  }
  return {};
}

bool is_swap(const std::string& path) {
  std::ifstream swaps("/proc/swaps");
  for (std::string line; std::getline(swaps, line);)
    if (line.compare(0, path.size() + 1, path + " ") == 0 ||
        line.compare(0, path.size() + 1, path + "\t") == 0)
      return true;
  return false;
}

// `directory`: of the device or partition under /sys/class/block.
std::string user_of(const fs::path& directory, const std::string& path) {
  if (const std::string mounted = mount_of(first_line(directory / "dev")); !mounted.empty())
    return mounted;
  if (is_swap(path)) return "swap space in use";
  std::error_code ignored;
  for (const auto& holder : fs::directory_iterator(directory / "holders", ignored))
    return "held by " + holder.path().filename().string();
  for (const auto& entry : fs::directory_iterator(directory, ignored))
    if (fs::exists(entry.path() / "partition", ignored)) return "partitioned";
  return {};
}

void nvme_identity(const std::string& name, Device& device) {
  nvme_root_t root = nvme_scan(nullptr);
  if (root == nullptr) return;
  nvme_host_t host;
  nvme_subsystem_t subsystem;
  nvme_ctrl_t controller;
  nvme_ns_t name_space;
  nvme_for_each_host(root, host) nvme_for_each_subsystem(host, subsystem)
      nvme_subsystem_for_each_ctrl(subsystem, controller)
          nvme_ctrl_for_each_ns(controller, name_space) {
    if (name != nvme_ns_get_name(name_space)) continue;
    if (device.model.empty()) device.model = nvme_ctrl_get_model(controller);
    if (device.serial.empty()) device.serial = nvme_ctrl_get_serial(controller);
  }
  nvme_free_tree(root);
}

void look_at(Device& device) {
  const int file = ::open(device.path.c_str(), O_RDONLY | O_CLOEXEC);
  if (file < 0) {
    device.problem = std::strerror(errno);
    return;
  }
  constexpr uint64_t window = 128 << 10;
  const uint64_t usable = device.size_bytes / 4096 * 4096;
  const uint64_t size = std::min(window, usable);
  const Buffer head = Buffer::zeroed(window);
  const Buffer tail = Buffer::zeroed(window);
  const bool read = ::pread(file, head.data(), size, 0) == static_cast<ssize_t>(size) &&
                    ::pread(file, tail.data(), size, static_cast<off_t>(usable - size)) ==
                        static_cast<ssize_t>(size);
  if (!read) device.problem = "it cannot be read";
  ::close(file);
  const ProbeWindow windows[] = {{0, head.bytes().first(size)},
                                 {usable - size, tail.bytes().first(size)}};
  if (read) device.holds = recognise(windows, device.size_bytes);
}

}  // namespace

Result<std::vector<Device>> discover_devices() {
  std::vector<Device> devices;
  std::error_code failed;
  for (const auto& entry : fs::directory_iterator("/sys/class/block", failed)) {
    const fs::path& directory = entry.path();
    const std::string name = directory.filename().string();
    Device device;
    device.path = "/dev/" + name;
    device.size_bytes = std::strtoull(first_line(directory / "size").c_str(), nullptr, 10) * 512;
    if (device.size_bytes == 0) continue;
    std::error_code ignored;
    const fs::path whole = fs::exists(directory / "partition", ignored)
                               ? fs::canonical(directory, ignored).parent_path()
                               : directory;
    device.model = first_line(whole / "device/model");
    device.serial = first_line(whole / "device/serial");
    if (name.rfind("nvme", 0) == 0 && (device.model.empty() || device.serial.empty()))
      nvme_identity(whole.filename().string(), device);
    device.rotational = first_line(whole / "queue/rotational") == "1";
    device.read_only = first_line(directory / "ro") == "1";
    device.used_by = user_of(directory, device.path);
    look_at(device);
    devices.push_back(std::move(device));
  }
  if (failed) return Error(Code::io, "reading /sys/class/block: " + failed.message());
  std::sort(devices.begin(), devices.end(),
            [](const Device& a, const Device& b) { return a.path < b.path; });
  return devices;
}

std::string device_user(const std::string& path) {
  struct stat info {};
  if (::stat(path.c_str(), &info) != 0 || !S_ISBLK(info.st_mode)) return {};
  const std::string numbers =
      std::to_string(major(info.st_rdev)) + ":" + std::to_string(minor(info.st_rdev));
  std::error_code failed;
  const fs::path directory = fs::canonical("/sys/dev/block/" + numbers, failed);
  return failed ? std::string() : user_of(directory, "/dev/" + directory.filename().string());
}

}  // namespace sp::disk
