// Children: work done in forked copies of this process, so that what ends a process (a failed
// assertion, a crash, a loop without end) is a result like any other. The work's value comes back
// as bytes; what it printed to stderr comes back as text. A parent forks only while it has one
// thread. Thread rule: one thread.
#pragma once
#include <cstdint>
#include <functional>
#include <string>
#include <vector>

namespace sp::sim {

struct ChildOutcome {
  uint64_t id = 0;
  std::string result;  // what the work returned
  std::string died;    // why it did not return: the last line that it printed, or the signal
};

class Children {
 public:
  Children() = default;
  ~Children();  // those that still run are ended
  Children(const Children&) = delete;
  Children& operator=(const Children&) = delete;

  void start(uint64_t id, const std::function<std::string()>& work);
  size_t running() const { return running_.size(); }
  // Waits for one of those started and not yet waited for; there must be one.
  ChildOutcome wait();

 private:
  struct Child {
    uint64_t id;
    int process;
    int result_file, error_file;
  };
  std::vector<Child> running_;
};

}  // namespace sp::sim
