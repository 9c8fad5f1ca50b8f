// FdStore: keeps open file descriptors by name across the death of this process, so that a mount
// and the loop device on it survive kill -9.
//
// Two kinds: a small holder process of ours, reached by a unix socket, that lives as long as it
// holds anything; or the service manager (systemd's FDSTORE) when this service was started by one
// that keeps descriptors. All calls block briefly: use them in BlockingJobs.
#pragma once
#include <memory>
#include <string>
#include <vector>

#include "attach/os_linux.h"

namespace sp::attach {

class FdStore {
 public:
  virtual ~FdStore() = default;
  virtual Status hold(const std::string& name, const Fd& fd) = 0;
  virtual Result<Fd> fetch(const std::string& name) = 0;  // a duplicate; Code::not_found
  virtual Status drop(const std::string& name) = 0;       // ok when it is not held
};

// `command` is run, when no holder answers at `socket_path`, with the number of its listening
// socket as the last argument, and must call run_fd_holder(), e.g. {"/proc/self/exe", "--holder"}.
std::unique_ptr<FdStore> make_holder_store(std::string socket_path,
                                           std::vector<std::string> command);

// Over $NOTIFY_SOCKET (given as `notify_socket`), with the descriptors that the manager passed on
// at this start: `passed_names` is $LISTEN_FDNAMES, the first of them has the number 3.
std::unique_ptr<FdStore> make_service_manager_store(std::string notify_socket,
                                                    const std::string& passed_names);

// The holder's main loop: returns when nothing is held and nobody is connected. The socket's file
// is removed then.
int run_fd_holder(int listening_socket);

}  // namespace sp::attach
