// Children: work done in forked copies of this process, so that what ends a process (a failed
// assertion, a crash, a loop without end) is a result like any other. A child does several pieces
// of work one after the other: a new process pays for all its memory once more. When one of them
// ends it, another child goes on behind that one. The work's value comes back as bytes; what it
// printed to stderr comes back as text. A parent forks only while it has one thread. Thread rule:
// one thread.
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
  // The value of the piece `id`. `last`, when set: what was to follow it is not done.
  using Work = std::function<std::string(uint64_t id, bool& last)>;

  explicit Children(Work work) : work_(std::move(work)) {}
  ~Children();  // those that still run are ended
  Children(const Children&) = delete;
  Children& operator=(const Children&) = delete;

  // The pieces `first` to `first + count - 1`, in this order.
  void start(uint64_t first, uint64_t count);
  size_t running() const { return running_.size(); }
  // Waits for the end of a child; one must be running. What it has done, in order.
  std::vector<ChildOutcome> wait();

 private:
  struct Child {
    uint64_t first, count;
    int process;
    int result_file, error_file;
  };
  void work_through(const Child& child);

  Work work_;
  std::vector<Child> running_;
};

}  // namespace sp::sim
