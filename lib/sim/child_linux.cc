#include "sim/child_linux.h"

#include <signal.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <utility>

#include "base/assert.h"

#ifdef __has_feature
#if __has_feature(address_sanitizer)
#include <sanitizer/lsan_interface.h>
#define SP_LEAK_CHECK() __lsan_do_recoverable_leak_check()
#endif
#endif
#ifndef SP_LEAK_CHECK
#define SP_LEAK_CHECK() 0
#endif

namespace sp::sim {

namespace {

constexpr unsigned run_seconds_max = 900;  // real time; a run takes seconds
constexpr int leaked_code = 17;

int make_file(const char* name) {
  const int file = memfd_create(name, MFD_CLOEXEC);
  SP_ASSERT_OP(file, >=, 0);
  return file;
}

void write_all(int file, const std::string& bytes) {
  for (size_t at = 0; at < bytes.size();) {
    const ssize_t wrote = ::write(file, bytes.data() + at, bytes.size() - at);
    SP_ASSERT_OP(wrote, >, 0);
    at += static_cast<size_t>(wrote);
  }
}

std::string read_all(int file) {
  std::string bytes(static_cast<size_t>(std::max<off_t>(lseek(file, 0, SEEK_END), 0)), '\0');
  for (size_t at = 0; at < bytes.size();) {
    const ssize_t got = pread(file, bytes.data() + at, bytes.size() - at, static_cast<off_t>(at));
    if (got <= 0) break;
    at += static_cast<size_t>(got);
  }
  return bytes;
}

// Of what a process printed before it died, the line that says why.
std::string reason_in(const std::string& errors) {
  std::string last, line;
  for (size_t at = 0; at < errors.size(); at += line.size() + 1) {
    line = errors.substr(at, errors.find('\n', at) - at);
    if (line.find("assertion failed") != std::string::npos ||
        line.find("ERROR: ") != std::string::npos ||
        line.find("runtime error") != std::string::npos)
      return line;
    if (!line.empty()) last = line;
  }
  return last;
}

std::string death_text(int status, const std::string& errors) {
  if (WIFEXITED(status) && WEXITSTATUS(status) == 0) return "";
  std::string why = reason_in(errors);
  if (WIFSIGNALED(status) && WTERMSIG(status) == SIGALRM)
    return "hang: no end within " + std::to_string(run_seconds_max) + " s of real time";
  if (WIFEXITED(status) && WEXITSTATUS(status) == leaked_code) return "leak: " + why;
  if (why.find("assertion failed") != std::string::npos) return "assertion: " + why;
  const std::string how = WIFSIGNALED(status) ? strsignal(WTERMSIG(status))
                                              : "exit " + std::to_string(WEXITSTATUS(status));
  return "crash: " + how + (why.empty() ? "" : ": " + why);
}

// Each result has its size before it; the last one may be cut off.
std::vector<ChildOutcome> outcomes_in(uint64_t first, const std::string& bytes) {
  std::vector<ChildOutcome> outcomes;
  for (size_t at = 0; bytes.size() - at >= sizeof(uint64_t);) {
    uint64_t size = 0;
    std::memcpy(&size, bytes.data() + at, sizeof size);
    at += sizeof size;
    if (bytes.size() - at < size) break;
    outcomes.push_back({first + outcomes.size(), bytes.substr(at, size), ""});
    at += size;
  }
  return outcomes;
}

}  // namespace

Children::~Children() {
  for (const Child& child : running_) {
    kill(child.process, SIGKILL);
    waitpid(child.process, nullptr, 0);
    close(child.result_file);
    close(child.error_file);
  }
}

void Children::start(uint64_t first, uint64_t count) {
  Child child{first, count, 0, make_file("result"), make_file("errors")};
  std::fflush(nullptr);
  child.process = fork();
  SP_ASSERT_OP(child.process, >=, 0);
  if (child.process == 0) work_through(child);
  running_.push_back(child);
}

// Does not return.
void Children::work_through(const Child& child) {
  dup2(child.error_file, STDERR_FILENO);
  bool last = false;
  for (uint64_t i = 0; i < child.count && !last; ++i) {
    // What an earlier piece printed says nothing about this one.
    SP_ASSERT_OP(ftruncate(child.error_file, 0), ==, 0);
    lseek(child.error_file, 0, SEEK_SET);
    alarm(run_seconds_max);
    const std::string result = work_(child.first + i, last);
    const uint64_t size = result.size();
    write_all(child.result_file,
              std::string(reinterpret_cast<const char*>(&size), sizeof size) + result);
    std::fflush(nullptr);
    if (SP_LEAK_CHECK() != 0) _exit(leaked_code);
  }
  _exit(0);
}

std::vector<ChildOutcome> Children::wait() {
  SP_ASSERT(!running_.empty());
  for (;;) {
    int status = 0;
    const pid_t process = waitpid(-1, &status, 0);
    SP_ASSERT(process > 0 || errno == EINTR);
    const auto found = std::find_if(running_.begin(), running_.end(),
                                    [&](const Child& child) { return child.process == process; });
    if (found == running_.end()) continue;
    const Child child = *found;
    running_.erase(found);
    std::vector<ChildOutcome> outcomes = outcomes_in(child.first, read_all(child.result_file));
    std::string died = death_text(status, read_all(child.error_file));
    close(child.result_file);
    close(child.error_file);
    if (died.empty()) return outcomes;
    // A leak is found when the work has returned.
    if (outcomes.empty() || !(WIFEXITED(status) && WEXITSTATUS(status) == leaked_code))
      outcomes.push_back({child.first + outcomes.size(), "", ""});
    outcomes.back().died = std::move(died);
    const uint64_t done = outcomes.size();
    if (done < child.count) start(child.first + done, child.count - done);
    return outcomes;
  }
}

}  // namespace sp::sim
