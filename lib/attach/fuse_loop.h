// FuseLoop: the driver that works on every Linux: a FUSE mount with the volume as its only file,
// opened with direct I/O, and a loop device with 4096-byte sectors on it. One mount per volume, so
// that a volume that stands still holds up no other.
//
// The open /dev/fuse is kept by an FdStore, so mount and loop device survive kill -9 of this
// process; I/O waits meanwhile. A successor takes over by take_over(): requests that died with the
// predecessor come again from the kernel (Linux 6.9 and later; before that the device is made
// anew). Needs root (or CAP_SYS_ADMIN), /dev/fuse and /dev/loop-control. Call
// protect_from_memory_pressure() once before serving.
#pragma once
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "attach/driver.h"
#include "attach/fd_store_linux.h"
#include "attach/os_linux.h"

namespace sp::attach {

class FuseChannel;

struct FuseLoopOptions {
  std::string folder = "/run/storpool/fuse";  // mounts are made at FOLDER/ID
};

class FuseLoop final : public Driver {
 public:
  FuseLoop(io::RealHost& host, std::shared_ptr<FdStore> store, FuseLoopOptions options);
  ~FuseLoop() override;

  Way way() const override { return Way::fuse; }
  void create(const DeviceSpec& spec, std::unique_ptr<client::BlockDevice> device,
              Created created) override;
  std::vector<uint64_t> left_behind() override;
  void take_over(const DeviceSpec& spec, std::unique_ptr<client::BlockDevice> device,
                 Created created) override;
  void destroy(uint64_t id, bool force, Done done) override;
  void resized(uint64_t id, Done done) override;

 private:
  struct Volume;
  struct Place;
  Place place(uint64_t id) const;
  void serve(uint64_t id, Fd fd);
  void make_device(uint64_t id);
  void failed(uint64_t id, Error error);
  void finish(uint64_t id, Result<std::string> outcome);
  void take_down(uint64_t id, bool force, Done done);
  static Status clear_mount(const Place& place, bool force, bool served);

  io::RealHost& host_;
  std::shared_ptr<FdStore> store_;
  FuseLoopOptions options_;
  std::map<uint64_t, std::unique_ptr<Volume>> volumes_;
  BlockingJobs jobs_;  // last: its completions use the others
};

// Empty when this way works on this machine, else why not.
std::string why_no_fuse_loop();

}  // namespace sp::attach
