#include "attach/fd_store_linux.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstddef>
#include <cstring>
#include <map>

namespace sp::attach {

namespace {

constexpr size_t message_bytes_max = 512;  // a verb and a name
constexpr int connections_max = 64;
constexpr int inherited_descriptors_max = 4096;

Result<sockaddr_un> unix_address(const std::string& path) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  if (path.size() >= sizeof address.sun_path)
    return Error(Code::invalid, "a path too long for a unix socket: " + path);
  std::memcpy(address.sun_path, path.data(), path.size());
  if (!path.empty() && path[0] == '@')
    address.sun_path[0] = '\0';  // systemd's way to write an abstract address
  return address;
}

socklen_t address_size(const std::string& path) {
  return static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + path.size() +
                                (path.starts_with('@') ? 0 : 1));
}

// One message with at most one descriptor.
Status send_message(int socket, std::string_view text, int passed, const sockaddr_un* to = nullptr,
                    socklen_t to_size = 0) {
  iovec part{const_cast<char*>(text.data()), text.size()};
  alignas(cmsghdr) char control[CMSG_SPACE(sizeof(int))] = {};
  msghdr message{};
  message.msg_name = const_cast<sockaddr_un*>(to);
  message.msg_namelen = to_size;
  message.msg_iov = &part;
  message.msg_iovlen = 1;
  if (passed >= 0) {
    message.msg_control = control;
    message.msg_controllen = sizeof control;
    cmsghdr* header = CMSG_FIRSTHDR(&message);
    header->cmsg_level = SOL_SOCKET;
    header->cmsg_type = SCM_RIGHTS;
    header->cmsg_len = CMSG_LEN(sizeof(int));
    std::memcpy(CMSG_DATA(header), &passed, sizeof passed);
  }
  if (::sendmsg(socket, &message, MSG_NOSIGNAL) < 0)
    return system_error("send to the keeper of descriptors", errno);
  return ok_status();
}

struct Received {
  std::string text;  // empty at the end of the stream
  Fd fd;
};

Result<Received> receive_message(int socket) {
  char text[message_bytes_max];
  iovec part{text, sizeof text};
  alignas(cmsghdr) char control[CMSG_SPACE(sizeof(int))] = {};
  msghdr message{};
  message.msg_iov = &part;
  message.msg_iovlen = 1;
  message.msg_control = control;
  message.msg_controllen = sizeof control;
  const ssize_t count = ::recvmsg(socket, &message, MSG_CMSG_CLOEXEC);
  if (count < 0) return system_error("receive from the keeper of descriptors", errno);
  Received received{std::string(text, static_cast<size_t>(count)), {}};
  for (cmsghdr* header = CMSG_FIRSTHDR(&message); header != nullptr;
       header = CMSG_NXTHDR(&message, header)) {
    if (header->cmsg_level != SOL_SOCKET || header->cmsg_type != SCM_RIGHTS) continue;
    int number = -1;
    std::memcpy(&number, CMSG_DATA(header), sizeof number);
    received.fd = Fd(number);
  }
  return received;
}

class HolderStore final : public FdStore {
 public:
  HolderStore(std::string socket_path, std::vector<std::string> command)
      : path_(std::move(socket_path)), command_(std::move(command)) {}

  Status hold(const std::string& name, const Fd& fd) override {
    SP_TRY(const Received answer, ask("hold " + name, fd.number(), true));
    if (answer.text != "ok")
      return Error(Code::failed, "the holder of descriptors refused " + name);
    return ok_status();
  }
  Result<Fd> fetch(const std::string& name) override {
    SP_TRY(Received answer, ask("fetch " + name, -1, false));
    if (answer.text != "ok" || !answer.fd)
      return Error(Code::not_found, "no descriptor is held under the name " + name);
    return std::move(answer.fd);
  }
  Status drop(const std::string& name) override {
    const auto answer = ask("drop " + name, -1, false);
    if (!answer.ok() && answer.error().code() != Code::not_found) return answer.error();
    return ok_status();
  }

