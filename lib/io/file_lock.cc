#include "io/file_lock.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <linux/fs.h>
#include <sys/file.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

namespace sp::io {

namespace {

constexpr uint32_t size_unit = 512;

Status make_name_durable(const std::string& path) {
  const auto slash = path.rfind('/');
  const std::string directory = slash == std::string::npos ? "."
                                : slash == 0               ? "/"
                                                           : path.substr(0, slash);
  const OwnedFd fd(::open(directory.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (fd.get() < 0) return system_error(directory, "open", errno);
  if (fsync(fd.get()) != 0 && errno != EINVAL) return system_error(directory, "fsync", errno);
  return {};
}

Status prepare_new(const OwnedFd& fd, const std::string& path, uint64_t size_bytes) {
  if (ftruncate(fd.get(), static_cast<off_t>(size_bytes)) != 0)
    return system_error(path, "set size", errno);
  if (fsync(fd.get()) != 0) return system_error(path, "fsync", errno);
  return make_name_durable(path);
}

}  // namespace

OwnedFd::~OwnedFd() {
  if (fd_ >= 0) close(fd_);
}

Error system_error(const std::string& path, std::string_view what, int error_number) {
  Code code = Code::io;
  switch (error_number) {
    case ENOENT:
    case ENOTDIR:
    case ENXIO:
    case ENODEV: code = Code::not_found; break;
    case EEXIST: code = Code::exists; break;
    case EBUSY:
    case EWOULDBLOCK: code = Code::refused; break;
    case EACCES:
    case EPERM:
    case EROFS: code = Code::not_authorised; break;
    case ENOSPC:
    case EDQUOT:
    case EFBIG: code = Code::no_space; break;
    case EISDIR:
    case EINVAL: code = Code::invalid; break;
    default: break;
  }
  return {code, fmt::format("{}: {}: {}", path, what, std::strerror(error_number))};
}

Result<OpenedFile> open_locked(const std::string& path, const OpenOptions& options) {
  const bool creating = options.mode == OpenOptions::Mode::create;
  if (creating && (options.size_bytes == 0 || options.size_bytes % size_unit != 0)) {
    return Error(
        Code::invalid,
        fmt::format("{}: the size of a new disk must be a multiple of {} bytes and not 0, it is {}",
                    path, size_unit, options.size_bytes));
  }
  // O_NONBLOCK only against hanging in the open of a pipe: it is taken off again below.
  int flags =
      O_CLOEXEC | O_NONBLOCK | (options.mode == OpenOptions::Mode::read_only ? O_RDONLY : O_RDWR);
  if (creating) flags |= O_CREAT | O_EXCL;
  struct stat about {};
  const bool is_block_device =
      !creating && stat(path.c_str(), &about) == 0 && S_ISBLK(about.st_mode);
  if (is_block_device && options.exclusive) flags |= O_EXCL;
  OpenedFile opened;
  opened.fd = OwnedFd(::open(path.c_str(), flags, 0600));
  const int fd = opened.fd.get();
  if (fd < 0 && errno == EBUSY) {
    return Error(Code::refused, path + " is in use: it is mounted, or another process holds it");
  }
  if (fd < 0) return system_error(path, creating ? "create" : "open", errno);
  if (fstat(fd, &about) != 0) return system_error(path, "stat", errno);
  opened.is_block_device = S_ISBLK(about.st_mode);
  if (!opened.is_block_device && !S_ISREG(about.st_mode)) {
    return Error(Code::invalid, path + " is neither a file nor a block device");
  }
  if (fcntl(fd, F_SETFL, 0) != 0) return system_error(path, "set flags", errno);
  if (flock(fd, (options.exclusive ? LOCK_EX : LOCK_SH) | LOCK_NB) != 0) {
    if (errno != EWOULDBLOCK) return system_error(path, "lock", errno);
    return Error(Code::refused, path + " is in use by another process (lslocks names it)");
  }
  if (creating) {
    if (auto status = prepare_new(opened.fd, path, options.size_bytes); !status.ok()) {
      unlink(path.c_str());
      return std::move(status).error();
    }
    opened.size_bytes = options.size_bytes;
  } else if (opened.is_block_device) {
    int sector = 0;
    if (ioctl(fd, BLKGETSIZE64, &opened.size_bytes) != 0)
      return system_error(path, "ask for the size", errno);
    if (ioctl(fd, BLKSSZGET, &sector) != 0)
      return system_error(path, "ask for the sector size", errno);
    opened.sector_bytes = sector <= 512 ? 512 : static_cast<uint32_t>(sector);
  } else {
    opened.size_bytes = static_cast<uint64_t>(about.st_size) / size_unit * size_unit;
  }
  return opened;
}

}  // namespace sp::io
