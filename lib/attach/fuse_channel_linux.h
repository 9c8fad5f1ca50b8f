// FuseChannel: carries messages between an open /dev/fuse and a FuseServer. Reads as long as the
// server has room. Large writes are handed over without a copy: their data lands in an aligned
// buffer of its own. Thread rule: the reactor's.
#pragma once
#include <memory>
#include <string>

#include "attach/fuse_server.h"
#include "attach/os_linux.h"
#include "io/fd_watch.h"

namespace sp::attach {

class FuseChannel {
 public:
  // `fd` is non-blocking. Serves at once.
  FuseChannel(io::RealHost& host, Fd fd, client::BlockDevice& device, bool read_only,
              std::string name);
  ~FuseChannel();

  FuseServer& server() { return server_; }
  const Fd& fd() const { return fd_; }
  // For a successor: asks the kernel for the requests that its predecessor had read and not
  // answered (Linux 6.9 and later). Code::invalid when the kernel cannot: they are lost, and
  // whoever waits for them waits for ever unless the mount is taken down.
  Status ask_again();
  bool ended() const { return ended_; }  // the mount is gone

 private:
  void readable();
  bool read_one();
  void reply(std::span<const Bytes> parts);
  void stop();

  io::RealHost& host_;
  Fd fd_;
  std::string name_;
  FuseServer server_;
  std::unique_ptr<io::FdWatch> watch_;
  Buffer data_;
  bool ended_ = false;
};

}  // namespace sp::attach
