// Ublk: the driver over the kernel's ublk module (Linux 6.5 and later): requests come through
// io_uring, so it is the fastest way. The device survives kill -9 of this process: the kernel holds
// its requests and gives all that were not committed to the successor.
#pragma once
#include <map>
#include <memory>
#include <string>

#include "attach/driver.h"
#include "attach/os_linux.h"

namespace sp::attach {

class UblkQueue;

class Ublk final : public Driver {
 public:
  explicit Ublk(io::RealHost& host);
  ~Ublk() override;

  Way way() const override { return Way::ublk; }
  void create(const DeviceSpec& spec, std::unique_ptr<client::BlockDevice> device,
              Created created) override;
  std::vector<uint64_t> left_behind() override;
  void take_over(const DeviceSpec& spec, std::unique_ptr<client::BlockDevice> device,
                 Created created) override;
  void destroy(uint64_t id, bool force, Done done) override;
  void resized(uint64_t id, Done done) override;

 private:
  struct Volume;
  struct Setup;
  void serve_and(uint64_t id, std::unique_ptr<client::BlockDevice> device,
                 std::function<Status()> start, Created created);
  void take_down(uint64_t id, uint32_t number, bool force, Done done);

  io::RealHost& host_;
  std::map<uint64_t, std::unique_ptr<Volume>> volumes_;
  BlockingJobs jobs_;
};

// Empty when this way works on this machine, else why not.
std::string why_no_ublk();

}  // namespace sp::attach
