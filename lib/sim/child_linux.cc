#include "sim/child_linux.h"

#include <signal.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstring>

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

}  // namespace

Children::~Children() {
  for (const Child& child : running_) {
    kill(child.process, SIGKILL);
    waitpid(child.process, nullptr, 0);
    close(child.result_file);
    close(child.error_file);
  }
}

void Children::start(uint64_t id, const std::function<std::string()>& work) {
  Child child{id, 0, make_file("result"), make_file("errors")};
  std::fflush(nullptr);
  child.process = fork();
  SP_ASSERT_OP(child.process, >=, 0);
  if (child.process == 0) {
    dup2(child.error_file, STDERR_FILENO);
    alarm(run_seconds_max);
    write_all(child.result_file, work());
    std::fflush(nullptr);
    _exit(SP_LEAK_CHECK() != 0 ? leaked_code : 0);
  }
  running_.push_back(child);
}

ChildOutcome Children::wait() {
  SP_ASSERT(!running_.empty());
  for (;;) {
    int status = 0;
    const pid_t process = waitpid(-1, &status, 0);
    SP_ASSERT(process > 0 || errno == EINTR);
    const auto found = std::find_if(running_.begin(), running_.end(),
                                    [&](const Child& child) { return child.process == process; });
    if (found == running_.end()) continue;
    ChildOutcome outcome;
    outcome.id = found->id;
    outcome.result = read_all(found->result_file);
    outcome.died = death_text(status, read_all(found->error_file));
    close(found->result_file);
    close(found->error_file);
    running_.erase(found);
    return outcome;
  }
}

}  // namespace sp::sim