 private:
  Result<Received> ask(const std::string& question, int passed, bool may_start) {
    const std::lock_guard lock(mutex_);
    auto socket = connect();
    if (!socket.ok() && may_start && socket.error().code() == Code::not_found) {
      SP_CHECK(start_holder());
      socket = connect();
    }
    if (!socket.ok()) return std::move(socket).error();
    SP_CHECK(send_message(socket->number(), question, passed));
    return receive_message(socket->number());
  }

  Result<Fd> connect() {
    SP_TRY(const sockaddr_un address, unix_address(path_));
    Fd socket(::socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0));
    if (!socket) return system_error("make a unix socket", errno);
    if (::connect(socket.number(), reinterpret_cast<const sockaddr*>(&address),
                  address_size(path_)) == 0)
      return socket;
    const int error = errno;
    if (error == ECONNREFUSED)
      return Error(Code::not_found, "no holder of descriptors at " + path_);
    return system_error("connect to the holder of descriptors at " + path_, error);
  }

  // The holder inherits a socket that listens already, so there is nothing to wait for.
  Status start_holder() {
    SP_TRY(const sockaddr_un address, unix_address(path_));
    SP_CHECK(make_folder(path_.substr(0, path_.rfind('/'))));
    Fd listening(::socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0));
    if (!listening) return system_error("make a unix socket", errno);
    ::unlink(path_.c_str());
    if (::bind(listening.number(), reinterpret_cast<const sockaddr*>(&address),
               address_size(path_)) != 0 ||
        ::chmod(path_.c_str(), 0600) != 0 || ::listen(listening.number(), connections_max) != 0)
      return system_error("listen at " + path_, errno);
    constexpr int inherited = 3;
    std::vector<std::string> words = command_;
    words.push_back(std::to_string(inherited));
    std::vector<char*> arguments;
    for (std::string& word : words) arguments.push_back(word.data());
    arguments.push_back(nullptr);
    // A duplicate above 3, because dup2 onto itself would leave the descriptor to be closed at
    // exec.
    const Fd source(::fcntl(listening.number(), F_DUPFD_CLOEXEC, inherited + 1));
    posix_spawn_file_actions_t actions;
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_adddup2(&actions, source.number(), inherited);
    posix_spawnattr_t attributes;
    posix_spawnattr_init(&attributes);
    posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSID);
    pid_t child = 0;
    const int error =
        ::posix_spawn(&child, arguments[0], &actions, &attributes, arguments.data(), environ);
    posix_spawn_file_actions_destroy(&actions);
    posix_spawnattr_destroy(&attributes);
    if (error != 0)
      return system_error("start the holder of descriptors (" + command_[0] + ")", error);
    // It forks once more and ends at once, so that it leaves no zombie and belongs to nobody.
    int ignored = 0;
    ::waitpid(child, &ignored, 0);
    return ok_status();
  }

  std::string path_;
  std::vector<std::string> command_;
  std::mutex mutex_;
};

class ServiceManagerStore final : public FdStore {
 public:
  ServiceManagerStore(std::string notify_socket, const std::string& passed_names)
      : path_(std::move(notify_socket)) {
    int number = 3;
    for (size_t begin = 0; begin <= passed_names.size() && !passed_names.empty(); ++number) {
      const size_t end = std::min(passed_names.find(':', begin), passed_names.size());
      ::fcntl(number, F_SETFD, FD_CLOEXEC);
      passed_[passed_names.substr(begin, end - begin)] = Fd(number);
      begin = end + 1;
    }
  }
  Status hold(const std::string& name, const Fd& fd) override {
    return notify("FDSTORE=1\nFDNAME=" + name + "\nFDPOLL=0", fd.number());
  }
  Result<Fd> fetch(const std::string& name) override {
    const std::lock_guard lock(mutex_);
    const auto found = passed_.find(name);
    if (found == passed_.end())
      return Error(Code::not_found, "the service manager passed no descriptor named " + name);
    const int copy = ::fcntl(found->second.number(), F_DUPFD_CLOEXEC, 3);
    if (copy < 0) return system_error("duplicate a descriptor", errno);
    return Fd(copy);
  }
  Status drop(const std::string& name) override {
    {
      const std::lock_guard lock(mutex_);
      passed_.erase(name);
    }
    return notify("FDSTOREREMOVE=1\nFDNAME=" + name, -1);
  }

