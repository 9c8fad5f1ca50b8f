// What the drivers of this module need of Linux beside their own interfaces: owned file
// descriptors, errors with the system's text, and threads for calls that block: opening a device
// that this very process serves would hang the reactor. Below the seam: never used in simulation.
#pragma once
#include <chrono>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/callback.h"
#include "base/result.h"

namespace sp::io {
class RealHost;
}

namespace sp::attach {

class Fd {
 public:
  Fd() = default;
  explicit Fd(int number) : number_(number) {}
  Fd(Fd&& other) noexcept : number_(std::exchange(other.number_, -1)) {}
  Fd& operator=(Fd&& other) noexcept {
    std::swap(number_, other.number_);
    return *this;
  }
  ~Fd();
  explicit operator bool() const { return number_ >= 0; }
  int number() const { return number_; }
  void reset() { *this = Fd(); }

 private:
  int number_ = -1;
};

// "open /dev/x: Permission denied", from errno as it stands.
Error system_error(std::string_view what, int error_number);
Result<Fd> open_fd(const std::string& path, int flags);
Result<std::string> read_small_file(const std::string& path);  // without the line end
Status write_small_file(const std::string& path, std::string_view text);
std::vector<std::string> list_folder(const std::string& path);  // sorted; empty when there is none
Status make_folder(const std::string& path);                    // and those above it
// This process's alone until the Fd closes (flock(2) on FOLDER/lock, made with the folder). Waits
// up to `patience` for a holder that is on its way out. Code::refused, saying who has it.
Result<Fd> lock_folder(const std::string& folder, std::chrono::milliseconds patience);

// Keeps write-back of dirty pages from waiting for this process while it waits for memory:
// everything locked into memory, marked as an I/O flusher (before other threads start: they inherit
// it), and the last to be killed when memory runs out. Best effort; what could not be done is
// named.
std::vector<std::string> protect_from_memory_pressure();

// Runs jobs on threads of their own, at most a few at a time, and their completions on the reactor.
// Destroying it forgets completions; a job that hangs does not hold up anybody.
class BlockingJobs {
 public:
  explicit BlockingJobs(io::RealHost& host);
  ~BlockingJobs();
  void run(std::function<Status()> work, Callback<void(Status)> done);

 private:
  struct Shared;
  struct Job;
  static void start(const std::shared_ptr<Shared>& shared);
  std::shared_ptr<Shared> shared_;
};

}  // namespace sp::attach
