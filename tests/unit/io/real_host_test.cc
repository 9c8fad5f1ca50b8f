#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <csignal>

#include <fstream>
#include <thread>

#include "io/file_lock.h"
#include "io/memory_disk.h"
#include "real_rig.h"

namespace sp::io::test {

TEST_CASE("run serves until stop, also one that came before") {
  RealRig rig;
  rig.real().stop();
  rig.real().run();
  int turns = 0;
  Timer timer(rig.host(0).reactor);
  timer.arm(1ms, [&] {
    ++turns;
    rig.real().stop();
  });
  rig.real().run();
  CHECK(turns == 1);
}

TEST_CASE("what comes last waits for posted work that posts more, and not for ever") {
  RealRig rig;
  Reactor& reactor = rig.host(0).reactor;
  std::vector<int> order;
  reactor.post_last([&] { order.push_back(4); });
  reactor.post([&] {
    order.push_back(1);
    reactor.post([&] {
      order.push_back(2);
      reactor.post([&] { order.push_back(3); });
    });
  });
  REQUIRE(rig.run_until([&] { return order.size() == 4; }));
  CHECK(order == std::vector<int>{1, 2, 3, 4});

  // Work that never ends keeps nothing else away.
  uint64_t rounds = 0;
  bool last = false, fired = false, over = false;
  std::function<void()> again = [&] {
    ++rounds;
    if (!over) reactor.post([&] { again(); });
  };
  again();
  reactor.post_last([&] { last = true; });
  Timer timer(reactor);
  timer.arm(1ms, [&] { fired = true; });
  CHECK(rig.run_until([&] { return last && fired; }));
  over = true;
  const uint64_t seen = rounds;
  CHECK(rig.run_until([&] { return rounds > seen; }));
}

TEST_CASE("work from other threads runs on the reactor, all of it") {
  RealRig rig;
  const auto own = std::this_thread::get_id();
  int count = 0;
  constexpr int each = 1000;
  std::vector<std::thread> threads;
  for (int i = 0; i < 2; ++i) {
    threads.emplace_back([&] {
      for (int n = 0; n < each; ++n) {
        rig.real().post_from_other_thread([&] { count += std::this_thread::get_id() == own; });
      }
    });
  }
  CHECK(rig.run_until([&] { return count == 2 * each; }));
  for (auto& thread : threads) thread.join();
}

TEST_CASE("signals come as callbacks") {
  RealRig rig;
  std::vector<int> seen;
  REQUIRE(
      rig.real().on_signal({SIGUSR1, SIGUSR2}, [&](int number) { seen.push_back(number); }).ok());
  kill(getpid(), SIGUSR1);
  REQUIRE(rig.run_until([&] { return seen.size() == 1; }));
  kill(getpid(), SIGUSR2);
  REQUIRE(rig.run_until([&] { return seen.size() == 2; }));
  CHECK(seen == std::vector<int>{SIGUSR1, SIGUSR2});
}

TEST_CASE("a watch calls back while its descriptor is ready, and may end itself") {
  RealRig rig;
  int pipe_fds[2];
  REQUIRE(pipe2(pipe_fds, O_CLOEXEC | O_NONBLOCK) == 0);
  std::string got;
  int calls = 0;
  std::unique_ptr<FdWatch> watch;
  watch = rig.real().watcher().watch_readable(pipe_fds[0], [&] {
    ++calls;
    char byte = 0;
    if (read(pipe_fds[0], &byte, 1) == 1) got.push_back(byte);
    if (got.size() == 3) watch.reset();
  });
  rig.settle();
  CHECK(calls == 0);
  REQUIRE(write(pipe_fds[1], "abcd", 4) == 4);
  REQUIRE(rig.run_until([&] { return watch == nullptr; }));
  rig.settle();
  CHECK(got == "abc");
  bool writable = false;
  auto other = rig.real().watcher().watch_writable(pipe_fds[1], [&] { writable = true; });
  CHECK(rig.run_until([&] { return writable; }));
  other.reset();
  close(pipe_fds[0]);
  close(pipe_fds[1]);
}

TEST_CASE("connecting to a listener whose backlog is full times out") {
  RealRig rig;
  const int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t size = sizeof address;
  REQUIRE(bind(fd, reinterpret_cast<sockaddr*>(&address), sizeof address) == 0);
  REQUIRE(listen(fd, 0) == 0);
  REQUIRE(getsockname(fd, reinterpret_cast<sockaddr*>(&address), &size) == 0);
  std::vector<std::unique_ptr<Net::Attempt>> attempts;
  std::vector<std::unique_ptr<Socket>> sockets;
  int timed_out = 0;
  for (int i = 0; i < 8; ++i) {
    attempts.push_back(rig.host(0).net.connect(
        {"127.0.0.1", ntohs(address.sin_port)}, 50ms, [&](Result<std::unique_ptr<Socket>> socket) {
          if (socket.ok())
            sockets.push_back(std::move(socket).value());
          else
            timed_out += socket.error().code() == Code::timed_out;
        }));
  }
  REQUIRE(rig.run_until([&] { return timed_out + sockets.size() == 8; }));
  CHECK(timed_out > 0);
  close(fd);
}

TEST_CASE("bad addresses and paths are answered, not asserted") {
  RealRig rig;
  Net& net = rig.host(0).net;
  const auto accept = [](std::unique_ptr<Socket>) {};
  CHECK(net.listen({"no-ip", 1}, accept).error().code() == Code::invalid);
  CHECK(net.listen({"192.0.2.1", 0}, accept).error().code() == Code::invalid);
  CHECK(net.listen({"/" + std::string(200, 'x'), 0}, accept).error().code() == Code::invalid);
  Code code = Code::failed;
  auto attempt = net.connect({"no-ip", 1}, 1s, [&](Result<std::unique_ptr<Socket>> socket) {
    code = socket.error().code();
  });
  CHECK(code == Code::failed);
  REQUIRE(rig.run_until([&] { return code != Code::failed; }));
  CHECK(code == Code::invalid);
  CHECK(rig.host(0).disks.open("/", {}).error().code() == Code::invalid);
  CHECK(rig.host(0).disks.open("/dev/null", {}).error().code() == Code::invalid);
  const std::string pipe_path = rig.disk_path("pipe");
  REQUIRE(mkfifo(pipe_path.c_str(), 0600) == 0);
  CHECK(rig.host(0).disks.open(pipe_path, {OpenOptions::Mode::read_only}).error().code() ==
        Code::invalid);
  CHECK(rig.host(0)
            .disks.open(rig.disk_path("no") + "/where", {OpenOptions::Mode::create, 4096})
            .error()
            .code() == Code::not_found);
}

TEST_CASE("a socket file whose listener died does not stand in the way") {
  RealRig rig;
  const std::string path = rig.unix_path("s");
  const pid_t child = fork();
  if (child == 0) {
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    path.copy(address.sun_path, sizeof address.sun_path - 1);
    const int fd = socket(AF_UNIX, SOCK_STREAM, 0);
    _exit(bind(fd, reinterpret_cast<sockaddr*>(&address), sizeof address) == 0 && listen(fd, 1) == 0
              ? 0
              : 1);
  }
  int status = 0;
  REQUIRE(waitpid(child, &status, 0) == child);
  REQUIRE(status == 0);
  REQUIRE(std::filesystem::exists(path));
  CHECK(rig.host(0).net.listen({path, 0}, [](std::unique_ptr<Socket>) {}).ok());
  CHECK_FALSE(std::filesystem::exists(path));
}

TEST_CASE("a memory disk survives the death of its process, holes read as zeros") {
  RealRig rig;
  const std::string path = rig.disk_path("m");
  const Buffer data = pattern(4096, 1);
  const pid_t child = fork();
  if (child == 0) {
    auto host = RealHost::create();
    auto disk = host.ok() ? (*host)->host().disks.open("memory:" + path,
                                                       {OpenOptions::Mode::create, 1 << 20})
                          : Result<std::unique_ptr<Disk>>(Error(Code::failed, ""));
    if (!disk.ok()) _exit(1);
    (*disk)->write(128 << 10, data.bytes(), [](Status) {});
    kill(getpid(), SIGKILL);
  }
  int status = 0;
  REQUIRE(waitpid(child, &status, 0) == child);
  REQUIRE(WIFSIGNALED(status));
  auto disk = rig.host(0).disks.open("memory:" + path, {});
  REQUIRE(disk.ok());
  const Buffer back = pattern(4096, 2);
  CHECK(read_all(rig, **disk, 128 << 10, back).ok());
  CHECK(same(back.bytes(), data.bytes()));
  CHECK(read_all(rig, **disk, 512 << 10, back).ok());
  CHECK(same(back.bytes(), Buffer::zeroed(4096).bytes()));
}

TEST_CASE("a memory disk on a full tmpfs answers with no space, and goes on where it has memory") {
  Directory directory("/tmp");
  if (mount("tmpfs", directory.path().c_str(), "tmpfs", 0, "size=1m") != 0) {
    MESSAGE("needs the right to mount: not run");
    return;
  }
  {
    RealRig rig;
    auto disk = rig.host(0).disks.open("memory:" + directory.path() + "/m",
                                       {OpenOptions::Mode::create, 8 << 20});
    REQUIRE(disk.ok());
    const Buffer data = pattern(64 << 10, 1);
    Status status;
    uint64_t offset = 0;
    for (; offset < 8 << 20; offset += data.size()) {
      status = write_all(rig, **disk, offset, data);
      if (!status.ok()) break;
    }
    REQUIRE_FALSE(status.ok());
    CHECK(status.error().code() == Code::no_space);
    CHECK(write_all(rig, **disk, 0, data).ok());
    CHECK(
        finish(rig, [&](DiskDone done) { (*disk)->discard(0, 128 << 10, std::move(done)); }).ok());
    CHECK(write_all(rig, **disk, offset, data).ok());
  }
  umount(directory.path().c_str());
}

// As by a worker of the kernel that has told the result of a request already.
TEST_CASE("a disk that was closed is opened again though its file is still held for a moment") {
  RealRig rig("/tmp");
  const std::string path = rig.disk_path("again");
  auto disk =
      rig.host(0).disks.open(path, {.mode = OpenOptions::Mode::create, .size_bytes = 1 << 20});
  REQUIRE(disk.ok());
  int held = -1;
  for (const auto& entry : std::filesystem::directory_iterator("/proc/self/fd")) {
    std::error_code gone;
    if (std::filesystem::read_symlink(entry.path(), gone) == path)
      held = dup(std::stoi(entry.path().filename()));
  }
  REQUIRE(held >= 0);
  const OwnedFd holder(held);
  CHECK_FALSE(rig.host(0).disks.open(path, {.mode = OpenOptions::Mode::read_write}).ok());
  disk->reset();
  CHECK(rig.host(0).disks.open(path, {.mode = OpenOptions::Mode::read_write}).ok());
}

TEST_CASE("a block device is a disk, held exclusively") {
  Directory directory(std::filesystem::current_path());
  const std::string file = directory.path() + "/image";
  std::ofstream(file).close();
  std::filesystem::resize_file(file, 8 << 20);
  const std::string command = "losetup --find --show " + file + " 2>/dev/null";
  char name[100] = {};
  FILE* output = popen(command.c_str(), "r");
  const bool named = output != nullptr && fgets(name, sizeof name, output) != nullptr;
  if (output != nullptr) pclose(output);
  if (!named) {
    MESSAGE("needs loop devices: not run");
    return;
  }
  std::string path = name;
  while (!path.empty() && path.back() == '\n') path.pop_back();
  {
    RealRig rig;
    auto disk = rig.host(0).disks.open(path, {});
    if (!disk.ok()) FAIL(disk.error().message());
    CHECK((*disk)->size_bytes() == 8 << 20);
    CHECK(rig.host(0).disks.open(path, {}).error().code() == Code::refused);
    CHECK(rig.host(0).disks.open(path, {OpenOptions::Mode::create, 4096}).error().code() ==
          Code::exists);
    const Buffer data = pattern(1 << 20, 1);
    const Buffer back = Buffer::zeroed(1 << 20);
    CHECK(write_all(rig, **disk, 4096, data).ok());
    CHECK(finish(rig, [&](DiskDone done) { (*disk)->flush(std::move(done)); }).ok());
    CHECK(read_all(rig, **disk, 4096, back).ok());
    CHECK(same(data.bytes(), back.bytes()));
    CHECK(write_all(rig, **disk, 8 << 20, data).error().code() == Code::invalid);
    CHECK(finish(rig, [&](DiskDone done) { (*disk)->discard(0, 1 << 20, std::move(done)); }).ok());
  }
  CHECK(std::system(("losetup -d " + path).c_str()) == 0);
}

}  // namespace sp::io::test
