// UblkQueue: the one queue of a ublk device: fetches requests from the driver through an io_uring
// of its own, hands them to the BlockDevice, commits the results. Made on the reactor's thread,
// which becomes the queue's server; its data moves through one buffer per tag.
#pragma once
#include <liburing.h>

#include <memory>
#include <string>
#include <vector>

#include "attach/os_linux.h"
#include "attach/ublk_abi.h"
#include "client/block_device.h"
#include "io/fd_watch.h"

namespace sp::attach {

class UblkQueue {
 public:
  static constexpr uint32_t buffer_bytes =
      256u << 10;  // of one request; the queue's memory is limits::ublk_queue_depth times this

  // Fetches at once; nothing comes before the device is started. `device` is dropped by abort() or
  // with the queue.
  static Result<std::unique_ptr<UblkQueue>> open(io::RealHost& host, uint32_t device_number,
                                                 std::unique_ptr<client::BlockDevice> device);
  ~UblkQueue();

  client::BlockDevice* device() { return device_.get(); }
  std::unique_ptr<client::BlockDevice> take_device() { return std::move(device_); }
  // Ends what is under way, and all that comes, with an error.
  void abort();

 private:
  explicit UblkQueue(io::RealHost& host);
  Status set_up(uint32_t device_number);
  void reap();
  void serve(uint16_t tag);
  void complete(uint16_t tag, int result);
  void command(uint16_t tag, uint32_t operation, int result);
  void submit_soon();

  io::RealHost& host_;
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
  Fd character_device_;
  io_uring ring_{};
  bool ring_made_ = false, submit_posted_ = false;
  const ublk::IoDescriptor* descriptors_ = nullptr;
  size_t descriptor_bytes_ = 0;
  std::byte* buffers_ = nullptr;
  std::vector<bool> busy_;  // by tag: with the BlockDevice
  std::unique_ptr<io::FdWatch> watch_;
  std::unique_ptr<client::BlockDevice> device_;
};

}  // namespace sp::attach
