// attach_tool: serves a mapped file as a block device by a chosen way, for the tests of lib/attach
// with real kernels.
//
//   attach_tool serve FILE SIZE WAY FOLDER [VISIBLE_SIZE]   links FOLDER/by-name/vol and
//   FOLDER/by-id/7; says "ready PATH NODE" on stdout attach_tool nbd FILE SIZE SOCKET serves the
//   export "vol" at a unix socket attach_tool probe                                       which
//   ways work here attach_tool --holder FD                                 see fd_store_linux.h
// Signals of serve: TERM detaches and ends (when refused says so and goes on), INT the same by
// force, USR1 shows the whole SIZE.
#include <fcntl.h>
#include <signal.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <string>

#include "attach/device.h"
#include "attach/fd_store_linux.h"
#include "attach/nbd_server.h"
#include "attach/ways_linux.h"
#include "base/units.h"
#include "client/memory_device.h"
#include "io/real_host.h"

using namespace sp;

namespace {

int fail(const Error& error) {
  std::fprintf(stderr, "attach_tool: %s\n", error.message().c_str());
  return 1;
}

Result<MutableBytes> map_file(const char* path, uint64_t size) {
  SP_TRY(const attach::Fd fd, attach::open_fd(path, O_RDWR | O_CREAT));
  if (::ftruncate(fd.number(), static_cast<off_t>(size)) != 0)
    return attach::system_error("size of the file", errno);
  void* memory = ::mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd.number(), 0);
  if (memory == MAP_FAILED) return attach::system_error("map the file", errno);
  return MutableBytes(static_cast<std::byte*>(memory), size);
}

int probe() {
  for (const auto& report : attach::probe_ways())
    std::printf("%s\t%s\t%s\n", std::string(attach::way_name(report.way)).c_str(),
                report.works ? "yes" : "no", report.why_not.c_str());
  return 0;
}

int serve_nbd(const char* file, uint64_t size, const char* socket) {
  auto host = io::RealHost::create();
  if (!host.ok()) return fail(host.error());
  auto memory = map_file(file, size);
  if (!memory.ok()) return fail(memory.error());
  attach::NbdServer server((*host)->host());
  client::MemoryDevice device((*host)->host(), *memory);
  if (auto status = server.listen({socket, 0}); !status.ok()) return fail(status.error());
  if (auto status = server.add_export({"vol", "a mapped file", false, &device}); !status.ok())
    return fail(status.error());
  if (auto status = (*host)->on_signal({SIGTERM, SIGINT}, [&](int) { (*host)->stop(); });
      !status.ok())
    return fail(status.error());
  std::printf("ready %s\n", socket);
  std::fflush(stdout);
  (*host)->run();
  return 0;
}

int serve(const char* file, uint64_t size, std::string_view way_text, const std::string& folder,
          uint64_t visible) {
  auto way = attach::parse_way(way_text);
  if (!way.ok()) return fail(way.error());
  for (const std::string& missing : attach::protect_from_memory_pressure())
    std::fprintf(stderr, "attach_tool: not protected from memory pressure: %s\n", missing.c_str());
  auto host = io::RealHost::create({.name = "attach_tool"});
  if (!host.ok()) return fail(host.error());
  auto memory = map_file(file, size);
  if (!memory.ok()) return fail(memory.error());
  attach::DriverOptions driver_options;
  driver_options.run_folder = folder;
  driver_options.holder_command = {"/proc/self/exe", "--holder"};
  auto drivers = attach::make_drivers(**host, driver_options, *way);
  if (!drivers.ok()) return fail(drivers.error());
  attach::AttachManager manager((*host)->host(), std::move(*drivers),
                                {folder + "/by-name", folder + "/by-id"});
  auto device = std::make_unique<client::MemoryDevice>((*host)->host(), *memory);
  device->set_size(visible);
  auto* shown = device.get();
  int result = 0;
  const auto status = (*host)->on_signal({SIGTERM, SIGINT, SIGUSR1}, [&](int signal) {
    if (signal == SIGUSR1) {
      shown->set_size(size);
      return manager.resized("vol", [](const Status& resized) {
        std::printf("resized %s\n", resized.ok() ? "ok" : resized.error().message().c_str());
        std::fflush(stdout);
      });
    }
    manager.detach("vol", signal == SIGINT, [&](const Status& detached) {
      std::printf("detached %s\n", detached.ok() ? "ok" : detached.error().message().c_str());
      std::fflush(stdout);
      if (detached.ok()) (*host)->stop();
    });
  });
  if (!status.ok()) return fail(status.error());
  manager.attach({"vol", 7, "", false, *way}, std::move(device), [&](Result<std::string> path) {
    if (!path.ok()) {
      result = fail(path.error());
      return (*host)->stop();
    }
    manager.take_down_left_behind(false, [&](const Status& taken) {
      if (!taken.ok()) std::fprintf(stderr, "attach_tool: %s\n", taken.error().message().c_str());
    });
    std::printf("ready %s %s\n", path->c_str(), manager.list().front().node.c_str());
    std::fflush(stdout);
  });
  (*host)->run();
  return result;
}

int usage() {
  std::fprintf(stderr,
               "usage: attach_tool serve FILE SIZE WAY FOLDER [VISIBLE_SIZE] | nbd FILE SIZE "
               "SOCKET | probe | --holder FD\n");
  return 2;
}

}  // namespace

int main(int count, char** words) {
  const std::string_view verb = count > 1 ? words[1] : "";
  if (verb == "--holder" && count == 3) return attach::run_fd_holder(std::atoi(words[2]));
  if (verb == "probe") return probe();
  if (count < 5) return usage();
  const auto size = parse_size(words[3]);
  if (!size.ok()) return fail(size.error());
  if (verb == "nbd") return serve_nbd(words[2], *size, words[4]);
  if (verb != "serve" || count < 6) return usage();
  const auto visible = count > 6 ? parse_size(words[6]) : size;
  if (!visible.ok()) return fail(visible.error());
  return serve(words[2], *size, words[4], words[5], *visible);
}
