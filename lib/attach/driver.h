// Driver: one way to make a BlockDevice appear as a block device node of this machine. A driver's
// devices outlive the process where the way allows it, so that a restarted service takes them over
// with their openers none the wiser. Thread rule: the reactor's.
#pragma once
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/callback.h"
#include "base/result.h"
#include "client/block_device.h"

namespace sp::attach {

enum class Way : uint8_t { ublk, nbd, fuse };
std::string_view way_name(Way way);  // "ublk", "nbd", "fuse"
Result<Way> parse_way(std::string_view name);

// What a driver needs to know of a volume.
struct DeviceSpec {
  uint64_t id = 0;  // the volume's; never 0; the same after a restart
  bool read_only = false;
};

class Driver {
 public:
  using Created = Callback<void(Result<std::string>)>;  // path of the device node
  using Done = Callback<void(Status)>;

  virtual ~Driver() =
      default;  // stops serving and leaves the devices, for a successor to take over
  virtual Way way() const = 0;

  // Makes the device node and serves it from `device`. `created` runs when the node is there and
  // has the right size. After an error nothing is left behind. The id must not be served already.
  virtual void create(const DeviceSpec& spec, std::unique_ptr<client::BlockDevice> device,
                      Created created) = 0;

  // Ids of the devices that an earlier process left, whole or half made. Blocking, for the time of
  // starting only.
  virtual std::vector<uint64_t> left_behind() = 0;
  // Takes over one of them: as create(). Where that is not possible it is taken down and made anew,
  // and the log says what was lost.
  virtual void take_over(const DeviceSpec& spec, std::unique_ptr<client::BlockDevice> device,
                         Created created) = 0;

  // Takes a device down, served or left behind. Code::refused, with the users named, while
  // something has it open; with `force` its openers get errors from now on instead, without waiting
  // for operations that are under way: the BlockDevice is destroyed first. A device still being
  // created or taken over: Code::transient.
  virtual void destroy(uint64_t id, bool force, Done done) = 0;

  // The size of the BlockDevice has changed: make it known. Code::not_found for a device that is
  // not served.
  virtual void resized(uint64_t id, Done done) = 0;
};

}  // namespace sp::attach
