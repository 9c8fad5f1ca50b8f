#include "attach/os_linux.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <system_error>
#include <thread>

#include "io/real_host.h"

#ifndef PR_SET_IO_FLUSHER
#define PR_SET_IO_FLUSHER 57
#endif

namespace sp::attach {

namespace {
constexpr size_t job_threads_max = 16;
}

Fd::~Fd() {
  if (number_ >= 0) ::close(number_);
}

Error system_error(std::string_view what, int error_number) {
  Code code = Code::io;
  switch (error_number) {
    case ENOENT:
    case ENXIO:
    case ENODEV: code = Code::not_found; break;
    case EPERM:
    case EACCES: code = Code::not_authorised; break;
    case EBUSY: code = Code::refused; break;
    case EEXIST: code = Code::exists; break;
    default: break;
  }
  return {code, std::string(what) + ": " + std::generic_category().message(error_number)};
}

Result<Fd> open_fd(const std::string& path, int flags) {
  const int number = ::open(path.c_str(), flags | O_CLOEXEC, 0600);
  if (number < 0) return system_error("open " + path, errno);
  return Fd(number);
}

Result<std::string> read_small_file(const std::string& path) {
  SP_TRY(const Fd fd, open_fd(path, O_RDONLY));
  char text[4096];
  const ssize_t count = ::read(fd.number(), text, sizeof text);
  if (count < 0) return system_error("read " + path, errno);
  std::string out(text, static_cast<size_t>(count));
  while (!out.empty() && out.back() == '\n') out.pop_back();
  return out;
}

Status write_small_file(const std::string& path, std::string_view text) {
  SP_TRY(const Fd fd, open_fd(path, O_WRONLY | O_CREAT | O_TRUNC));
  const ssize_t count = ::write(fd.number(), text.data(), text.size());
  if (count != static_cast<ssize_t>(text.size())) return system_error("write " + path, errno);
  return ok_status();
}

std::vector<std::string> list_folder(const std::string& path) {
  std::vector<std::string> names;
  DIR* folder = ::opendir(path.c_str());
  if (folder == nullptr) return names;
  while (const dirent* entry = ::readdir(folder)) {
    const std::string_view name = entry->d_name;
    if (name != "." && name != "..") names.emplace_back(name);
  }
  ::closedir(folder);
  std::sort(names.begin(), names.end());
  return names;
}

Status make_folder(const std::string& path) {
  for (size_t slash = path.find('/', 1);; slash = path.find('/', slash + 1)) {
    const std::string part = path.substr(0, slash);
    if (::mkdir(part.c_str(), 0755) != 0 && errno != EEXIST)
      return system_error("make folder " + part, errno);
    if (slash == std::string::npos) return ok_status();
  }
}

Result<Fd> lock_folder(const std::string& folder, std::chrono::milliseconds patience) {
  SP_CHECK(make_folder(folder));
  const std::string path = folder + "/lock";
  SP_TRY(Fd file, open_fd(path, O_RDWR | O_CREAT | O_CLOEXEC));
  constexpr std::chrono::milliseconds step{50};
  while (::flock(file.number(), LOCK_EX | LOCK_NB) != 0) {
    if (errno != EWOULDBLOCK && errno != EINTR) return system_error("lock " + path, errno);
    if (patience <= step) {
      const auto owner = read_small_file(path);
      return Error(Code::refused, folder + " is in use by process " +
                                      (owner.ok() && !owner->empty() ? *owner : "(unknown)") +
                                      ": stop it first");
    }
    ::usleep(static_cast<useconds_t>(std::chrono::microseconds(step).count()));
    patience -= step;
  }
  const std::string pid = std::to_string(::getpid());
  if (::ftruncate(file.number(), 0) != 0 ||
      ::pwrite(file.number(), pid.data(), pid.size(), 0) != static_cast<ssize_t>(pid.size()))
    return system_error("write " + path, errno);
  return file;
}

std::vector<std::string> protect_from_memory_pressure() {
  std::vector<std::string> missing;
  if (::prctl(PR_SET_IO_FLUSHER, 1, 0, 0, 0) != 0)
    missing.push_back(system_error("mark as I/O flusher", errno).message());
  // Pages are locked as they are touched: locking all of them at once would take every thread's
  // whole stack.
  if (::mlockall(MCL_CURRENT | MCL_FUTURE | MCL_ONFAULT) != 0)
    missing.push_back(system_error("lock memory", errno).message());
  if (const auto status = write_small_file("/proc/self/oom_score_adj", "-1000"); !status.ok())
    missing.push_back(status.error().message());
  return missing;
}

struct BlockingJobs::Job {
  std::function<Status()> work;
  Callback<void(Status)> done;
};

struct BlockingJobs::Shared {
  std::mutex mutex;
  io::RealHost* host = nullptr;  // null once the owner is gone
  std::deque<std::unique_ptr<Job>> waiting;
  size_t running = 0;
};

BlockingJobs::BlockingJobs(io::RealHost& host) : shared_(std::make_shared<Shared>()) {
  shared_->host = &host;
}

BlockingJobs::~BlockingJobs() {
  std::deque<std::unique_ptr<Job>> dropped;
  const std::lock_guard lock(shared_->mutex);
  shared_->host = nullptr;
  dropped.swap(shared_->waiting);
}

void BlockingJobs::run(std::function<Status()> work, Callback<void(Status)> done) {
  const std::lock_guard lock(shared_->mutex);
  shared_->waiting.push_back(std::make_unique<Job>(Job{std::move(work), std::move(done)}));
  if (shared_->running >= job_threads_max) return;
  ++shared_->running;
  std::thread([shared = shared_] { start(shared); }).detach();
}

void BlockingJobs::start(const std::shared_ptr<Shared>& shared) {
  while (true) {
    std::unique_ptr<Job> job;
    {
      const std::lock_guard lock(shared->mutex);
      if (shared->waiting.empty()) {
        --shared->running;
        return;
      }
      job = std::move(shared->waiting.front());
      shared->waiting.pop_front();
    }
    auto outcome = std::make_unique<Status>(job->work());
    const std::lock_guard lock(shared->mutex);
    if (shared->host == nullptr) continue;
    // The completion is looked at on the reactor only, and there only while the owner is alive.
    shared->host->post_from_other_thread(
        [weak = std::weak_ptr<Shared>(shared), job = std::move(job), outcome = std::move(outcome)] {
          const auto alive = weak.lock();
          bool wanted = false;
          if (alive != nullptr) {
            const std::lock_guard guard(alive->mutex);
            wanted = alive->host != nullptr;
          }
          if (wanted) job->done.call_once(std::move(*outcome));
        });
  }
}

}  // namespace sp::attach
