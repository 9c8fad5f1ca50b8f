// NbdKernel: the driver over the kernel's NBD client, set up by generic netlink: the kernel talks
// to an NbdServer of this process over a unix socket. The device survives kill -9 of this process:
// the kernel keeps requests for the successor's new socket. It gives those that the old one had not
// answered again after its time-out (10 s), so a take-over may pause I/O that long.
#pragma once
#include <map>
#include <memory>
#include <string>

#include "attach/driver.h"
#include "attach/nbd_server.h"
#include "attach/os_linux.h"

namespace sp::attach {

struct NbdKernelOptions {
  std::string socket = "/run/storpool/nbd.socket";  // a unix socket of this process alone; other
                                                    // NBD clients may use it, too
};

class NbdKernel final : public Driver {
 public:
  // Code::exists when another process serves at the socket's path.
  static Result<std::unique_ptr<NbdKernel>> create(io::RealHost& host, NbdKernelOptions options);
  ~NbdKernel() override;

  Way way() const override { return Way::nbd; }
  void create(const DeviceSpec& spec, std::unique_ptr<client::BlockDevice> device,
              Created created) override;
  std::vector<uint64_t> left_behind() override;
  void take_over(const DeviceSpec& spec, std::unique_ptr<client::BlockDevice> device,
                 Created created) override;
  void destroy(uint64_t id, bool force, Done done) override;
  void resized(uint64_t id, Done done) override;

 private:
  struct Volume;
  NbdKernel(io::RealHost& host, NbdKernelOptions options);
  void attach(const DeviceSpec& spec, std::unique_ptr<client::BlockDevice> device, bool anew,
              Created created);
  void connection_closed(const std::string& export_name);
  void reconnect(uint64_t id);

  io::RealHost& host_;
  NbdKernelOptions options_;
  std::map<uint64_t, std::unique_ptr<Volume>>
      volumes_;  // before the server: it must not outlive the devices' operations
  std::unique_ptr<NbdServer> server_;
  BlockingJobs jobs_;
};

// Empty when this way works on this machine, else why not.
std::string why_no_nbd_kernel();

}  // namespace sp::attach