 private:
  Status notify(const std::string& text, int passed) {
    SP_TRY(const sockaddr_un address, unix_address(path_));
    const Fd socket(::socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0));
    if (!socket) return system_error("make a unix socket", errno);
    return send_message(socket.number(), text, passed, &address, address_size(path_));
  }

  std::string path_;
  std::mutex mutex_;
  std::map<std::string, Fd> passed_;
};

// Answers one question; false when the connection is over.
bool answer_one(int socket, std::map<std::string, Fd>& held) {
  auto received = receive_message(socket);
  if (!received.ok() || received->text.empty()) return false;
  const size_t space = received->text.find(' ');
  const std::string verb = received->text.substr(0, space);
  const std::string name = space == std::string::npos ? "" : received->text.substr(space + 1);
  int passed = -1;
  bool done = !name.empty();
  if (done && verb == "hold" && received->fd)
    held[name] = std::move(received->fd);
  else if (done && verb == "drop")
    held.erase(name);
  else if (done && verb == "fetch" && held.contains(name))
    passed = held[name].number();
  else
    done = false;
  return send_message(socket, done ? "ok" : "no", passed).ok();
}

}  // namespace

std::unique_ptr<FdStore> make_holder_store(std::string socket_path,
                                           std::vector<std::string> command) {
  SP_ASSERT(!command.empty());
  return std::make_unique<HolderStore>(std::move(socket_path), std::move(command));
}

std::unique_ptr<FdStore> make_service_manager_store(std::string notify_socket,
                                                    const std::string& passed_names) {
  return std::make_unique<ServiceManagerStore>(std::move(notify_socket), passed_names);
}

int run_fd_holder(int listening_socket) {
  // Whoever started this waits for it: the child goes on alone.
  const pid_t child = ::fork();
  if (child < 0) return 1;
  if (child > 0) return 0;
  for (const int signal : {SIGHUP, SIGINT, SIGTERM, SIGPIPE}) ::signal(signal, SIG_IGN);
  ::prctl(PR_SET_NAME, "sp-fd-holder");
  // Whatever else was inherited would be kept open for ever: a log, a terminal, the pipe of
  // somebody who waits for its end.
  const Fd nowhere(::open("/dev/null", O_RDWR | O_CLOEXEC));
  for (const int standard : {0, 1, 2})
    if (standard != listening_socket) ::dup2(nowhere.number(), standard);
  const int open_max = static_cast<int>(::sysconf(_SC_OPEN_MAX));
  for (int number = 3; number < std::min(open_max, inherited_descriptors_max); ++number)
    if (number != listening_socket && number != nowhere.number()) ::close(number);
  (void)write_small_file("/proc/self/oom_score_adj", "-1000");
  if (::chdir("/") != 0) return 1;

  sockaddr_un address{};
  socklen_t size = sizeof address;
  ::getsockname(listening_socket, reinterpret_cast<sockaddr*>(&address), &size);
  std::map<std::string, Fd> held;
  std::vector<Fd> connections;
  bool asked = false;
  while (!asked || !held.empty() || !connections.empty()) {
    std::vector<pollfd> polled{{listening_socket, POLLIN, 0}};
    for (const Fd& connection : connections) polled.push_back({connection.number(), POLLIN, 0});
    if (::poll(polled.data(), polled.size(), -1) < 0 && errno != EINTR) return 1;
    for (size_t i = polled.size(); i-- > 1;)
      if (polled[i].revents != 0 && !answer_one(polled[i].fd, held))
        connections.erase(connections.begin() + static_cast<std::ptrdiff_t>(i - 1));
    if ((polled[0].revents & POLLIN) == 0) continue;
    Fd accepted(::accept4(listening_socket, nullptr, nullptr, SOCK_CLOEXEC));
    asked = true;
    if (accepted && connections.size() < connections_max)
      connections.push_back(std::move(accepted));
  }
  ::unlink(address.sun_path);
  return 0;
}

}  // namespace sp::attach
