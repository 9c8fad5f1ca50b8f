// Management: the management services of a simulated cluster, each a process of its own, and a
// caller's way to them. HTTP itself is left out: a request goes to Api::handle after a while, its
// answer comes back after a while, and either may be lost. What a caller is told is what the client
// of the commands would be told.
//
// Every request ends with exactly one Answer, outside of any host. The world is single-threaded;
// the callers' objects must live as long as the world.
#pragma once
#include <deque>
#include <functional>
#include <memory>
#include <string>

#include "api/mgmt_service.h"
#include "api/value.h"
#include "io/sim_world.h"

namespace sp::sim {

class Management {
 public:
  struct Process {
    NodeId node = 0;
    io::SimHost* host = nullptr;
    std::unique_ptr<api::MgmtService> service;
    bool up = false;
  };
  struct Call {
    std::string method, path, json;  // path: after the prefix
  };
  static Call get(std::string path) { return {"GET", std::move(path), ""}; }
  static Call post(std::string path, std::string json = "") {
    return {"POST", std::move(path), std::move(json)};
  }
  // What a caller knows of its request.
  struct Answer {
    enum class Kind : uint8_t {
      success,
      refused,  // nothing was changed, and nothing will be
      unknown,  // it may have been made, or may be made yet
    };
    Kind kind = Kind::unknown;
    size_t process = 0;  // which one was asked, [0] first
    std::string error;   // its name; "noAnswer", "notReached"
    std::string text;
    uint64_t generation = 0;  // of a success
    api::Value data;
    bool ok() const { return kind == Kind::success; }
  };
  using Done = std::function<void(const Answer&)>;

  // `options` of a process's Member but for its start id, which is drawn.
  Management(io::SimWorld& world, std::function<member::Options(NodeId node)> options);

  void add(NodeId node, const std::string& ip);
  size_t count() const { return processes_.size(); }
  std::deque<Process>& processes() { return processes_; }
  const std::deque<Process>& processes() const { return processes_; }
  Process* of_node(NodeId node);  // nullptr: none there
  void start(Process& process);
  void end(Process& process, io::SimHost::Death death);
  void set_lossy(bool on) { lossy_ = on; }  // requests and answers

  // One try, at this process. After `patience` without an answer the caller gives up.
  void ask(size_t process, Call call, io::Duration patience, Done done);
  // As an administrator's command: goes on to the next service, and comes again after a pause, as
  // long as nothing was changed and it may succeed later, for up to `tries` times.
  void call(Call call, uint32_t tries, Done done);

  // What services wait for, and requests that are still on their way to one.
  std::string pending() const;

 private:
  struct Request;
  void arrive(const std::shared_ptr<Request>& request);
  void deliver(const std::shared_ptr<Request>& request, Answer answer);
  io::Duration way();
  bool lost() { return lossy_ && random_.below(40) == 0; }

  io::SimWorld& world_;
  std::function<member::Options(NodeId node)> options_;
  io::SeededRandom random_;
  std::deque<Process> processes_;
  size_t last_good_ = 0;    // answered last
  uint32_t under_way_ = 0;  // requests on their way, or to be made again
  bool lossy_ = false;
};

// Whether the same request may succeed later, though it was refused now.
bool may_succeed_later(const Management::Answer& answer);

}  // namespace sp::sim
